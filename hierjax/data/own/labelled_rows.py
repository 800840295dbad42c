"""From rows of features and raw labels to a data set: what all own data share."""

import collections
import pathlib
from collections.abc import Sequence

import numpy as np

from hierjax.data.dataset import SPLITS, Dataset
from hierjax.data.own.tree_files import read_hierarchy
from hierjax.data.splitting import deal_parts, split_rows
from hierjax.errors import UserError, notice
from hierjax.hierarchy import Hierarchy
from hierjax.label_rows import read_label_rows
from hierjax.names import clean, split_paths

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
"""What data sets call their splits, and what those are called here."""

_SPLITS_IN_ARRAYS = SPLIT_NAMES | {
    str(number): split for number, split in enumerate(SPLITS)
}

Labels = np.ndarray | Sequence[Sequence[str]]


def make_dataset(
    name: str,
    features: np.ndarray,
    labels: Labels,
    *,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    level_names: Sequence[str] | None = None,
    split: Sequence | None = None,
    groups: Sequence | None = None,
    sizes: np.ndarray | None = None,
    row_names: Sequence[str] | None = None,
    unit_name: str = "row",
    missing_as_names: bool = False,
) -> Dataset:
    """Makes a data set of a user's own rows.

    Without a tree the labels are the tree (`Hierarchy.from_level_labels`). With one,
    they name its nodes: a row of ``[N]`` strings ends at the class, or else the only
    node, of that name, or at the node whose path it is (`names.split_paths`). Words for
    a missing value (`names.MISSING_WORDS`) that end a row and are no names of the tree
    given are unknown, which a `DataNotice` counts.

    Splits that are missing are made, the same way every time and stratified by label:
    60/20/20 % where there are no rows but for training, a tenth of the training rows
    for validation where only that is missing. A `DataNotice` says so where splits were
    given.

    Args:
      name: Opens every message.
      features: ``[N, ...]``.
      labels: ``[N, L]`` or ``[N]`` integers or strings, or N sequences of names of any
        lengths; unknown are -1 and ``''``, always as a suffix.
      hierarchy: The tree, or a file that `read_hierarchy` reads; None takes the
        labels.
      level_names: Of a tree taken from the labels.
      split: ``[N]`` one of `SPLIT_NAMES`, or 0, 1, 2; None if there are none.
      groups: ``[N]`` the unit of the bootstrap; rows of one group stay together where
        we split.
      sizes: See `Dataset`.
      row_names: See `Dataset`.
      unit_name: What a row is, where there are no groups.
      missing_as_names: Take words for a missing value for names.

    Raises:
      UserError: A label outside the tree, an unknown split, too few rows to split, or
        what `Dataset` refuses.
    """
    if hierarchy is not None and not isinstance(hierarchy, Hierarchy):
        hierarchy = read_hierarchy(hierarchy)
    try:
        if hierarchy is None:
            hierarchy, labels = _own_tree(name, labels, level_names, missing_as_names)
        else:
            labels = _encode(name, hierarchy, labels, row_names)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    units = np.arange(len(labels))
    if groups is not None:
        texts = [clean(group) for group in np.asarray(groups).astype(str).tolist()]
        _, units = np.unique(texts, return_inverse=True)
        unit_name = "group"
    splits = {"train": np.arange(len(labels))}
    if split is not None:
        splits = _read_splits(name, np.asarray(split))
    return Dataset(
        name=name,
        features=features,
        labels=labels,
        hierarchy=hierarchy,
        splits=_with_missing(name, splits, labels, units, given=split is not None),
        units=units,
        unit_name=unit_name,
        sizes=sizes,
        row_names=row_names,
    )


def _own_tree(
    name: str,
    labels: Labels,
    level_names: Sequence[str] | None,
    missing_as_names: bool,
) -> tuple[Hierarchy, np.ndarray]:
    """The tree that labels make up, and their node ids ``[N, L]``."""
    if isinstance(labels, np.ndarray):
        labels = labels.reshape(len(labels), -1)
    rows = read_label_rows(labels, lambda word: missing_as_names)
    rows.tell_missing(name)
    known = rows.per_row()
    hierarchy = Hierarchy.from_level_labels(
        known, level_names=level_names, missing_as_names=True
    )
    return hierarchy, hierarchy.encode(known)


