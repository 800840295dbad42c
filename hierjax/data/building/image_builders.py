"""TFDS builders for image sets that users download themselves.

NABirds and the three plankton sets of "Inspecting class hierarchies in
classification-based metric learning models" (arXiv 2301.11065), read from the two
tables published with each: one of the classes, one of the files. Images are kept as
plain bytes, not as encoded pictures, so that neither preparing nor reading them takes
TensorFlow. ``python -m hierjax.data.prepare`` runs the builders.
"""

import csv
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from hierjax.errors import MissingDataError, UserError
from hierjax.hierarchy import Hierarchy

SIDE = 128
"""Height and width of the prepared images."""


def _instructions(images: str, source: str, folder: str, table: str) -> str:
    return (
        f"the manual folder needs {images}, downloaded from {source}, and the tables "
        f"{table} and {folder}_info.csv from the code of the paper "
        "(github.com/hjk92g/ProxyDR), in which no path need be changed"
    )


class ManualImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images listed in a table, squashed to `SIDE` x `SIDE`, with their original size.

    All are in the split 'train', in the order of the table, to be split when loaded.
    The tree is kept in the metadata, so that the prepared folder suffices.

    Attributes:
      FOLDER: The published name of the data set, of its folder and of its tables.
      MODE: What PIL calls the colours.
      LABEL: Column of the classes' table with the names that the files' table uses.
      PATH: Column of the classes' table with the path in the tree.
    """

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded. TFDS would look for checksums all the same, and for that
    # need the package importlib_resources, which it forgets to require.
    url_infos: dict[str, Any] = {}

    FOLDER: str
    MODE = "RGB"
    LABEL = "Class"
    PATH = "Path"

    def _info(self) -> tfds.core.DatasetInfo:
        channels = Image.getmodebands(self.MODE)
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(SIDE, SIDE, channels),
                        dtype=np.uint8,
                        encoding=tfds.features.Encoding.BYTES,
                    ),
                    "size": tfds.features.Tensor(shape=(2,), dtype=np.int32),
                    "label": tfds.features.Scalar(np.int32),
                }
            ),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        manual_dir = pathlib.Path(dl_manager.manual_dir)
        paths, class_ids = self.read_classes(manual_dir)
        self.info.metadata["paths"] = paths
        return {"train": self._generate_examples(manual_dir, class_ids)}

    def _generate_examples(
        self, manual_dir: pathlib.Path, class_ids: dict[str, int]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        # Any missing file is noticed before the first one is read.
        files = list(self._list_files(manual_dir, class_ids))
        for number, (path, label) in enumerate(files):
            image, size = read_image(path, self.MODE)
            yield number, {"image": image, "size": size, "label": label}

    def _list_files(
        self, manual_dir: pathlib.Path, class_ids: dict[str, int]
    ) -> Iterator[tuple[pathlib.Path, int]]:
        table = manual_dir / f"{self.FOLDER}_info.csv"
        for number, row in enumerate(self._read_table(table, "Filepath", "Class")):
            if row["Class"] not in class_ids:
                raise UserError(
                    f"{table}: row {number} has the class {row['Class']!r}, which is "
                    "not in the table of classes"
                )
            path = self._find(manual_dir, row["Filepath"])
            if path is None:
                raise MissingDataError(
                    f"{table}: row {number} names {row['Filepath']}, but no ending of "
                    f"this path is a file in {manual_dir}"
                )
            yield path, class_ids[row["Class"]]

    def read_classes(
        self, manual_dir: pathlib.Path
    ) -> tuple[list[list[str]], dict[str, int]]:
        """Reads the table of classes.

        Returns:
          The path of every class in the tree, and class ids by the names that the
          table of files uses.

        Raises:
          UserError: The table is missing or lacks a column, its numbers do not count
            the classes from 0, a name occurs twice, or the tree is a bad one.
        """
        # Only the second one of NABirds, where there are two, has the tree.
        tables = [manual_dir / f"{self.FOLDER}_cls{end}.csv" for end in ("2", "")]
        table = next((table for table in tables if table.is_file()), tables[-1])
        rows = self._read_table(table, self.LABEL, self.PATH, "Number")
        by_number = {row["Number"]: row for row in rows}
        numbers = [str(number) for number in range(len(rows))]
        if by_number.keys() != set(numbers):
            raise UserError(
                f"{table}: the column 'Number' must count the {len(rows)} classes from "
                "0 and name each once"
            )
        rows = [by_number[number] for number in numbers]
        class_ids = {row[self.LABEL]: number for number, row in enumerate(rows)}
        if len(class_ids) < len(rows):
            raise UserError(f"{table}: the column {self.LABEL!r} has a name twice")
        paths = [self._split_path(row[self.PATH]) for row in rows]
        try:
            Hierarchy.from_paths(paths, allow_internal_classes=True)
        except UserError as error:
            raise UserError(f"{table}: {error}") from None
        return paths, class_ids

    def _read_table(self, table: pathlib.Path, *columns: str) -> list[dict[str, str]]:
        if not table.is_file():
            raise MissingDataError(
                f"{table}: no such file; {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        try:
            with table.open(encoding="utf-8-sig", newline="") as file:
                delimiter = "|" if "|" in file.readline() else ","
                file.seek(0)
                rows = list(csv.DictReader(file, delimiter=delimiter))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{table}: not a table in UTF-8 ({error})") from None
        for number, row in enumerate(rows or [{}]):
            for column in columns:
                if not row.get(column):
                    raise UserError(
                        f"{table}: row {number} has nothing in the column {column!r}; "
                        f"needed are {', '.join(columns)}"
                    )
        return rows

    def _split_path(self, cell: str) -> list[str]:
        """Names below the folder of the data set, or all if it is not in the path.

        The published code looks for another folder than its tables have, which turns
        those above this one into levels; hop distances are the same.
        """
        names = cell.strip("/").split("/")
        return names[names.index(self.FOLDER) + 1 :] if self.FOLDER in names else names

    def _find(self, manual_dir: pathlib.Path, published: str) -> pathlib.Path | None:
        """The file at the longest ending of a published path that is in a folder.

        Published paths begin with a placeholder for the user's own folder.
        """
        for spelling in self._spellings(published):
            parts = pathlib.PurePosixPath(spelling.lstrip("/")).parts
            for start in range(len(parts)):
                path = manual_dir.joinpath(*parts[start:])
                if path.is_file():
                    return path
        return None

    def _spellings(self, published: str) -> tuple[str, ...]:
        return (published,)


class Nabirds(ManualImages):
    """NABirds: 48,562 photographs of 555 North American birds."""

    FOLDER = "nabirds"
    LABEL = "Class number"
    PATH = "Hierarchy"
    MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions(
        "the folder images (or images_128, which the paper's notebook makes of it, "
        "with the original sizes lost)",
        "https://dl.allaboutbirds.org/nabirds",
        FOLDER,
        "nabirds_cls2.csv",
    )

    def _split_path(self, cell: str) -> list[str]:
        return cell.split("//")

    def _spellings(self, published: str) -> tuple[str, ...]:
        # The paper's notebook shrinks the images and renames some of them.
        original = published.replace("/images_128/", "/images/")
        return original, original.removesuffix(".jpg") + ".JPG", published


class MicroS(ManualImages):
    """MicroS: 6,738 images of small microplankton in 109 classes."""

    FOLDER = "MicroS"
    MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions(
        "the folder MicroS",
        "https://doi.org/10.21335/NMDC-2102309336",
        FOLDER,
        "MicroS_cls.csv",
    )


class MicroL(ManualImages):
    """MicroL: 8,348 images of large microplankton in 102 classes."""

    FOLDER = "MicroL"
    MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions(
        "the folder MicroL",
        "https://doi.org/10.21335/NMDC-573815973",
        FOLDER,
        "MicroL_cls.csv",
    )


class MesoZ(ManualImages):
    """MesoZ: 6,653 greyscale images of mesozooplankton in 52 classes."""

    FOLDER = "MesoZ"
    MODE = "L"
    MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions(
        "the folder MesoZ",
        "https://doi.org/10.21335/NMDC-1805578916",
        FOLDER,
        "MesoZ_cls.csv",
    )


BUILDERS = {builder.name: builder for builder in (Nabirds, MicroS, MicroL, MesoZ)}
"""Builders by the names of their data sets."""


def read_image(path: pathlib.Path, mode: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads an image and squashes it, whatever its aspect, by PIL's bilinear filter.

    Args:
      path: A file that PIL reads.
      mode: ``'RGB'`` or ``'L'`` (greyscale).

    Returns:
      uint8 ``[128, 128, 3 or 1]``, and the original width and height.

    Raises:
      UserError: It is not an image, or is cut short.
    """
    try:
        with Image.open(path) as image:
            squashed = image.convert(mode).resize(
                (SIDE, SIDE), Image.Resampling.BILINEAR
            )
            return np.asarray(squashed).reshape(SIDE, SIDE, -1), image.size
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image ({error})") from None
