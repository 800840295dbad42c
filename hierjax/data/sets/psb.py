"""The Princeton Shape Benchmark as point sets, read from the user's copy."""

import pathlib

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.reading.archives import read_npz
from hierjax.data.sets.unit_points import unit_points
from hierjax.data.splitting import split_rows
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

FILE = "psb_points1024.npz"
_LEVELS = ("coarse3", "coarse2", "coarse1", "base")
_KEYS = ("points", "split", *(key for k in _LEVELS for key in (k, f"{k}_names")))
SOURCE = (
    "made from shape.cs.princeton.edu/benchmark (1,024 surface points a shape), with "
    f"the arrays {', '.join(_KEYS)}"
)
_CELLS = 8
_NO_GROUP = "-1"
_VALIDATION_SHARE = 0.2
_SEED = 0
_REPRESENTATIONS = {
    "official": "grid",
    "points": "points",
    "within": "grid",
    "points_within": "points",
}
"""What the features are unless the caller says so, by protocol."""


def load(
    data_dir: str | pathlib.Path,
    protocol: str = "official",
    *,
    representation: str | None = None,
) -> Dataset:
    """Loads 1,809 shapes with four levels: coarse3 (2), coarse2, coarse1, base (161).

    The tree is the benchmark's own coarse classifications stacked up. Two things make
    it strict: base classes without a coarse2 group skip that level, so that their
    paths are shorter by one; and two base classes that lie in different coarse1 groups
    in the two halves of the benchmark (sword, handgun) stay in the one that holds most
    of their shapes.

    Protocols:
      'official': the benchmark's halves, test = its second one; only 21 base classes
        occur in both, so that most of the test is about unseen classes. Validation
        takes all training shapes of a fifth of the training half's base classes
        (seeded). The bootstrap unit is the base class. Features are grids.
      'points': the same split; features are points.
      'within': 60, 20 and 20 % of the shapes of every base class of both halves
        together (seeded), for what has to see every class in training, such as linear
        probes of base and coarse1. Not the benchmark's split. The bootstrap unit is
        the shape. Features are grids.
      'points_within': the same split; features are points.

    Args:
      data_dir: Folder with `psb_points1024.npz`, or with `psb/` around it.
      protocol: 'official', 'points', 'within' or 'points_within'.
      representation: 'grid', square roots of the shares of points in the cells of an
        8 x 8 x 8 grid, ``[N, 512]``, rows of unit length; or 'points', ``[N, 1024, 3]``
        unordered, the second coordinate up. Both after centring on the mean point and
        scaling the farthest point to distance 1. Shapes keep their orientation. None:
        what the protocol says.

    Raises:
      UserError: The file is missing or lacks an array; unknown protocol or
        representation.
    """
    if protocol not in _REPRESENTATIONS:
        raise UserError(
            f"psb: protocol must be one of {', '.join(_REPRESENTATIONS)}, got "
            f"{protocol!r}"
        )
    if representation is None:
        representation = _REPRESENTATIONS[protocol]
    if representation not in ("grid", "points"):
        raise UserError(
            f"psb: representation must be 'grid' or 'points', got {representation!r}"
        )
    arrays = read_npz(data_dir, "psb", FILE, _KEYS, SOURCE)
    points = unit_points(arrays["points"])
    base = arrays["base"].astype(np.int32)
    hierarchy = Hierarchy.from_paths(_paths(arrays), level_names=_LEVELS)
    shapes = np.arange(len(base))
    if protocol in ("within", "points_within"):
        splits, units, unit_name = split_rows(base, shapes, _SEED), shapes, "shape"
    else:
        splits, units, unit_name = _splits(base, arrays["split"]), base, "class"
    return Dataset(
        name="psb",
        features=_occupancy(points) if representation == "grid" else points,
        labels=hierarchy.labels_of(base),
        hierarchy=hierarchy,
        splits=splits,
        units=units,
        unit_name=unit_name,
    )


def _paths(arrays: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """One path a base class: its most frequent one, without missing groups."""
    columns = np.stack([arrays[level] for level in _LEVELS], axis=1)
    paths = []
    for base in range(len(arrays["base_names"])):
        rows, counts = np.unique(
            columns[columns[:, -1] == base], axis=0, return_counts=True
        )
        names = [
            str(arrays[f"{level}_names"][node])
            for level, node in zip(_LEVELS, rows[counts.argmax()], strict=True)
        ]
        paths.append(tuple(name for name in names if name != _NO_GROUP))
    return paths


def _splits(base: np.ndarray, half: np.ndarray) -> dict[str, np.ndarray]:
    classes = np.unique(base[half == 0])
    held_out = np.random.default_rng(_SEED).choice(
        classes, size=round(_VALIDATION_SHARE * len(classes)), replace=False
    )
    validation = (half == 0) & np.isin(base, held_out)
    return {
        "train": np.flatnonzero((half == 0) & ~validation),
        "validation": np.flatnonzero(validation),
        "test": np.flatnonzero(half == 1),
    }


def _occupancy(points: np.ndarray) -> np.ndarray:
    """Square-rooted histogram ``[N, cells ** 3]`` of points in [-1, 1]."""
    cells = np.clip(((points + 1) * (_CELLS / 2)).astype(np.int64), 0, _CELLS - 1)
    cell = np.ravel_multi_index(np.moveaxis(cells, -1, 0), (_CELLS,) * 3)
    size, num_points = cell.shape
    flat = cell + _CELLS**3 * np.arange(size)[:, None]
    counts = np.bincount(flat.ravel(), minlength=size * _CELLS**3)
    return np.sqrt(counts.reshape(size, -1) / num_points).astype(np.float32)


LOADERS = {
    "psb": Loader(
        load,
        "data_dir",
        f"the folder with {FILE}, {SOURCE}",
        has_protocols=True,
    )
}
"""By name."""
