"""The user's own data: one ``.npz`` file and, if wanted, a file with the tree."""

import pathlib

from hierjax.data.dataset import Dataset
from hierjax.data.own.labelled_rows import make_dataset
from hierjax.data.reading.archives import read_arrays
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy


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
        integers, and ids in its own numbering if not. Labels may be in a table beside
        the file instead, see `manifest`.
      split: optional ``[N]``, 'train', 'validation' or 'val', 'test', or 0, 1, 2. What
        is missing is drawn, see `labelled_rows.make_dataset`.
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
            "optional are split, groups and sizes, found "
            f"{', '.join(arrays) or 'none'}"
        )
    labels = arrays["labels"]
    if labels.dtype.kind not in "iuU" or labels.ndim not in (1, 2):
        raise UserError(
            f"{path}: labels must be integers or strings [N] or [N, L], got "
            f"{labels.dtype} {labels.shape}"
        )
    check_rows(path, arrays)
    return make_dataset(
        str(path),
        arrays["features"],
        labels,
        hierarchy=hierarchy,
        split=arrays.get("split"),
        groups=arrays.get("groups"),
        sizes=arrays.get("sizes"),
    )


def check_rows(path: pathlib.Path, arrays: dict) -> None:
    """Requires features to be numbers and all other arrays to have as many rows.

    Raises:
      UserError: They are not or have not; the message names the array.
    """
    features = arrays["features"]
    if features.dtype.kind not in "fiub":
        raise UserError(f"{path}: features must be numbers, got {features.dtype}")
    for key in ("labels", "split", "groups", "sizes"):
        if key in arrays and arrays[key].shape[:1] != features.shape[:1]:
            raise UserError(
                f"{path}: {key} must have as many rows as the features, got shape "
                f"{arrays[key].shape} beside {features.shape}"
            )
