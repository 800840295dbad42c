"""The user's own images or recordings in nested folders: the folders are the tree."""

import collections
import os
import pathlib

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader, without
from hierjax.data.own.labelled_rows import SPLIT_NAMES, make_dataset
from hierjax.data.own.tree_files import read_hierarchy
from hierjax.data.reading.media import DEFAULT_SIZE, is_media, read_files
from hierjax.errors import MissingDataError, UserError, notice
from hierjax.hierarchy import Hierarchy
from hierjax.names import clean


def load(
    path: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    image_size: int = 0,
    *,
    default_size: int = DEFAULT_SIZE,
    missing_as_names: bool = False,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
) -> Dataset:
    """Loads images, or recordings, from folders named by their classes.

    ``photos/animal/bird/owl/1.jpg`` has the path animal, bird, owl. Branches may end at
    any depth. Of a file beside folders that hold files, the finer label is unknown.
    Where all folders at the top are called train, validation (val, valid, dev) or test,
    they are the splits, and the tree is below them; missing splits are drawn, see
    `labelled_rows.make_dataset`. Rows are in the order of the files' names, which are
    the data set's `row_names`.

    Hidden files and folders are passed over, and what macOS packs into archives; of
    files that are neither images nor recordings (by the ending of their name), and of
    pipes and devices, a `DataNotice` says how many there are. Links are followed, to
    every folder once. Names are cleaned (`names.clean`).

    Args:
      path: The folder.
      hierarchy: A tree in place of the folders', or a file that `read_hierarchy`
        reads: then the folders of a file are the path of its class or node, or else
        the name of the last of them is its name.
      image_size: See `reading.media.read_files`, which says what features are.
      default_size: See `reading.media.read_files`.
      missing_as_names: See `labelled_rows.make_dataset`.
      skip_unreadable: See `reading.media.read_files`.
      pixel_max: See `reading.media.read_files`.

    Raises:
      UserError: The folder is missing, has no folders with images or recordings or
        both kinds, a file cannot be read, a folder is not in the tree; see also
        `make_dataset`.
    """
    root = pathlib.Path(path)
    if not os.path.isdir(root):
        raise MissingDataError(
            f"{root}: no such folder; give one with a folder of images or recordings "
            "a class"
        )
    files = find_files(root)
    places = [_folders(file.relative_to(root)) for file in files]
    tops = {place[0] if place else "" for place in places}
    if not tops - {""}:
        tables = sorted(
            file
            for file in root.iterdir()
            if file.suffix.lower() in (".csv", ".tsv", ".npz")
        )
        raise UserError(
            f"{root}: no folders with images or recordings (such as .jpg, .png, .wav) "
            f"in it, {len(files)} such files beside; "
            + (
                f"give a file that is there, such as --data_path={tables[0]}"
                if tables
                else "put them into folders named by class, or list them in a table, "
                "--data_path=TABLE.csv"
            )
        )
    split = None
    if all(top.lower() in SPLIT_NAMES for top in tops):
        split = [place[0] for place in places]
        places = [place[1:] for place in places]
        if not any(places):
            raise UserError(
                f"{root}: the folders {', '.join(sorted(tops))} are taken for splits "
                "and have no folders of classes in them; add those, or rename them if "
                "they are classes"
            )
    read = read_files(
        str(root),
        files,
        image_size,
        default_size=default_size,
        skip_unreadable=skip_unreadable,
        pixel_max=pixel_max,
    )
    files, places = ([of[i] for i in read.kept] for of in (files, places))
    split = split and [split[i] for i in read.kept]
    labels = places
    if hierarchy is not None:
        if not isinstance(hierarchy, Hierarchy):
            hierarchy = read_hierarchy(hierarchy)
        labels = _names_in(hierarchy, places)
    return make_dataset(
        str(root),
        read.features,
        labels,
        hierarchy=hierarchy,
        split=split,
        row_names=[file.relative_to(root).as_posix() for file in files],
        unit_name="file",
        missing_as_names=missing_as_names,
    )


def _names_in(hierarchy: Hierarchy, places: list[tuple[str, ...]]) -> np.ndarray:
    """What `make_dataset` finds nodes by: whole paths where the tree has them."""
    nodes = {path[:end] for path in hierarchy.paths for end in range(1, len(path) + 1)}
    return np.array(
        ["/".join(place if place in nodes else place[-1:]) for place in places]
    )


def _folders(file: pathlib.Path) -> tuple[str, ...]:
    return tuple(clean(name) for name in file.parts[:-1])


def find_files(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns all images and recordings below a folder, sorted.

    A `DataNotice` says what else there is; see `load` for what is passed over.

    Raises:
      UserError: A folder cannot be read.
    """
    files, others, again = [], collections.Counter(), []
    seen = set()
    for name, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        folder = pathlib.Path(name)
        real = folder.resolve()
        if real in seen:
            again.append(folder.relative_to(root).as_posix())
            folders.clear()
            continue
        seen.add(real)
        # Links last: a folder is better known by its own place.
        folders[:] = sorted(
            (entry for entry in folders if not _is_hidden(entry)),
            key=lambda entry: ((folder / entry).is_symlink(), entry),
        )
        for entry in names:
            file = folder / entry
            if _is_hidden(entry):
                continue
            if not is_media(file):
                others[file.suffix.lower() or entry] += 1
            elif file.is_file():
                files.append(file)
            else:
                others["no regular file"] += 1
    if others:
        kinds = ", ".join(f"{kind} ({n})" for kind, n in others.most_common(5))
        notice(
            f"{root}: {others.total()} files are neither images nor recordings and "
            f"were passed over: {kinds}"
        )
    if again:
        notice(
            f"{root}: {len(again)} links lead to folders read already and were passed "
            f"over, such as {again[0]}"
        )
    return sorted(files)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})")


LOADERS = {
    "folder": Loader(
        load,
        "data_path",
        "the folder with a folder of images or recordings a class",
        options=without("label_fields"),
    )
}
"""By name."""
