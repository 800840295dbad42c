"""Data sets by name, as the command line knows them."""

import difflib
import pathlib

from hierjax.data import digits, gm_notes, npz, psb, tut2016
from hierjax.data.dataset import Dataset
from hierjax.errors import MissingDataError, UserError

# Name: loader, what it needs, whether it has protocols and folds.
LOADERS = {
    "digits": (digits.load, None, False),
    "gm_notes": (gm_notes.load, None, True),
    "npz": (npz.load, "data_path", False),
    "psb": (psb.load, "data_dir", False),
    "tut2016": (tut2016.load, "data_dir", True),
}


def load(
    name: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    data_path: str | pathlib.Path | None = None,
    hierarchy: str | pathlib.Path | None = None,
    protocol: str | None = None,
    fold: int = 0,
) -> Dataset:
    """Loads a data set by name.

    Args:
      name: One of `LOADERS`: 'digits', 'gm_notes', 'npz', 'psb', 'tut2016'.
      data_dir: Folder of downloaded data ('psb', 'tut2016').
      data_path: The user's own file ('npz').
      hierarchy: File of the label tree ('npz'); None takes the labels.
      protocol: How to split ('gm_notes', 'tut2016'); None takes the loader's default.
      fold: Number of the fold, from 0.

    Raises:
      UserError: Unknown name; an argument that is missing or that this data set does
        not have; anything the loader refuses.
    """
    if name not in LOADERS:
        nearest = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0)[0]
        raise UserError(
            f"unknown data set {name!r}, did you mean {nearest!r}? There are "
            f"{', '.join(LOADERS)}"
        )
    loader, place, has_folds = LOADERS[name]
    given = {"data_dir": data_dir, "data_path": data_path}
    if place and given[place] is None:
        raise MissingDataError(f"data set {name!r} needs {place}, {_where(name)}")
    options = {}
    if has_folds:
        options["fold"] = fold
        if protocol is not None:
            options["protocol"] = protocol
    elif protocol is not None or fold:
        raise UserError(
            f"data set {name!r} has one split only, got protocol {protocol!r} and "
            f"fold {fold}"
        )
    if name == "npz":
        options["hierarchy"] = hierarchy
    elif hierarchy is not None:
        raise UserError(
            f"data set {name!r} has its own tree, got hierarchy {str(hierarchy)!r}; "
            "only 'npz' takes one"
        )
    return loader(*([given[place]] if place else []), **options)


def _where(name: str) -> str:
    return {
        "npz": "the .npz file with arrays features and labels",
        "psb": f"the folder with {psb.FILE}, {psb.SOURCE}",
        "tut2016": f"the folder with {tut2016.FILE}, {tut2016.SOURCE}",
    }[name]
