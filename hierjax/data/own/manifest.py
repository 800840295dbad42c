"""The user's own data as a table: a row an example, a file, a text or features."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import OPTIONS, Loader
from hierjax.data.own.labelled_rows import make_dataset
from hierjax.data.own.npz import check_rows, tell_unused
from hierjax.data.reading.archives import read_arrays
from hierjax.data.reading.feature_arrays import as_features
from hierjax.data.reading.media import DEFAULT_SIZE, is_media, read_files
from hierjax.data.reading.texts import fit_texts, tell_unknown, text_names
from hierjax.errors import MissingDataError, UserError, notice
from hierjax.hierarchy import Hierarchy
from hierjax.names import find_separator, split_paths
from hierjax.text_files import Table, read_table
from hierjax.tree_readers import find_column, find_levels

_FILE = ("file", "filename", "file_name", "filepath", "file_path", "image")
_TEXT = ("text",)
_PATH = ("path", "hierarchy")
_SPLIT = ("split",)
_GROUPS = ("group", "groups")


class _Columns(NamedTuple):
    """What the columns of a table are; none of them is two things.

    Attributes:
      file: Of images or recordings, None where there are none.
      text: Of texts, None where there are none; without either, features are beside
        the table.
      split: Of splits, if any.
      groups: Of groups, if any.
      path: Of label paths, None where there is a column a level.
      levels: Those columns, coarsest first.
    """

    file: str | None
    text: str | None
    split: str | None
    groups: str | None
    path: str | None
    levels: tuple[str, ...]


def load(
    path: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    label_fields: Sequence[str] = (),
    image_size: int = 0,
    *,
    default_size: int = DEFAULT_SIZE,
    missing_as_names: bool = False,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
) -> Dataset:
    """Loads a table of examples (CSV, see `text_files.read_table`).

    Columns, whatever their capitals:
      file, filename, filepath or image: image or recording, relative to the table or a
        whole path; backslashes of Windows are read where such a file is there.
      text: the example itself, which becomes a vector by an encoding that is fitted on
        the training rows (`reading.texts.fit_texts`). Without files and texts, row i
        has the features of row i in the ``.npz`` beside the table: the one of the same
        name, or the only one there is.
      path or hierarchy: the label path, coarsest name first, separated as
        `names.split_paths` says; or where all cells end as images and recordings do and
        there is no column of files, those. Without label paths, every column that is
        not named here is a level, coarsest first, or of taxonomic tables the ranks
        (`tree_readers.find_levels`), or a single one with a separator in it label
        paths, which a `DataNotice` says.
      split: optional, 'train', 'validation' or 'val', 'test'. What is missing is
        drawn, see `labelled_rows.make_dataset`.
      group or groups: optional, the unit of the bootstrap; rows of one group stay
        together where we split.

    Empty cells are unknown labels, always the finer ones of a row.

    Args:
      path: The table.
      hierarchy: A tree in place of the labels', or a file that `read_hierarchy` reads.
        Labels are then paths in it, or in a single column the names of its nodes.
      label_fields: The columns that are levels, coarsest first, in place of all; they
        are nothing else, whatever they are called.
      image_size: See `reading.media.read_files`.
      default_size: See `reading.media.read_files`.
      missing_as_names: See `labelled_rows.make_dataset`.
      skip_unreadable: See `reading.media.read_files`.
      pixel_max: See `reading.media.read_files`.

    Raises:
      UserError: The table, a column, a file or the features are missing or damaged;
        there are both files and texts, or no training text holds anything; a label is
        known below an unknown one; see also `make_dataset`.
    """
    path = pathlib.Path(path)
    table = _read(path)
    columns = _find_columns(path, table, tuple(label_fields))
    labels = _labels(path, table, columns)
    extra, kept, row_names = {}, np.arange(len(table)), None
    unit_name = "row" if columns.file is None else "file"
    if columns.text is not None:
        texts = [row[columns.text] for row in table]
        row_names, unit_name = text_names(texts), "text"
        if path.with_suffix(".npz").is_file():
            notice(
                f"{path}: the features are made of column {columns.text!r}, not taken "
                f"from {path.with_suffix('.npz').name}"
            )
        # Their vectors are fitted on the training rows, which are yet to be drawn.
        features = np.zeros((len(texts), 1), np.float32)
    elif columns.file is None:
        extra = _features_beside(path, table)
        features = extra["features"]
    else:
        row_names = [row[columns.file] for row in table]
        features, kept = read_files(
            str(path),
            _files(path, row_names),
            image_size,
            default_size=default_size,
            skip_unreadable=skip_unreadable,
            pixel_max=pixel_max,
        )
    if hierarchy is not None and max(map(len, labels)) <= 1:
        labels = [(row[0] if row else "",) for row in labels]
    labels = [labels[i] for i in kept]
    if hierarchy is not None and max(map(len, labels)) <= 1:
        labels = np.array(labels)[:, 0]

    def of_rows(column: str | None, key: str) -> Sequence | None:
        if column is None:
            return extra.get(key)
        return [table[i][column] for i in kept]

    try:
        dataset = make_dataset(
            str(path),
            features,
            labels,
            hierarchy=hierarchy,
            level_names=columns.levels or None,
            split=of_rows(columns.split, "split"),
            groups=of_rows(columns.groups, "groups"),
            sizes=extra.get("sizes"),
            row_names=row_names and [row_names[i] for i in kept],
            unit_name=unit_name,
            missing_as_names=missing_as_names,
        )
    except UserError as error:
        raise UserError(f"{error}; rows count from 0 below the header") from None
    return dataset if columns.text is None else _encoded(dataset, texts)


def _encoded(dataset: Dataset, texts: list[str]) -> Dataset:
    """The data set with the vectors of its texts."""
    try:
        encoding = fit_texts([texts[row] for row in dataset.rows("train")])
    except UserError as error:
        raise UserError(f"{dataset.name}: {error}") from None
    vectors = encoding(texts)
    tell_unknown(dataset.name, vectors)
    return dataclasses.replace(dataset, features=vectors, feature_maps=(encoding,))


def read_texts(path: pathlib.Path) -> list[str]:
    """Returns the texts of a table's column ``text``, whatever its other columns.

    Raises:
      UserError: There is no such table or column.
    """
    table = _read(path)
    column = find_column(table[0], _TEXT)
    if column is None:
        raise UserError(
            f"{path}: no column 'text', there are {', '.join(table[0])}; the model "
            "takes texts"
        )
    return [row[column] for row in table]


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
    column = _file_column(table, table[0])
    if column is None and not path.with_suffix(".npz").is_file():
        if find_column(table[0], _TEXT) is not None:
            raise UserError(
                f"{path}: has texts, which the model does not take; give files in a "
                f"column 'file', or features in {path.with_suffix('.npz').name}"
            )
    if column is None:
        return _features_beside(path, table)
    cells = [row[column] for row in table]
    return _files(path, cells), cells


def _read(path: pathlib.Path) -> Table:
    if not os.path.isfile(path):
        raise MissingDataError(f"{path}: no such file; give a table of examples")
    try:
        return read_table(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _files(path: pathlib.Path, cells: list[str]) -> list[pathlib.Path]:
    files = [_file(path.parent, cell) for cell in cells]
    for row, (file, cell) in enumerate(zip(files, cells, strict=True)):
        if file is None:
            raise MissingDataError(
                f"{path}: row {row} names the file {cell!r} and {path.parent / cell} "
                "is none; files are relative to the table, or whole paths"
            )
        if not is_media(file):
            raise UserError(
                f"{path}: row {row} names {cell!r}, which is neither an image nor a "
                "recording by its ending; accepted are such as .jpg, .png, .wav, .flac"
            )
    return files


def _file(folder: pathlib.Path, cell: str) -> pathlib.Path | None:
    """The file that a cell names, None if there is none."""
    if not cell:
        return None
    for name in (cell, cell.replace("\\", "/")):
        if os.path.isfile(folder / name):
            return folder / name
    return None


def _find_columns(
    path: pathlib.Path, table: Table, fields: tuple[str, ...]
) -> _Columns:
    missing = [field for field in fields if field not in table[0]]
    if missing:
        raise UserError(
            f"{path}: no column {missing[0]!r} for label_fields, there are "
            f"{', '.join(table[0])}"
        )
    free = [column for column in table[0] if column not in fields]
    file, text = _file_column(table, free), find_column(free, _TEXT)
    if file is not None and text is not None:
        raise UserError(
            f"{path}: has files in column {file!r} and texts in column {text!r}; drop "
            f"{text!r} to learn from the files or {file!r} to learn from the texts, or "
            "name the one that is a label among --label_fields"
        )
    split, groups = (find_column(free, names) for names in (_SPLIT, _GROUPS))
    if fields:
        return _Columns(file, text, split, groups, None, fields)
    in_paths = find_column([column for column in free if column != file], _PATH)
    if in_paths is not None:
        return _Columns(file, text, split, groups, in_paths, ())
    left = [column for column in free if column not in (file, text, split, groups)]
    levels = tuple(find_levels(left))
    if not levels:
        raise UserError(
            f"{path}: no labels; add a column 'path' ('animal/bird/owl') or a "
            f"column a level, found {', '.join(table[0])}"
        )
    mark = find_separator(row[levels[0]] for row in table) if len(levels) == 1 else None
    if mark is not None:
        notice(
            f"{path}: column {levels[0]} is read as paths, {mark} between levels; "
            f"--label_fields={levels[0]} takes its cells whole"
        )
        return _Columns(file, text, split, groups, levels[0], ())
    passed = [column for column in left if column and column not in levels]
    notice(
        f"{path}: levels are the columns {', '.join(levels)}, coarsest first"
        + (f", and not {', '.join(passed)}" if passed else "")
        + "; choose others with --label_fields"
    )
    return _Columns(file, text, split, groups, None, levels)


def _labels(
    path: pathlib.Path, table: Table, columns: _Columns
) -> list[tuple[str, ...]]:
    if columns.path is None:
        return [tuple(row[level] for level in columns.levels) for row in table]
    cells = [row[columns.path] for row in table]
    try:
        mark = find_separator(cells)
        if columns.path.lower() in _PATH and mark not in (None, "/", "//"):
            notice(f"{path}: names in column {columns.path} are separated by {mark}")
        return split_paths(cells)
    except UserError as error:
        raise UserError(
            f"{path}: {error}; rows count from 0 below the header"
        ) from None


def _file_column(table: Table, columns: Sequence[str]) -> str | None:
    """The column that names files; one called path may, if its cells end so."""
    column = find_column(columns, _FILE)
    paths = find_column(columns, _PATH)
    if column is None and paths is not None:
        if all(is_media(pathlib.PurePath(row[paths])) for row in table):
            return paths
    return column


def _features_beside(path: pathlib.Path, table: Table) -> dict[str, np.ndarray]:
    """Features, and what else the archive of features has."""
    archive = path.with_suffix(".npz")
    if not archive.is_file():
        archives = sorted(path.parent.glob("*.npz"))
        if len(archives) != 1:
            raise MissingDataError(
                f"{path}: has no column 'file' or 'text' (found "
                f"{', '.join(table[0])}), and the folder has no {archive.name} and "
                f"{len(archives)} other .npz; add a column, or write the features to "
                f"{archive.name}"
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
    tell_unused(archive, arrays, ("features", "split", "groups", "sizes"))
    return arrays | {"features": as_features(str(archive), arrays["features"])}


LOADERS = {
    "csv": Loader(
        load,
        "data_path",
        "the table of examples, with a column 'file' or 'text' and label columns",
        options=OPTIONS,
    )
}
"""By name."""
