"""The user's own data: one ``.npz`` file and, if wanted, a file with the tree."""

import pathlib
from collections.abc import Collection

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.own.labelled_rows import make_dataset
from hierjax.data.reading.archives import read_arrays
from hierjax.data.reading.feature_arrays import as_features
from hierjax.errors import UserError, notice
from hierjax.hierarchy import Hierarchy

_OPTIONAL = ("split", "groups", "sizes", "names", "level_names")


def load(
    path: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    *,
    missing_as_names: bool = False,
) -> Dataset:
    """Loads a data set from arrays of an ``.npz`` file.

    Arrays:
      features: ``[N, ...]`` finite numbers; bytes (uint8) stand for 0 to 1. Images may
        have their channels first, see `reading.feature_arrays`.
      labels: ``[N, L]``, coarsest level first, or ``[N]`` classes; whole numbers,
        strings or bytes. Unknown are -1, NaN and ``''``, always as a suffix. Without a
        tree the labels are the tree (`Hierarchy.from_level_labels`; ``[N]`` makes it
        flat). With one, strings are its names; numbers are its names if all its classes
        are named by numbers, and ids in its own numbering if not. Labels may be in a
        table beside the file instead, see `manifest`.
      split: optional ``[N]``, 'train', 'validation' or 'val', 'test', or 0, 1, 2. What
        is missing is drawn, see `labelled_rows.make_dataset`.
      groups: optional ``[N]`` whole numbers or strings: the unit of the bootstrap; rows
        of one group stay together where we split.
      sizes: optional ``[N, 2]`` width and height of the original images in pixels.
      names: optional ``[N]`` strings, what to call the rows.
      level_names: optional ``[L]`` strings, of a tree that is taken from the labels.

    A `DataNotice` names all other arrays, which are passed over.

    Args:
      path: The file; pickled arrays are refused.
      hierarchy: The tree, or a file that `read_hierarchy` reads; None takes the
        labels.
      missing_as_names: See `labelled_rows.make_dataset`.

    Raises:
      UserError: The file is missing, damaged, pickled or lacks an array; sizes differ;
        a row has a feature that is not finite, a label outside the tree, or an unknown
        split. The message names the file and the row.
    """
    path = pathlib.Path(path)
    arrays = read_arrays(path)
    if "labels" not in arrays and "features" in arrays:
        raise UserError(
            f"{path}: array 'labels' is missing (found {', '.join(arrays)}); add it "
            f"[N, L], or write a table {path.with_suffix('.csv')} with a column 'path' "
            "('animal/bird/owl') or a column a level, a row each, and give that as "
            "--data_path"
        )
    if "features" not in arrays:
        raise UserError(
            f"{path}: array 'features' is missing; needed are features and labels, "
            f"optional are {', '.join(_OPTIONAL)}, found {', '.join(arrays) or 'none'}"
        )
    labels = _as_labels(path, arrays["labels"])
    check_rows(path, arrays)
    tell_unused(path, arrays, ("features", "labels", *_OPTIONAL))
    level_names = arrays.get("level_names")
    if level_names is not None:
        level_names = level_names.reshape(-1).tolist()
        if hierarchy is not None:
            notice(f"{path}: level_names are passed over, since the tree has its own")
    return make_dataset(
        str(path),
        as_features(str(path), arrays["features"]),
        labels,
        hierarchy=hierarchy,
        level_names=level_names,
        split=arrays.get("split"),
        groups=arrays.get("groups"),
        sizes=arrays.get("sizes"),
        row_names=arrays.get("names"),
        missing_as_names=missing_as_names,
    )


def _as_labels(path: pathlib.Path, labels: np.ndarray) -> np.ndarray:
    """Labels as integers or strings."""
    given = f"got {labels.dtype} {labels.shape}"
    if labels.dtype.kind not in "iuUSf" or labels.ndim not in (1, 2):
        raise UserError(
            f"{path}: labels must be integers or strings [N] or [N, L], {given}"
        )
    if labels.dtype.kind == "f":
        whole = np.where(np.isnan(labels), -1, labels.astype(np.float64))
        if not (np.abs(whole) < 2**53).all() or (whole != np.rint(whole)).any():
            raise UserError(
                f"{path}: labels must be integers or strings; {given} with values that "
                "are no whole numbers"
            )
        return whole.astype(np.int64)
    if labels.dtype.kind == "S":
        try:
            return np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: labels are no text in UTF-8 ({error})") from None
    return labels


def tell_unused(path: pathlib.Path, arrays: dict, used: Collection[str]) -> None:
    """A `DataNotice` of the arrays that nothing is made of."""
    unused = [key for key in arrays if key not in used]
    if unused:
        notice(
            f"{path}: passes over {', '.join(map(repr, unused))}; used are "
            f"{', '.join(used)}"
        )


def check_rows(path: pathlib.Path, arrays: dict) -> None:
    """Requires arrays of as many rows as the features, in their shapes.

    Raises:
      UserError: They have not; the message names the array.
    """
    features = arrays["features"]
    shapes = {"split": 1, "groups": 1, "names": 1, "sizes": 2, "labels": None}
    for key, ndim in shapes.items():
        if key not in arrays:
            continue
        array = arrays[key]
        if array.shape[:1] != features.shape[:1]:
            raise UserError(
                f"{path}: {key} must have as many rows as the features, got shape "
                f"{array.shape} beside {features.shape}"
            )
        if ndim is not None and array.ndim != ndim:
            shape = "[N]" if ndim == 1 else "[N, 2]"
            raise UserError(f"{path}: {key} must have shape {shape}, got {array.shape}")
        if key == "sizes" and array.dtype.kind not in "fiu":
            raise UserError(f"{path}: sizes must be numbers, got {array.dtype}")


LOADERS = {
    "npz": Loader(
        load,
        "data_path",
        "the .npz file with arrays features and labels",
        options=("hierarchy", "missing_as_names"),
    )
}
"""By name."""
