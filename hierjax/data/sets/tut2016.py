"""VGGish embeddings of TUT Acoustic Scenes 2016, read from the user's copy."""

import pathlib

import numpy as np

from hierjax.data.dataset import SPLITS, Dataset
from hierjax.data.loader import Loader
from hierjax.data.reading.archives import read_npz
from hierjax.data.splitting import deal_parts
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

FILE = "tut2016_vggish.npz"
NUM_FOLDS = {"authors": 1, "location": 5, "unseen": 3}
_KEYS = (
    "embeddings",
    "scene",
    "group",
    "split",
    "location",
    "scene_names",
    "group_names",
)
SOURCE = (
    "made from the folder example_data of github.com/inesnolas/"
    f"Rank-based-loss_ICASSP22, with the arrays {', '.join(_KEYS)}"
)


def load(
    data_dir: str | pathlib.Path, protocol: str = "authors", fold: int = 0
) -> Dataset:
    """Loads 702 clips of 30 s: group (3) -> scene (9), embeddings ``[702, 128]``.

    The example data of the rank-based loss (Nolasco & Stowell, arXiv 2110.05941). The
    bootstrap unit is the recording location; every location has one scene.

    Protocols:
      'authors': the published split (480, 192 and 30 clips). The location of every
        validation and test clip also occurs in training and no beach is tested: for
        comparison with published numbers only.
      'location': the locations of every scene dealt out to five parts; fold f tests
        part f, validates on part f + 1 (modulo 5) and trains on the other three. All
        nine scenes occur in every part, no location in two.
      'unseen': fold f of three tests scene f of every group (in order of scene
        number) and validates on scene f + 1 (modulo 3), so that validation too is
        about scenes never trained on. That leaves one training scene a group, hence
        no pairs of sibling scenes: settings that need them come from 'location', and
        `transforms.refit` gives the two scenes a group to train on.

    Args:
      data_dir: Folder with `tut2016_vggish.npz`, or with `tut2016_vggish/` around it.
      protocol: 'authors', 'location' or 'unseen'.
      fold: Number of the fold, from 0.

    Raises:
      UserError: The file is missing or lacks an array; unknown protocol or fold.
    """
    if protocol not in NUM_FOLDS:
        raise UserError(
            f"tut2016: protocol must be one of {', '.join(map(repr, NUM_FOLDS))}, got "
            f"{protocol!r}"
        )
    if not 0 <= fold < NUM_FOLDS[protocol]:
        raise UserError(
            f"tut2016: protocol {protocol!r} has folds 0 to "
            f"{NUM_FOLDS[protocol] - 1}, got {fold}"
        )
    arrays = read_npz(data_dir, "tut2016_vggish", FILE, _KEYS, SOURCE)
    scene = arrays["scene"].astype(np.int32)
    locations, location = np.unique(arrays["location"], return_inverse=True)
    group_of_scene = np.empty(len(arrays["scene_names"]), np.int32)
    group_of_scene[scene] = arrays["group"]
    hierarchy = Hierarchy.from_paths(
        [
            (str(arrays["group_names"][group]), str(name))
            for group, name in zip(group_of_scene, arrays["scene_names"], strict=True)
        ],
        level_names=("group", "scene"),
    )
    if protocol == "authors":
        part = arrays["split"]
    elif protocol == "location":
        fifth = deal_parts(scene, location, (1,) * NUM_FOLDS[protocol], seed=0)
        part = _part_of_fold(fifth, fold, NUM_FOLDS[protocol])
    else:
        part = _part_of_fold(_rank_in_group(group_of_scene)[scene], fold, 3)
    return Dataset(
        name="tut2016",
        features=arrays["embeddings"],
        labels=hierarchy.labels_of(scene),
        hierarchy=hierarchy,
        splits={
            split: np.flatnonzero(part == number) for number, split in enumerate(SPLITS)
        },
        units=_UNITS[protocol](location, scene),
        unit_name=_UNIT_NAMES[protocol],
    )


# What a protocol leaves out and tests on: single clips, places, or whole scenes.
_UNIT_NAMES = {"authors": "clip", "location": "location", "unseen": "scene"}
_UNITS = {
    "authors": lambda location, scene: np.arange(len(scene)),
    "location": lambda location, scene: location,
    "unseen": lambda location, scene: scene,
}


def _part_of_fold(piece: np.ndarray, fold: int, num_folds: int) -> np.ndarray:
    """0 train, 1 validation, 2 test from the piece ``[N]`` every row lies in."""
    turn = (piece - fold) % num_folds
    return np.select([turn == 0, turn == 1], [2, 1], 0)


def _rank_in_group(group_of_scene: np.ndarray) -> np.ndarray:
    """Running number of every scene within its group."""
    scenes = np.arange(len(group_of_scene))
    same = group_of_scene[:, None] == group_of_scene
    return (same & (scenes < scenes[:, None])).sum(axis=1)


LOADERS = {
    "tut2016": Loader(
        load,
        "data_dir",
        f"the folder with {FILE}, {SOURCE}",
        has_protocols=True,
        has_folds=True,
    )
}
"""By name."""
