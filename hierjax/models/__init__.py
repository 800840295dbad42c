"""Encoders: Flax Linen modules from inputs to embeddings."""

from hierjax.models.efficientnet import (
    EfficientNetLite,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
)
from hierjax.models.encoders import (
    MLP,
    BatchNormEncoder,
    ConvNet,
    Encoder,
    ImageEncoder,
    Linear,
    start_linear,
)
from hierjax.models.frozen import (
    FrozenEncoder,
    frozen_encoder,
    frozen_encoder_names,
)
from hierjax.models.imagenet import IMAGENET, NETWORKS, packaged_weights
from hierjax.models.inception import InceptionV3
from hierjax.models.pointnet import PointNet
from hierjax.models.pooled_convnet import PooledConvNet
from hierjax.models.pretrainable import TRAINABLE, PretrainableEncoder
from hierjax.models.pretrained import load_pretrained
from hierjax.models.resnet import (
    CifarResNet18,
    CifarResNet50,
    ResNet,
    ResNet50,
    SmallResNet,
)

__all__ = [
    "IMAGENET",
    "MLP",
    "NETWORKS",
    "BatchNormEncoder",
    "CifarResNet18",
    "CifarResNet50",
    "ConvNet",
    "EfficientNetLite",
    "EfficientNetLite0",
    "EfficientNetLite1",
    "EfficientNetLite2",
    "Encoder",
    "FrozenEncoder",
    "ImageEncoder",
    "InceptionV3",
    "Linear",
    "PointNet",
    "PooledConvNet",
    "PretrainableEncoder",
    "ResNet",
    "ResNet50",
    "SmallResNet",
    "TRAINABLE",
    "frozen_encoder",
    "frozen_encoder_names",
    "load_pretrained",
    "packaged_weights",
    "start_linear",
]
