"""Data sets by name, as the command line knows them."""

import difflib
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hierjax.data.dataset import Dataset
from hierjax.data.own import folder, manifest, npz, tfds_sets
from hierjax.data.sets import (
    cifar100,
    digits,
    gm_notes,
    hierarchical_mnist,
    image_sets,
    modelnet40,
    psb,
    tut2016,
)
from hierjax.errors import MissingDataError, UserError


class Loader(NamedTuple):
    """How to load a data set.

    Attributes:
      load: The function.
      place: Which argument says where the data are, None if they come along.
      has_protocols: Whether there are several protocols.
      has_folds: Whether a protocol may have several folds.
      has_seed: Whether the split is drawn at random.
      options: Which of `OPTIONS` it takes.
    """

    load: Callable[..., Dataset]
    place: str | None = None
    has_protocols: bool = False
    has_folds: bool = False
    has_seed: bool = False
    options: tuple[str, ...] = ()


OPTIONS = ("hierarchy", "label_fields", "image_size")
"""Arguments that say how to read the user's own data."""

LOADERS = {
    "cifar100": Loader(cifar100.load, "data_dir", has_protocols=True, has_seed=True),
    "csv": Loader(manifest.load, "data_path", options=OPTIONS),
    "digits": Loader(digits.load),
    "folder": Loader(folder.load, "data_path", options=("hierarchy", "image_size")),
    "gm_notes": Loader(gm_notes.load, has_protocols=True, has_folds=True),
    "hierarchical_digits": Loader(hierarchical_mnist.load_digits, has_protocols=True),
    "hierarchical_mnist": Loader(
        hierarchical_mnist.load, "data_dir", has_protocols=True
    ),
    "modelnet40": Loader(modelnet40.load, "data_dir", has_protocols=True),
    "npz": Loader(npz.load, "data_path", options=("hierarchy",)),
    "psb": Loader(psb.load, "data_dir", has_protocols=True),
    "tfds": Loader(functools.partial(tfds_sets.load, ""), "data_dir", options=OPTIONS),
    "tut2016": Loader(tut2016.load, "data_dir", has_protocols=True, has_folds=True),
} | {
    name: Loader(functools.partial(image_sets.load, name), "data_dir", has_seed=True)
    for name in image_sets.NAMES
}
"""Data sets by name."""


def find_loader(name: str) -> Loader:
    """Returns the loader of a data set; ``tfds:<name>`` is any that TFDS prepared.

    Raises:
      UserError: Unknown name.
    """
    kind, colon, prepared = name.partition(":")
    if kind == "tfds" and colon:
        read = functools.partial(tfds_sets.load, prepared)
        return LOADERS[kind]._replace(load=read)
    if name not in LOADERS:
        nearest = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0)[0]
        raise UserError(
            f"unknown data set {name!r}, did you mean {nearest!r}? There are "
            f"{', '.join(sorted(LOADERS))}"
        )
    return LOADERS[name]


def load(
    name: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    data_path: str | pathlib.Path | None = None,
    hierarchy: str | pathlib.Path | None = None,
    label_fields: Sequence[str] = (),
    image_size: int = 0,
    protocol: str | None = None,
    fold: int = 0,
    seed: int = 0,
) -> Dataset:
    """Loads a data set by name.

    Args:
      name: One of `LOADERS`: 'cifar100', 'csv', 'digits', 'folder', 'gm_notes',
        'hierarchical_digits', 'hierarchical_mnist', 'meso_z', 'micro_l', 'micro_s',
        'modelnet40', 'nabirds', 'npz', 'psb', 'tut2016'; or 'tfds:<name>'.
      data_dir: Folder of downloaded data ('modelnet40', 'psb', 'tut2016'), or the
        folder of TFDS ('cifar100', 'hierarchical_mnist', 'meso_z', 'micro_l',
        'micro_s', 'nabirds', 'tfds:...').
      data_path: The user's own file or folder ('csv', 'folder', 'npz').
      hierarchy: File of the label tree ('csv', 'folder', 'npz', 'tfds:...'); None takes
        the labels.
      label_fields: Columns or features that are the labels, coarsest first ('csv',
        'tfds:...').
      image_size: Side of images or number of mel bands ('csv', 'folder', 'tfds:...');
        0 lets the data decide.
      protocol: Which variant of the data or of their split ('cifar100', 'gm_notes',
        'hierarchical_digits', 'hierarchical_mnist', 'modelnet40', 'psb', 'tut2016');
        None takes the loader's default.
      fold: Number of the fold, from 0 ('gm_notes', 'tut2016').
      seed: Draws the split where the published one is random ('cifar100', 'meso_z',
        'micro_l', 'micro_s', 'nabirds'); the others do not look at it.

    Raises:
      UserError: Unknown name; an argument that is missing or that this data set does
        not have; anything the loader refuses.
    """
    loader = find_loader(name)
    given = {"data_dir": data_dir, "data_path": data_path}
    if loader.place and given[loader.place] is None:
        raise MissingDataError(
            f"data set {name!r} needs {loader.place}, {_where(name)}"
        )
    options = {}
    if loader.has_protocols:
        if protocol is not None:
            options["protocol"] = protocol
    elif protocol is not None:
        raise UserError(
            f"data set {name!r} has no protocols to choose from, got {protocol!r}"
        )
    if loader.has_folds:
        options["fold"] = fold
    elif fold:
        raise UserError(f"data set {name!r} has only fold 0, got {fold}")
    if loader.has_seed:
        options["seed"] = seed
    for key, value in (
        ("hierarchy", hierarchy),
        ("label_fields", tuple(label_fields)),
        ("image_size", image_size),
    ):
        if key in loader.options:
            options[key] = value
        elif value:
            takers = [of for of in LOADERS if key in LOADERS[of].options]
            raise UserError(
                f"data set {name!r} {_HAS_OWN[key]}, got {key} {_shown(value)}; only "
                f"{', '.join(takers)} take one"
            )
    place = [given[loader.place]] if loader.place else []
    return loader.load(*place, **options)


_HAS_OWN = {
    "hierarchy": "has its own tree",
    "label_fields": "has its own levels",
    "image_size": "has examples of a size of their own",
}


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else repr(str(value))


def _where(name: str) -> str:
    if name.startswith("tfds"):
        return "the folder that TFDS has prepared it in"
    if LOADERS[name].has_seed:
        return "the folder that python -m hierjax.data.prepare has written it to"
    return {
        "hierarchical_mnist": "the folder of TFDS with mnist/ in it",
        "modelnet40": (
            f"the folder with {modelnet40.VIEWS}, {modelnet40.POINTS} or "
            f"{modelnet40.MESHES}"
        ),
        "csv": "the table of examples, with a column 'file' and label columns",
        "folder": "the folder with a folder of images or recordings a class",
        "npz": "the .npz file with arrays features and labels",
        "psb": f"the folder with {psb.FILE}, {psb.SOURCE}",
        "tut2016": f"the folder with {tut2016.FILE}, {tut2016.SOURCE}",
    }[name]
