"""CIFAR-100, read from what TFDS has prepared."""

import functools
import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from hierjax.data.dataset import Dataset
from hierjax.data.loader import PREPARED, Loader
from hierjax.data.reading import cache
from hierjax.data.reading.prepared import (
    find_prepared,
    fingerprint,
    open_prepared,
    read_examples,
)
from hierjax.data.sets import cifar100_tree
from hierjax.errors import UserError

_SHAPE = (32, 32, 3)


def load(
    data_dir: str | pathlib.Path, seed: int = 0, protocol: str = "tree"
) -> Dataset:
    """Loads 60,000 images: realm (3) -> group (7) -> superclass (20) -> class (100).

    Features are uint8 ``[60000, 32, 32, 3]``, the 50,000 official training images
    first, and shared by all data sets loaded in a process. The 10,000 official test
    images are the test split; of the others a random tenth, 5,000, is for validation,
    not stratified. The rule is that of arXiv 2301.11065; its own draw depends on the
    random numbers of torch and cannot be had here. The tree is `cifar100_tree`.

    TensorFlow is not needed. The first load decodes the images (some ten seconds) and
    keeps them in ``hierjax/cifar100.npz`` in the user's cache (``$XDG_CACHE_HOME`` or
    ``~/.cache``), made anew when the prepared files change.

    Args:
      data_dir: The folder of TFDS with ``cifar100/`` in it.
      seed: Draws the validation split; a non-negative integer.
      protocol: 'tree', four levels, or 'superclasses', the two of the data set itself:
        superclass (20) -> class (100).

    Raises:
      UserError: The prepared set is missing or in a format that takes TensorFlow;
        unknown protocol.
    """
    if protocol not in ("tree", "superclasses"):
        raise UserError(
            f"cifar100: protocol must be 'tree' or 'superclasses', got {protocol!r}"
        )
    command = (
        "pip install 'hierjax[prepare]' and then python -m hierjax.data.prepare "
        f"cifar100 --data_dir={data_dir}"
    )
    folder = find_prepared("cifar100", data_dir, command)
    arrays = _read(folder, command, fingerprint(folder))
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~arrays.is_test))
    num_validation = len(order) // 10
    hierarchy = cifar100_tree.hierarchy()
    if protocol == "superclasses":
        hierarchy = hierarchy.coarsen((2, 3))
    return Dataset(
        name="cifar100",
        features=arrays.images,
        labels=hierarchy.labels_of(arrays.class_ids),
        hierarchy=hierarchy,
        splits={
            "train": np.sort(order[num_validation:]),
            "validation": np.sort(order[:num_validation]),
            "test": np.flatnonzero(arrays.is_test),
        },
        unit_name="image",
    )


class _Arrays(NamedTuple):
    """Images ``[N, 32, 32, 3]``, their classes and official split ``[N]``."""

    images: np.ndarray
    class_ids: np.ndarray
    is_test: np.ndarray


@functools.lru_cache(maxsize=1)
def _read(folder: pathlib.Path, command: str, source: str) -> _Arrays:
    """Takes the arrays from the cache if they were made from this source."""
    arrays = _Arrays(
        **cache.remember(
            "cifar100",
            source,
            _Arrays._fields,
            lambda: _decode(folder, command)._asdict(),
        )
    )
    arrays.images.flags.writeable = False
    return arrays


def _decode(folder: pathlib.Path, command: str) -> _Arrays:
    examples, sizes = read_examples(open_prepared(folder, command), ("train", "test"))
    images = np.empty((len(examples), *_SHAPE), np.uint8)
    for image, example in zip(images, examples, strict=True):
        image[:] = Image.open(io.BytesIO(example["image"]))
    class_ids = np.array([example["label"] for example in examples], np.int32)
    is_test = np.repeat([False, True], sizes)
    return _Arrays(images, class_ids, is_test)


LOADERS = {
    "cifar100": Loader(load, "data_dir", PREPARED, has_protocols=True, has_seed=True)
}
"""By name."""
