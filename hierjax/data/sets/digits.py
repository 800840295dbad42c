"""Scikit-learn's handwritten digits under a small tree of strokes."""

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.splitting import split_rows
from hierjax.hierarchy import Hierarchy

STROKES = {
    "closed loop": (0, 6, 8, 9),
    "straight strokes": (1, 4, 7),
    "open curve": (2, 3, 5),
}


def load() -> Dataset:
    """Loads 1,797 images ``[N, 8, 8]`` in 0..1: stroke (3) -> digit (10).

    The tree is ours and visual: digits with a closed loop (0, 6, 8, 9), of straight
    strokes (1, 4, 7), of open curves (2, 3, 5). Split 60/20/20, seeded, stratified by
    digit; every image is its own bootstrap unit. The writers are not recorded, so the
    same hand may be in several splits.

    Example:
      >>> digits = load()
      >>> digits.features.shape, digits.hierarchy.nodes_per_level
      ((1797, 8, 8), (3, 10))
    """
    from sklearn import datasets

    images, digit = datasets.load_digits(return_X_y=True)
    stroke_of = {
        number: stroke for stroke, numbers in STROKES.items() for number in numbers
    }
    hierarchy = Hierarchy.from_paths(
        [(stroke_of[number], str(number)) for number in range(10)],
        level_names=("stroke", "digit"),
    )
    return Dataset(
        name="digits",
        features=(images / 16).reshape(-1, 8, 8),
        labels=hierarchy.labels_of(digit),
        hierarchy=hierarchy,
        splits=split_rows(digit, np.arange(len(digit))),
        unit_name="image",
    )


LOADERS = {"digits": Loader(load)}
"""By name."""
