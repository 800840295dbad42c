"""The user's own data: one ``.npz`` file and, if wanted, a file with the tree."""

import pathlib
import re

import numpy as np

from hierjax.data.archives import read_arrays
from hierjax.data.dataset import SPLITS, Dataset
from hierjax.data.splitting import split_rows
from hierjax.errors import UserError
from hierjax.hierarchy import UNKNOWN, Hierarchy

_SPLIT_NUMBERS = {
    "train": 0,
    "validation": 1,
    "val": 1,
    "test": 2,
    "0": 0,
    "1": 1,
    "2": 2,
}


def load(
    path: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
) -> Dataset:
    """Loads a data set from arrays of an ``.npz`` file.

    Arrays:
      features: ``[N, ...]`` finite numbers; bytes (uint8) stand for 0 to 1.
      labels: ``[N, L]``, coarsest level first, or ``[N]`` classes; integers or strings.
        Unknown are -1 and ``''``, always as a suffix. Without a tree the labels are
        the tree (`Hierarchy.from_level_labels`; ``[N]`` makes it flat). With one,
        strings are its names; integers are its names if all its classes are named by
        integers, and ids in its own numbering if not.
      split: optional ``[N]``, 'train', 'validation' or 'val', 'test', or 0, 1, 2.
        Without it rows are split 60/20/20, the same way every time, stratified by
        label where there are rows enough (`splitting.split_rows`).
      groups: optional ``[N]`` integers or strings: the unit of the bootstrap; rows of
        one group stay together where we split.
      sizes: optional ``[N, 2]`` width and height of the original images in pixels.

    Args:
      path: The file; pickled arrays are refused.
      hierarchy: The tree, or a file that `read_hierarchy` reads; None takes the
        labels.

    Raises:
      UserError: The file is missing, damaged, pickled or lacks an array; sizes differ;
        a row has a feature that is not finite, a label outside the tree, or an unknown
        split. The message names the file and the row.
    """
    path = pathlib.Path(path)
    arrays = read_arrays(path)
    for key in ("features", "labels"):
        if key not in arrays:
            raise UserError(
                f"{path}: array {key!r} is missing; needed are features and labels, "
                "optional are split, groups and sizes, found "
                f"{', '.join(arrays) or 'none'}"
            )
    features, labels = arrays["features"], arrays["labels"]
    if features.dtype.kind not in "fiub":
        raise UserError(f"{path}: features must be numbers, got {features.dtype}")
    if labels.dtype.kind not in "iuU" or labels.ndim not in (1, 2):
        raise UserError(
            f"{path}: labels must be integers or strings [N] or [N, L], got "
            f"{labels.dtype} {labels.shape}"
        )
    for key in ("labels", "split", "groups", "sizes"):
        if key in arrays and arrays[key].shape[:1] != features.shape[:1]:
            raise UserError(
                f"{path}: {key} must have as many rows as the features, got shape "
                f"{arrays[key].shape} beside {features.shape}"
            )
    if hierarchy is not None and not isinstance(hierarchy, Hierarchy):
        hierarchy = read_hierarchy(hierarchy)
    try:
        if hierarchy is None:
            labels = labels.reshape(len(labels), -1)
            hierarchy = Hierarchy.from_level_labels(labels)
            labels = hierarchy.encode(labels)
        else:
            labels = _encode(hierarchy, labels)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    units = np.arange(len(labels))
    if "groups" in arrays:
        _, units = np.unique(arrays["groups"], return_inverse=True)
    if "split" in arrays:
        splits = _read_splits(path, arrays["split"])
    else:
        splits = _new_splits(path, labels, units)
    return Dataset(
        name=str(path),
        features=features,
        labels=labels,
        hierarchy=hierarchy,
        splits=splits,
        units=units,
        unit_name="group" if "groups" in arrays else "row",
        sizes=arrays.get("sizes"),
    )


