"""Image sets that `image_builders` has prepared."""

import functools
import pathlib

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import PREPARED, Loader
from hierjax.data.reading.prepared import (
    find_prepared,
    fingerprint,
    open_prepared,
)
from hierjax.hierarchy import Hierarchy

NAMES = ("nabirds", "micro_s", "micro_l", "meso_z")


def load(name: str, data_dir: str | pathlib.Path, seed: int = 0) -> Dataset:
    """Loads NABirds or one of the plankton sets MicroS, MicroL and MesoZ.

    Features are uint8 ``[N, 128, 128, 3]`` (MesoZ greyscale, 1 channel), shared by the
    data sets of a process, beside the sizes of the original images. NABirds has 48,562
    images of 555 classes, of which all have the node 'Birds' as level 0; the plankton
    sets 6,738 of 109, 8,348 of 102 (one of them, 'Tripos furca', the parent of another)
    and 6,653 of 52. All trees are ragged.

    Of all images a random 70 % are for training and 10 % for validation, both rounded
    down, and the rest is the test split: drawn anew with every seed and not stratified,
    the rule of arXiv 2301.11065; its own draw depends on the random numbers of torch
    and cannot be had here. The official split of NABirds is not used.

    Args:
      name: One of `NAMES`.
      data_dir: The folder of TFDS that it was prepared in.
      seed: Draws all three splits; a non-negative integer.

    Raises:
      UserError: The prepared set is missing or in a format that takes TensorFlow.
    """
    command = (
        f"python -m hierjax.data.prepare {name} --data_dir={data_dir} --manual_dir=... "
        "on the downloaded images"
    )
    folder = find_prepared(name, data_dir, command)
    images, sizes, class_ids, hierarchy = _read(folder, command, fingerprint(folder))
    order = np.random.default_rng(seed).permutation(len(images))
    num_train, num_validation = int(0.7 * len(order)), int(0.1 * len(order))
    train, validation, test = np.split(order, [num_train, num_train + num_validation])
    return Dataset(
        name=name,
        features=images,
        labels=hierarchy.labels_of(class_ids),
        hierarchy=hierarchy,
        splits={
            "train": np.sort(train),
            "validation": np.sort(validation),
            "test": np.sort(test),
        },
        unit_name="image",
        sizes=sizes,
    )


# NABirds takes 2.4 GB: only the last set is kept. A changed source is another key.
@functools.lru_cache(maxsize=1)
def _read(
    folder: pathlib.Path, command: str, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Hierarchy]:
    builder = open_prepared(folder, command)
    examples = builder.as_data_source("train")
    shape = builder.info.features["image"].shape
    images = np.empty((len(examples), *shape), np.uint8)
    sizes = np.empty((len(examples), 2), np.float32)
    class_ids = np.empty(len(examples), np.int32)
    for row, example in enumerate(examples):
        images[row] = example["image"]
        sizes[row] = example["size"]
        class_ids[row] = example["label"]
    images.flags.writeable = False
    hierarchy = Hierarchy.from_paths(
        builder.info.metadata["paths"], allow_internal_classes=True
    )
    return images, sizes, class_ids, hierarchy


LOADERS = {
    name: Loader(functools.partial(load, name), "data_dir", PREPARED, has_seed=True)
    for name in NAMES
}
"""By name."""
