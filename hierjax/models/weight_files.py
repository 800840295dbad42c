"""The one door to files of weights: PyTorch's, safetensors and Flax's msgpack."""

import hashlib
import pathlib
import re
from typing import Any

import flax.serialization
import numpy as np
from flax import traverse_util

from hierjax.errors import MissingDataError, UserError
from hierjax.models.safetensors_files import is_safetensors, read_safetensors
from hierjax.models.torch_files import read_torch

PyTree = Any
Place = tuple[str, ...]

_TORCH_LEAVES = {
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def digest_of(path: str | pathlib.Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
      UserError: it is missing or cannot be read.
    """
    return hashlib.sha256(_content(pathlib.Path(path))).hexdigest()


def _content(path: pathlib.Path) -> bytes:
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such file; put torchvision's IMAGENET1K_V1 weights there, "
            "resnet50-0676ba61.pth for ResNet-50 or inception_v3_google-0cc3c7bd.pth "
            "for Inception-v3, from https://download.pytorch.org/models, or any state "
            "dict, safetensors file or Flax msgpack of the model's variables"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def read_weights(
    path: str | pathlib.Path,
) -> dict[Place, tuple[str, np.ndarray]]:
    """Arrays of a file by their place in a model's variables.

    Args:
      path: a state dict saved by PyTorch, of any version, or as safetensors; or a Flax
        msgpack of a model's variables. Nothing in the file is executed. BatchNorm's
        counts of batches are left out.

    Returns:
      Each with its name in the file, in Flax's order of axes: views of the content.

    Raises:
      UserError: the file is missing, damaged, or holds anything but arrays.
    """
    content = _content(pathlib.Path(path))
    try:
        if content.startswith((b"PK", b"\x80")):
            return _from_torch(read_torch(content))
        if is_safetensors(content):
            return _from_torch(read_safetensors(content))
        return _from_flax(flax.serialization.msgpack_restore(content))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # Damaged files make their readers raise anything.
        raise UserError(
            f"{path}: damaged, cut short, or neither a PyTorch state dict, nor "
            f"safetensors, nor a Flax msgpack ({error})"
        ) from error


def _from_flax(variables: PyTree) -> dict[Place, tuple[str, np.ndarray]]:
    arrays = traverse_util.flatten_dict(variables)
    for place, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise UserError(
                f"{'/'.join(place)} is no array but {type(array).__name__}; accepted "
                "are a model's variables"
            )
    return {place: ("/".join(place), array) for place, array in arrays.items()}


def _from_torch(state_dict: dict) -> dict[Place, tuple[str, np.ndarray]]:
    entries = {}
    for key, array in state_dict.items():
        modules, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        if leaf == "weight":
            place = "params", "scale" if array.ndim == 1 else "kernel"
        else:
            place = _TORCH_LEAVES.get(leaf, ("params", leaf))
        modules = re.sub(r"\.(\d+)", r"_\1", modules).split(".")
        modules = [module.removeprefix("_") for module in modules]
        # Outputs come first in PyTorch and last in Flax, inputs just before them.
        axes = (*range(2, array.ndim), *range(array.ndim)[:2][::-1])
        entries[place[0], *modules, place[1]] = key, array.transpose(axes)
    return entries
