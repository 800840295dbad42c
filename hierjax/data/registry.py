"""Data sets by name, as the command line knows them."""

import difflib
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from hierjax.data import (
    cifar100,
    digits,
    gm_notes,
    hierarchical_mnist,
    image_sets,
    modelnet40,
    npz,
    psb,
    tut2016,
)
from hierjax.data.dataset import Dataset
from hierjax.errors import MissingDataError, UserError


class Loader(NamedTuple):
    """How to load a data set.

    Attributes:
      load: The function.
      place: Which argument says where the data are, None if they come along.
      has_protocols: Whether there are several protocols.
      has_folds: Whether a protocol may have several folds.
      has_seed: Whether the split is drawn at random.
    """

    load: Callable[..., Dataset]
    place: str | None = None
    has_protocols: bool = False
    has_folds: bool = False
    has_seed: bool = False


LOADERS = {
    "cifar100": Loader(cifar100.load, "data_dir", has_protocols=True, has_seed=True),
    "digits": Loader(digits.load),
    "gm_notes": Loader(gm_notes.load, has_protocols=True, has_folds=True),
    "hierarchical_digits": Loader(hierarchical_mnist.load_digits, has_protocols=True),
    "hierarchical_mnist": Loader(
        hierarchical_mnist.load, "data_dir", has_protocols=True
    ),
    "modelnet40": Loader(modelnet40.load, "data_dir", has_protocols=True),
    "npz": Loader(npz.load, "data_path"),
    "psb": Loader(psb.load, "data_dir", has_protocols=True),
    "tut2016": Loader(tut2016.load, "data_dir", has_protocols=True, has_folds=True),
} | {
    name: Loader(functools.partial(image_sets.load, name), "data_dir", has_seed=True)
    for name in image_sets.NAMES
}
"""Data sets by name."""


def load(
    name: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    data_path: str | pathlib.Path | None = None,
    hierarchy: str | pathlib.Path | None = None,
    protocol: str | None = None,
    fold: int = 0,
    seed: int = 0,
) -> Dataset:
    """Loads a data set by name.

    Args:
      name: One of `LOADERS`: 'cifar100', 'digits', 'gm_notes', 'hierarchical_digits',
        'hierarchical_mnist', 'meso_z', 'micro_l', 'micro_s', 'modelnet40', 'nabirds',
        'npz', 'psb', 'tut2016'.
      data_dir: Folder of downloaded data ('modelnet40', 'psb', 'tut2016'), or the
        folder of TFDS ('cifar100', 'hierarchical_mnist', 'meso_z', 'micro_l',
        'micro_s', 'nabirds').
      data_path: The user's own file ('npz').
      hierarchy: File of the label tree ('npz'); None takes the labels.
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
    if name not in LOADERS:
        nearest = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0)[0]
        raise UserError(
            f"unknown data set {name!r}, did you mean {nearest!r}? There are "
            f"{', '.join(sorted(LOADERS))}"
        )
    loader = LOADERS[name]
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
    if name == "npz":
        options["hierarchy"] = hierarchy
    elif hierarchy is not None:
        raise UserError(
            f"data set {name!r} has its own tree, got hierarchy {str(hierarchy)!r}; "
            "only 'npz' takes one"
        )
    place = [given[loader.place]] if loader.place else []
    return loader.load(*place, **options)


def _where(name: str) -> str:
    if LOADERS[name].has_seed:
        return "the folder that python -m hierjax.data.prepare has written it to"
    return {
        "hierarchical_mnist": "the folder of TFDS with mnist/ in it",
        "modelnet40": (
            f"the folder with {modelnet40.VIEWS}, {modelnet40.POINTS} or "
            f"{modelnet40.MESHES}"
        ),
        "npz": "the .npz file with arrays features and labels",
        "psb": f"the folder with {psb.FILE}, {psb.SOURCE}",
        "tut2016": f"the folder with {tut2016.FILE}, {tut2016.SOURCE}",
    }[name]
