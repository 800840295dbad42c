"""The user's own data as a table: a row an example, with its file or its features."""

import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.own.labelled_rows import make_dataset
from hierjax.data.own.npz import check_rows
from hierjax.data.reading.archives import read_arrays
from hierjax.data.reading.media import is_media, read_files
from hierjax.errors import DataNotice, MissingDataError, UserError
from hierjax.hierarchy import Hierarchy
from hierjax.tree_readers import read_table, split_paths

_FILE = ("file", "filename", "file_name", "filepath", "file_path", "image")
_PATH = ("path", "hierarchy")
_SPLIT = ("split",)
_GROUPS = ("group", "groups")

Table = list[dict[str, str]]


def load(
    path: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    label_fields: Sequence[str] = (),
    image_size: int = 0,
) -> Dataset:
    """Loads a table of examples (CSV, see `tree_readers.read_table`).

    Columns, whatever their capitals:
      file, filename, filepath or image: image or recording, relative to the table or a
        whole path. Without this column, row i has the features of row i in the ``.npz``
        beside the table: the one of the same name, or the only one there is.
      path or hierarchy: the label path, coarsest name first, with ``//`` between names
        if that occurs anywhere in the column and ``/`` otherwise; or where all cells
        end as images and recordings do and there is no column of files, those. Without
        label paths, every column that is not named here is a level, coarsest first, or
        a single one with ``/`` in it label paths, which a `DataNotice` says.
      split: optional, 'train', 'validation' or 'val', 'test'. What is missing is
        drawn, see `labelled_rows.make_dataset`.
      group: optional, the unit of the bootstrap; rows of one group stay together where
        we split.

    Empty cells are unknown labels, always the finer ones of a row.

    Args:
      path: The table.
      hierarchy: A tree in place of the labels', or a file that `read_hierarchy` reads.
        Labels are then paths in it, or in a single column the names of its nodes.
      label_fields: The columns that are levels, coarsest first, in place of all.
      image_size: See `reading.media.read_files`.

    Raises:
      UserError: The table, a column, a file or the features are missing or damaged; a
        label is known below an unknown one; see also `make_dataset`.
    """
    path = pathlib.Path(path)
    table = _read(path)
    labels, level_names = _labels(path, table, tuple(label_fields))
    features, row_names, extra = _features(path, table, image_size)
    if hierarchy is not None and max(map(len, labels)) <= 1:
        labels = np.array([row[0] if row else "" for row in labels])
    try:
        return make_dataset(
            str(path),
            features,
            labels,
            hierarchy=hierarchy,
            level_names=level_names,
            split=_column(table, _named(table, _SPLIT)) or extra.get("split"),
            groups=_column(table, _named(table, _GROUPS)) or extra.get("groups"),
            sizes=extra.get("sizes"),
            row_names=row_names,
            unit_name="row" if row_names is None else "file",
        )
    except UserError as error:
        raise UserError(f"{error}; rows count from 0 below the header") from None


def read_unlabelled(
    path: pathlib.Path,
) -> tuple[list[pathlib.Path], list[str]] | dict[str, np.ndarray]:
    """Returns what a table lists, whatever its labels.

    Returns:
      The files of its column ``file`` and what the table calls them, or without that
      column the arrays of the archive beside it, ``features`` among them.

    Raises:
      UserError: As `load` does about the table, the files and the archive.
    """
    table = _read(path)
    cells = _column(table, _file_column(table))
    if cells is None:
        return _features_beside(path, table)[2]
    return _files(path, cells), cells


