"""Data sets by name, as the command line knows them."""

import difflib
import functools
import importlib
import inspect
import pathlib
import pkgutil
from collections.abc import Sequence

from hierjax.data import own, sets
from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.own import tfds_sets
from hierjax.data.own.tree_files import read_hierarchy
from hierjax.data.reading.media import DEFAULT_SIZE
from hierjax.edges import ParentRule
from hierjax.errors import MissingDataError, UserError
from hierjax.tree_readers import EdgeOrder


def _declared() -> dict[str, Loader]:
    """The loaders of every module that has some."""
    found = {}
    for package in (own, sets):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            found |= getattr(importlib.import_module(module.name), "LOADERS", {})
    return dict(sorted(found.items()))


LOADERS = _declared()
"""Data sets by name."""


def find_loader(name: str) -> Loader:
    """Returns the loader of a data set; ``tfds:<name>`` is any that TFDS prepared.

    Raises:
      UserError: Unknown name.

    Example:
      >>> find_loader("folder").place
      'data_path'
      >>> find_loader("tut2016").has_folds
      True
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
    parents: ParentRule = "error",
    edge_order: EdgeOrder | None = None,
    label_fields: Sequence[str] = (),
    image_size: int = 0,
    default_size: int = DEFAULT_SIZE,
    missing_as_names: bool = False,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
    protocol: str | None = None,
    fold: int = 0,
    seed: int = 0,
) -> Dataset:
    """Loads a data set by name.

    Args:
      name: One of `LOADERS`: 'cifar100', 'csv', 'digits', 'folder', 'gm_notes',
        'hierarchical_digits', 'hierarchical_mnist', 'meso_z', 'micro_l', 'micro_s',
        'modelnet40', 'nabirds', 'npz', 'omniglot', 'psb', 'tut2016'; or
        'tfds:<name>'.
      data_dir: Folder of downloaded data ('modelnet40', 'psb', 'tut2016'), or the
        folder of TFDS ('cifar100', 'hierarchical_mnist', 'meso_z', 'micro_l',
        'micro_s', 'nabirds', 'tfds:...').
      data_path: The user's own file or folder ('csv', 'folder', 'npz').
      hierarchy: File of the label tree ('csv', 'folder', 'npz', 'tfds:...'); None takes
        the labels.
      parents: Which parent that file's nodes of several keep: 'first', 'deepest' or
        'shallowest'; 'error' refuses them.
      edge_order: Which is first in that file's pairs, 'parent_child' or
        'child_parent'; None takes the header's word, or parent first.
      label_fields: Columns or features that are the labels, coarsest first ('csv',
        'tfds:...').
      image_size: Side of images or number of mel bands ('csv', 'folder', 'omniglot',
        'tfds:...'); 0 lets the data decide.
      default_size: Side of images that are not smaller, where ``image_size`` is 0; of
        no effect on other data.
      missing_as_names: Whether the words for a missing value (NA, nan, None, ...) are
        names of labels ('csv', 'folder', 'npz', 'tfds:...').
      skip_unreadable: Whether files that cannot be read are left out ('csv',
        'folder').
      pixel_max: What is white in images of more than 8 bits a pixel ('csv', 'folder',
        'tfds:...'); 0 takes the range that the files use.
      protocol: Which variant of the data or of their split ('cifar100', 'gm_notes',
        'hierarchical_digits', 'hierarchical_mnist', 'modelnet40', 'omniglot', 'psb',
        'tut2016'); None takes the loader's default.
      fold: Number of the fold, from 0 ('gm_notes', 'omniglot', 'tut2016').
      seed: Draws the split where the published one is random ('cifar100', 'meso_z',
        'micro_l', 'micro_s', 'nabirds'); the others do not look at it.

    Raises:
      UserError: Unknown name; an argument that is missing or that this data set does
        not have; anything the loader refuses.

    Example:
      >>> notes = load("gm_notes")
      >>> notes.features.shape
      (1530, 24, 32)
      >>> load("digits", fold=1)
      Traceback (most recent call last):
      hierjax.errors.UserError: data set 'digits' has only fold 0, got 1
    """
    loader = find_loader(name)
    given = {"data_dir": data_dir, "data_path": data_path}
    if loader.place and given[loader.place] is None:
        raise MissingDataError(
            f"data set {name!r} needs {loader.place}, {loader.where}"
        )
    options = {}
    if hierarchy is not None and "hierarchy" in loader.options:
        hierarchy = read_hierarchy(hierarchy, parents, edge_order)
    elif (parents, edge_order) != ("error", None):
        raise UserError("parents and edge_order say how to read a hierarchy; give one")
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
        ("missing_as_names", missing_as_names),
        ("skip_unreadable", skip_unreadable),
        ("pixel_max", pixel_max),
    ):
        if key in loader.options:
            options[key] = value
        elif value:
            takers = [of for of in LOADERS if key in LOADERS[of].options]
            raise UserError(
                f"data set {name!r} {_HAS_OWN[key]}, got {key} {_shown(value)}; only "
                f"{', '.join(takers)} take one"
            )
    # Of sets with an image_size those that are read from files.
    if "default_size" in inspect.signature(loader.load).parameters:
        options["default_size"] = default_size
    place = [given[loader.place]] if loader.place else []
    return loader.load(*place, **options)


_HAS_OWN = {
    "hierarchy": "has its own tree",
    "label_fields": "has its own levels",
    "image_size": "has examples of a size of their own",
    "missing_as_names": "has labels of its own",
    "skip_unreadable": "has no such files",
    "pixel_max": "has no such images",
}


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else repr(str(value))
