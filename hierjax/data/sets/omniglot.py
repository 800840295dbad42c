"""Handwritten characters of eight alphabets, shipped with the package."""

import functools
import importlib.resources

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.splitting import deal_parts
from hierjax.errors import UserError
from hierjax.hierarchy import UNKNOWN, Hierarchy

NUM_FOLDS = {"drawers": 1, "characters": 5, "alphabets": 8}
"""Of every protocol."""
DRAWERS = {"train": range(1, 13), "validation": range(13, 17), "test": range(17, 21)}
"""Who drew the rows of each split, where a protocol splits by drawer."""
SIDES = (52, 26, 13)
"""Pixels that images may have."""
_NUM_DRAWERS = 20
_PARTITION_SEED = 0


def load(protocol: str = "drawers", fold: int = 0, image_size: int = 0) -> Dataset:
    """Loads 4,840 drawings: alphabet (8) -> character (242), uint8 ``[N, S, S]``.

    The small background sets 1 and 2 of Omniglot (Lake, Salakhutdinov & Tenenbaum,
    "Human-level concept learning through probabilistic program induction", Science
    2015): every character drawn once by each of 20 people, ink white. People are
    numbered within an alphabet; whether two alphabets share any is not known.

    Protocols:
      'drawers': every character in every split, people apart: train drawers 1 to 12,
        validation 13 to 16, test 17 to 20. The bootstrap unit is the person.
      'alphabets': the same drawers; fold f of eight hides the labels of alphabet f, in
        the order of their names, from training, so that no loss of labels draws its
        rows. They stay in the gallery, and its queries make a split 'unseen' of their
        own; it has none in validation and test.
      'characters': fold f of five tests a fifth of the characters of every alphabet,
        by all people; another fifth is validation. The unit is the character.

    What 1-NN reaches on the pixels of 'drawers', cosine / euclidean, to be beaten:
    character .240 / .168 and alphabet .590 / .454 of 52 pixels, .276 / .218 and
    .612 / .526 of 26.

    Args:
      protocol: 'drawers', 'alphabets' or 'characters'.
      fold: 0, 0 to 7 or 0 to 4, by protocol.
      image_size: Side of the images: 52, or 26 or 13, means of squares; 0 is 52.

    Raises:
      UserError: Unknown protocol, fold or size.

    Example:
      >>> drawings = load("alphabets", fold=7, image_size=26)
      >>> {split: len(rows) for split, rows in drawings.splits.items()}
      {'train': 2904, 'validation': 900, 'test': 900, 'unseen': 68}
      >>> drawings.features.shape, drawings.hierarchy.paths[-1]
      ((4840, 26, 26), ('Tagalog', 'Tagalog 17'))
    """
    if protocol not in NUM_FOLDS:
        raise UserError(
            f"omniglot: protocol must be one of {', '.join(NUM_FOLDS)}, got "
            f"{protocol!r}"
        )
    if not 0 <= fold < NUM_FOLDS[protocol]:
        last = NUM_FOLDS[protocol] - 1
        accepted = f"folds 0 to {last}" if last else "only fold 0"
        raise UserError(f"omniglot: protocol {protocol!r} has {accepted}, got {fold}")
    side = image_size or SIDES[0]
    if side not in SIDES:
        raise UserError(
            f"omniglot: image_size must be one of {', '.join(map(str, SIDES))}, or 0 "
            f"for {SIDES[0]}, got {image_size}"
        )
    arrays, hierarchy = _read(), _hierarchy()
    labels = hierarchy.labels_of(_characters())
    alphabet, character = labels.T
    drawer = arrays["drawer"]
    by_drawer = {
        split: np.flatnonzero(np.isin(drawer, drawers))
        for split, drawers in DRAWERS.items()
    }
    train_labels, units, unit_name = None, alphabet * _NUM_DRAWERS + drawer, "drawer"
    if protocol == "drawers":
        splits = by_drawer
    elif protocol == "alphabets":
        is_hidden = alphabet == fold
        train_labels = np.where(is_hidden[:, None], UNKNOWN, labels)
        splits = by_drawer | {
            split: by_drawer[split][~is_hidden[by_drawer[split]]]
            for split in ("validation", "test")
        }
        splits["unseen"] = by_drawer["test"][is_hidden[by_drawer["test"]]]
    else:
        # Turned so that this fold's fifth comes first, then that of validation.
        part = (character_partition()[character] - fold) % NUM_FOLDS[protocol]
        splits = {
            "train": np.flatnonzero(part > 1),
            "validation": np.flatnonzero(part == 1),
            "test": np.flatnonzero(part == 0),
        }
        units, unit_name = character, "character"
    return Dataset(
        name="omniglot",
        features=_images(side),
        labels=labels,
        hierarchy=hierarchy,
        splits=splits,
        units=units,
        unit_name=unit_name,
        train_labels=train_labels,
        row_names=_row_names(),
    )


def character_partition() -> np.ndarray:
    """Returns the fifth of every character that the folds use.

    Fold f tests part f and validates on part f + 1 (modulo 5). Every alphabet is dealt
    by `deal_parts` with a fixed seed; the partition never changes.

    Returns:
      int32 ``[242]`` in 0..4.

    Example:
      >>> np.bincount(character_partition()).tolist()
      [49, 49, 48, 48, 48]
    """
    ancestors = np.asarray(_hierarchy().ancestors)
    shares = (1,) * NUM_FOLDS["characters"]
    return deal_parts(ancestors[:, 0], ancestors[:, 1], shares, _PARTITION_SEED)


@functools.cache
def _read() -> dict[str, np.ndarray]:
    files = importlib.resources.files("hierjax.data.sets") / "files"
    with (
        importlib.resources.as_file(files / "omniglot_small.npz") as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


@functools.cache
def _characters() -> np.ndarray:
    """Class id ``[N]`` of every row, in the order of the files' names."""
    return np.unique(_read()["labels"][:, 1], return_inverse=True)[1].astype(np.int32)


@functools.cache
def _hierarchy() -> Hierarchy:
    """Characters are called by their alphabet and their number in it."""
    paths = []
    for name in np.unique(_read()["labels"][:, 1]).tolist():
        alphabet, number = name.replace("_", " ").split("/character")
        paths.append((alphabet, f"{alphabet} {number}"))
    return Hierarchy.from_paths(paths, level_names=("alphabet", "character"))


@functools.cache
def _row_names() -> np.ndarray:
    names = np.array(_hierarchy().class_names)[_characters()]
    return np.array(
        [
            f"{name}, drawer {drawer}"
            for name, drawer in zip(names, _read()["drawer"], strict=True)
        ]
    )


@functools.lru_cache(maxsize=len(SIDES))
def _images(side: int) -> np.ndarray:
    """Means of squares, rounded, uint8 ``[N, side, side]``."""
    images = _read()["features"]
    step = SIDES[0] // side
    squares = images.reshape(len(images), side, step, side, step)
    means = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    means.flags.writeable = False
    return means


LOADERS = {
    "omniglot": Loader(
        load, has_protocols=True, has_folds=True, options=("image_size",)
    )
}
"""By name."""