def _read(path: pathlib.Path) -> Table:
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; give a table of examples")
    try:
        return read_table(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _files(path: pathlib.Path, cells: list[str]) -> list[pathlib.Path]:
    files = [path.parent / cell for cell in cells]
    for row, (file, cell) in enumerate(zip(files, cells, strict=True)):
        if not cell or not file.is_file():
            raise MissingDataError(
                f"{path}: row {row} names the file {cell!r} and {file} is none; files "
                "are relative to the table, or whole paths"
            )
        if not is_media(file):
            raise UserError(
                f"{path}: row {row} names {cell!r}, which is neither an image nor a "
                "recording by its ending; accepted are such as .jpg, .png, .wav, .flac"
            )
    return files


def _named(table: Table, names: Sequence[str]) -> str | None:
    """The column called like one of these, None if there is none."""
    return next((column for column in table[0] if column.lower() in names), None)


def _file_column(table: Table) -> str | None:
    """The column that names files; one called path may, if its cells end so."""
    column = _named(table, _FILE)
    paths = _named(table, _PATH)
    if column is None and paths is not None:
        if all(is_media(pathlib.Path(row[paths])) for row in table):
            return paths
    return column


def _column(table: Table, column: str | None) -> list[str] | None:
    return None if column is None else [row[column] for row in table]


def _features(
    path: pathlib.Path, table: Table, image_size: int
) -> tuple[np.ndarray, list[str] | None, dict[str, np.ndarray]]:
    """Features, names of the rows, and what else the archive of features has."""
    cells = _column(table, _file_column(table))
    if cells is None:
        return _features_beside(path, table)
    files = _files(path, cells)
    return read_files(str(path), files, image_size), cells, {}


def _features_beside(
    path: pathlib.Path, table: Table
) -> tuple[np.ndarray, None, dict[str, np.ndarray]]:
    archive = path.with_suffix(".npz")
    if not archive.is_file():
        archives = sorted(path.parent.glob("*.npz"))
        if len(archives) != 1:
            raise MissingDataError(
                f"{path}: has no column 'file' (found {', '.join(table[0])}), and the "
                f"folder has no {archive.name} and {len(archives)} other .npz; add "
                f"the column, or write the features to {archive.name}"
            )
        archive = archives[0]
    arrays = read_arrays(archive)
    if "labels" in arrays:
        raise UserError(
            f"{archive}: has labels of its own beside {path.name}; give the archive as "
            "--data_path, or remove that array"
        )
    if "features" not in arrays and len(arrays) == 1:
        arrays = {"features": next(iter(arrays.values()))}
    if "features" not in arrays:
        raise UserError(
            f"{archive}: array 'features' is missing, found {', '.join(arrays)}"
        )
    check_rows(archive, arrays)
    if len(arrays["features"]) != len(table):
        raise UserError(
            f"{path}: has {len(table)} rows below the header and {archive.name} "
            f"features of {len(arrays['features'])}; row i of one must be row i of "
            "the other"
        )
    return arrays["features"], None, arrays


def _labels(
    path: pathlib.Path, table: Table, fields: tuple[str, ...]
) -> tuple[list[tuple[str, ...]], tuple[str, ...] | None]:
    """Label paths of the rows, and the names of their levels if columns tell."""
    missing = [field for field in fields if field not in table[0]]
    if missing:
        raise UserError(
            f"{path}: no column {missing[0]!r} for label_fields, there are "
            f"{', '.join(table[0])}"
        )
    of_files = _file_column(table)
    in_paths = _named(table, _PATH)
    if in_paths not in (None, of_files) and not fields:
        return split_paths([row[in_paths] for row in table]), None
    if not fields:
        taken = {of_files, *(_named(table, names) for names in (_SPLIT, _GROUPS))}
        fields = tuple(column for column in table[0] if column and column not in taken)
        if len(fields) == 1 and any("/" in row[fields[0]] for row in table):
            warnings.warn(
                f"{path}: column {fields[0]} is read as paths, / between levels; "
                f"--label_fields={fields[0]} takes its cells whole",
                DataNotice,
                stacklevel=3,
            )
            return split_paths([row[fields[0]] for row in table]), None
        if not fields:
            raise UserError(
                f"{path}: no labels; add a column 'path' ('animal/bird/owl') or a "
                f"column a level, found {', '.join(table[0])}"
            )
        warnings.warn(
            f"{path}: levels are the columns {', '.join(fields)}, coarsest first; "
            "choose others with --label_fields",
            DataNotice,
            stacklevel=3,
        )
    return [tuple(row[field] for field in fields) for row in table], fields
