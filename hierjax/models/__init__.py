"""Encoders: Flax Linen modules from inputs to embeddings."""

from hierjax.models.encoders import MLP, ConvNet, Encoder, ImageEncoder, Linear
from hierjax.models.inception import InceptionV3
from hierjax.models.pretrained import load_pretrained
from hierjax.models.resnet import (
    CifarResNet18,
    CifarResNet50,
    ResNet,
    ResNet50,
    SmallResNet,
)

__all__ = [
    "MLP",
    "CifarResNet18",
    "CifarResNet50",
    "ConvNet",
    "Encoder",
    "ImageEncoder",
    "InceptionV3",
    "Linear",
    "ResNet",
    "ResNet50",
    "SmallResNet",
    "load_pretrained",
]