def read_hierarchy(path: str | pathlib.Path) -> Hierarchy:
    """Reads a tree by the ending of its file's name.

    ``.csv`` is a table with a `Path` or `Hierarchy` column (`Hierarchy.from_csv`),
    ``.nwk`` and ``.newick`` hold one Newick tree, ``.txt`` and ``.edges`` one
    'parent child' pair a line, separated by a tab, a comma or spaces (the first of
    these that the line has). Classes that are also ancestors are allowed; in a list
    of pairs the leaves are the classes.

    Raises:
      UserError: No such file, another ending, a line that is no pair, or a bad tree.
    """
    path = pathlib.Path(path)
    readers = {
        ".csv": _read_csv,
        ".nwk": _read_newick,
        ".newick": _read_newick,
        ".txt": _read_edges,
        ".edges": _read_edges,
    }
    if path.suffix not in readers:
        raise UserError(
            f"{path}: a tree file ends in {', '.join(readers)}, got {path.suffix!r}"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the file of the label tree")
    try:
        return readers[path.suffix](path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from None
    except UserError as error:
        # from_csv names the file itself.
        message = str(error)
        raise UserError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from None


def _read_csv(path: pathlib.Path) -> Hierarchy:
    return Hierarchy.from_csv(path, allow_internal_classes=True)


def _read_newick(path: pathlib.Path) -> Hierarchy:
    return Hierarchy.from_newick(path.read_text("utf-8"), allow_internal_classes=True)


def _read_edges(path: pathlib.Path) -> Hierarchy:
    pairs = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        separator = next((mark for mark in "\t," if mark in line), r"\s+")
        pair = [name.strip() for name in re.split(separator, line)]
        if len(pair) != 2 or not all(pair):
            raise UserError(f"line {number} must be 'parent child', got {line!r}")
        pairs.append(pair)
    return Hierarchy.from_edges(pairs)


def _encode(hierarchy: Hierarchy, labels: np.ndarray) -> np.ndarray:
    """Node ids ``[N, L]`` of names or ids ``[N, L]`` or ``[N]``."""
    named_by_number = all(name.isdecimal() for name in hierarchy.class_names)
    are_ids = labels.dtype.kind in "iu" and not named_by_number
    if labels.ndim == 2:
        return labels if are_ids else hierarchy.encode(labels)
    if not are_ids:
        labels = _class_ids(hierarchy, labels.astype(str))
    return hierarchy.labels_of(labels)


def _class_ids(hierarchy: Hierarchy, names: np.ndarray) -> np.ndarray:
    ids = {name: number for number, name in enumerate(hierarchy.class_names)}
    ids |= {"": UNKNOWN, "-1": UNKNOWN}
    unique, inverse = np.unique(names, return_inverse=True)
    for number, name in enumerate(unique.tolist()):
        if name not in ids:
            raise UserError(
                f"row {np.argmax(inverse == number)} has the label {name!r}, which is "
                f"no class of {hierarchy!r}"
            )
    return np.array([ids[name] for name in unique.tolist()], np.int32)[inverse]


def _read_splits(path: pathlib.Path, split: np.ndarray) -> dict[str, np.ndarray]:
    if split.ndim != 1:
        raise UserError(f"{path}: split must have shape [N], got {split.shape}")
    names, inverse = np.unique(split.astype(str), return_inverse=True)
    for number, name in enumerate(names.tolist()):
        if name not in _SPLIT_NUMBERS:
            raise UserError(
                f"{path}: row {np.argmax(inverse == number)} has the split {name!r}, "
                f"accepted are {', '.join(_SPLIT_NUMBERS)}"
            )
    numbers = np.array([_SPLIT_NUMBERS[name] for name in names.tolist()])[inverse]
    return {
        SPLITS[number]: np.flatnonzero(numbers == number)
        for number in np.unique(numbers).tolist()
    }


def _new_splits(
    path: pathlib.Path, labels: np.ndarray, units: np.ndarray
) -> dict[str, np.ndarray]:
    _, paths = np.unique(labels, axis=0, return_inverse=True)
    splits = split_rows(paths.reshape(-1), units)
    if not all(rows.size for rows in splits.values()):
        raise UserError(
            f"{path}: {len(np.unique(units))} rows or groups are too few to split "
            "60/20/20; add an array 'split'"
        )
    return splits
