"""Fills an encoder's feature extractor from a local file of weights.

PyTorch's files are zip archives around a pickle. A pickle is a program; the interpreter
here knows dictionaries, storages and tensors over them and refuses all other names, so
that a file can describe arrays and do nothing else.
"""

import collections
import io
import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable
from typing import Any

import flax.serialization
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from hierjax.errors import MissingDataError, UserError

PyTree = Any
Path = tuple[str, ...]

_NOT_TAKEN = {"head", "size_head", "fc", "AuxLogits", "conv1", "Conv2d_1a_3x3"}
"""Outermost modules that start afresh: all heads and the first convolution."""

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
}

_TORCH_LEAVES = {
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def load_pretrained(path: str | pathlib.Path, variables: PyTree) -> PyTree:
    """Replaces an encoder's weights and statistics by those of a file.

    As in Kim et al. (2023) the first convolution is not taken, whatever the number of
    channels: of a ResNet ``conv1`` alone, its BatchNorm is; of Inception-v3 the whole
    first block. Heads are never taken either, nor torchvision's auxiliary one.

    Args:
      path: a state dict of torchvision's resnet50 or inception_v3 saved by PyTorch 1.6
        or later (any network whose names and shapes are the model's), or a Flax
        msgpack of the variables of such a model. Nothing in the file is executed.
      variables: ``{"params": ..., "batch_stats": ...}`` as the model initialised them.

    Returns:
      ``variables`` with what the file gives, in the dtypes they had.

    Raises:
      UserError: the file is missing, damaged, of an old format, holds anything but
        arrays, or belongs to another architecture; the message then names the first
        array that does not fit.
    """
    path = pathlib.Path(path)
    wanted = traverse_util.flatten_dict(variables)
    found = {
        place: named
        for place, named in _read(path).items()
        if not _starts_afresh(place)
    }
    for place, (key, array) in found.items():
        if place not in wanted:
            raise UserError(
                f"{path}: the model has no place for {key} {array.shape}; give weights "
                "of the model's own architecture"
            )
        if array.shape != wanted[place].shape:
            raise UserError(
                f"{path}: {key} has shape {array.shape} in Flax's order of axes, the "
                f"model takes {wanted[place].shape}; give weights of the model's own "
                "architecture"
            )
    for place, leaf in wanted.items():
        if place in found:
            wanted[place] = jnp.asarray(found[place][1], leaf.dtype)
        elif not _starts_afresh(place):
            raise UserError(
                f"{path}: {'/'.join(place)} {leaf.shape} is missing; give weights of "
                "the model's own architecture"
            )
    return traverse_util.unflatten_dict(wanted)


def _starts_afresh(place: Path) -> bool:
    return not _NOT_TAKEN.isdisjoint(place[1:2])


def _read(path: pathlib.Path) -> dict[Path, tuple[str, np.ndarray]]:
    """Arrays by their place in the variables, each with its name in the file."""
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such file; put torchvision's IMAGENET1K_V1 weights there, "
            "resnet50-0676ba61.pth for ResNet-50 or inception_v3_google-0cc3c7bd.pth "
            "for Inception-v3, from https://download.pytorch.org/models, or a Flax "
            "msgpack of the model's variables"
        )
    content = path.read_bytes()
    if content.startswith(b"\x80"):
        raise UserError(
            f"{path}: a pickle, as PyTorch wrote files before 1.6; convert it where "
            "PyTorch is installed: torch.save(torch.load(old, weights_only=True), new)"
        )
    try:
        if content.startswith(b"PK"):
            return _from_torch(_read_torch(content))
        return _from_flax(flax.serialization.msgpack_restore(content))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # Damaged files make their readers raise anything.
        raise UserError(
            f"{path}: damaged, cut short, or neither a PyTorch state dict nor a Flax "
            f"msgpack ({error})"
        ) from error


def _from_flax(variables: PyTree) -> dict[Path, tuple[str, np.ndarray]]:
    arrays = traverse_util.flatten_dict(variables)
    return {
        place: ("/".join(place), _array("/".join(place), array))
        for place, array in arrays.items()
    }


def _array(key: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise UserError(
            f"{key} is no array but {type(value).__name__}; accepted are a state dict "
            "alone, without epoch or optimiser, and a model's variables"
        )
    return value


def _from_torch(state_dict: dict) -> dict[Path, tuple[str, np.ndarray]]:
    entries = {}
    for key, array in state_dict.items():
        modules, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        array = _array(key, array)
        if leaf == "weight":
            place = "params", "scale" if array.ndim == 1 else "kernel"
        else:
            place = _TORCH_LEAVES.get(leaf, ("params", leaf))
        modules = re.sub(r"\.(\d+)", r"_\1", modules).split(".")
        # Outputs come first in PyTorch and last in Flax, inputs just before them.
        axes = (*range(2, array.ndim), *range(array.ndim)[:2][::-1])
        entries[place[0], *modules, place[1]] = key, array.transpose(axes)
    return entries


def _read_torch(content: bytes) -> dict:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not one written by torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            if archive.read(f"{folder}byteorder") != b"little":
                raise UserError("big-endian; save it again on another machine")
        file = io.BytesIO(archive.read(pickles[0]))
        return _Unpickler(file, lambda key: archive.read(f"{folder}data/{key}")).load()


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries and NumPy arrays, and nothing else.

    What ``find_class`` hands out can be called by the file with any arguments and, by
    the BUILD instruction, have attributes set: a built-in class, a bound method and
    strings, none of which can be changed.
    """

    def __init__(self, file: io.BytesIO, read: Callable[[str], bytes]):
        super().__init__(file)
        self._read = read

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        if module == "torch" and name in _DTYPES:
            return name
        raise UserError(
            f"refused because it asks for {module}.{name}; accepted is a state dict of "
            "tensors, torch.save(model.state_dict(), ...)"
        )

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, storage, key, _, _ = pid
        return np.frombuffer(self._read(key), _DTYPES[storage])

    def _rebuild(
        self, storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any
    ) -> np.ndarray:
        # NumPy checks that the array lies inside the storage.
        return np.ndarray(
            shape,
            storage.dtype,
            storage,
            offset * storage.itemsize,
            [stride * storage.itemsize for stride in strides],
        )