def _encode(
    name: str,
    hierarchy: Hierarchy,
    labels: Labels,
    row_names: Sequence[str] | None,
) -> np.ndarray:
    """Node ids ``[N, L]`` of names or ids."""
    if not isinstance(labels, np.ndarray):
        return hierarchy.encode(labels)
    named_by_number = all(name.isdecimal() for name in hierarchy.class_names)
    are_ids = labels.dtype.kind in "iu" and not named_by_number
    if labels.ndim == 2:
        return labels if are_ids else hierarchy.encode(labels)
    if are_ids:
        return hierarchy.labels_of(labels)
    return _encode_nodes(name, hierarchy, labels, row_names)


def _encode_nodes(
    name: str,
    hierarchy: Hierarchy,
    labels: np.ndarray,
    row_names: Sequence[str] | None,
) -> np.ndarray:
    nodes = dict.fromkeys(
        path[:end] for path in hierarchy.paths for end in range(1, len(path) + 1)
    )
    alike = collections.defaultdict(list)
    for path in nodes:
        alike[path[-1]].append(path)
    known = {name: paths[0] for name, paths in alike.items() if len(paths) == 1}
    known |= dict(zip(hierarchy.class_names, hierarchy.paths, strict=True))
    rows = read_label_rows(labels[:, None], lambda word: word in alike)
    rows.tell_missing(name)
    paths = []
    for row, label in zip(rows.firsts, rows.paths, strict=True):
        found = known.get(label[0]) if label else ()
        if found is None and split_paths(label)[0] in nodes:
            found = split_paths(label)[0]
        if found is None:
            of = f" ({row_names[row]})" if row_names is not None else ""
            several = [repr("/".join(path)) for path in alike[label[0]]]
            raise UserError(
                f"row {row}{of} has the label {label[0]!r}, which is "
                + (
                    f"the name of {len(several)} nodes of the tree; write the whole "
                    f"path, {' or '.join(several[:2])}"
                    if several
                    else f"no class or node of {hierarchy!r}"
                )
            )
        paths.append(found)
    return hierarchy.encode(paths)[rows.inverse]


def _read_splits(name: str, split: np.ndarray) -> dict[str, np.ndarray]:
    if split.ndim != 1:
        raise UserError(f"{name}: split must have shape [N], got {split.shape}")
    names, inverse = np.unique(split.astype(str), return_inverse=True)
    names = [clean(given).lower() for given in names.tolist()]
    for number, given in enumerate(names):
        if given not in _SPLITS_IN_ARRAYS:
            raise UserError(
                f"{name}: row {np.argmax(inverse == number)} has the split {given!r}, "
                f"accepted are {', '.join(_SPLITS_IN_ARRAYS)}"
            )
    read = np.array([_SPLITS_IN_ARRAYS[given] for given in names])[inverse]
    return {
        split: np.flatnonzero(read == split) for split in SPLITS if split in set(read)
    }


def _with_missing(
    name: str,
    splits: dict[str, np.ndarray],
    labels: np.ndarray,
    units: np.ndarray,
    *,
    given: bool,
) -> dict[str, np.ndarray]:
    """Splits with those that are missing drawn from the training rows."""
    if "train" not in splits or "validation" in splits:
        return splits
    train = splits["train"]
    _, paths = np.unique(labels[train], axis=0, return_inverse=True)
    drawn = (
        f"{name}: the validation split is missing and gets a tenth of the training rows"
    )
    if "test" in splits:
        part = deal_parts(paths.reshape(-1), units[train], (9, 1), seed=0)
        new = {"train": train[part == 0], "validation": train[part == 1]}
    else:
        drawn = f"{name}: there are only training rows, which are split 60/20/20 %"
        new = {
            split: train[rows]
            for split, rows in split_rows(paths.reshape(-1), units[train]).items()
        }
    if not all(rows.size for rows in new.values()):
        if "test" in splits:
            return splits  # Nothing to spare: trained without a selection.
        raise UserError(
            f"{name}: {len(np.unique(units[train]))} rows or groups are too few to "
            "split 60/20/20; say which row is in which split (train, validation, test)"
        )
    if given:
        notice(drawn)
    return splits | new
