"""Encoders: Flax Linen modules from inputs to embeddings."""

from hierjax.models.encoders import (
    MLP,
    BatchNormEncoder,
    ConvNet,
    Encoder,
    ImageEncoder,
    Linear,
)
from hierjax.models.inception import InceptionV3
from hierjax.models.pointnet import PointNet
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
    "BatchNormEncoder",
    "CifarResNet18",
    "CifarResNet50",
    "ConvNet",
    "Encoder",
    "ImageEncoder",
    "InceptionV3",
    "Linear",
    "PointNet",
    "ResNet",
    "ResNet50",
    "SmallResNet",
    "load_pretrained",
]
