"""Notes of the 128 General MIDI instruments, shipped with the package."""

import functools
import importlib.resources

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

NUM_FOLDS = 4
TRAIN_PITCHES = (46, 55, 72)
VALIDATION_PITCHES = (60,)
TEST_PITCHES = (51, 67)
_FAMILY_SIZE = 8
_PARTITION_SEED = 0


def load(protocol: str = "seen", fold: int = 0) -> Dataset:
    """Loads 1,530 notes: family (16) -> instrument (128), log-mel ``[N, 24, 32]``.

    One sound library (Fluid R3), six pitches, two velocities; features are the uint8
    log-mel values divided by 255. The bootstrap unit is the instrument.

    Protocols:
      'seen': every instrument in every split, pitches apart: train 46, 55 and 72,
        validation 60, test 51 and 67 (Contrabass has no notes at 60, 67 and 72).
        Interpolation between pitches within one sound library.
      'unseen': fold f of four tests two of the eight instruments of every family on
        all pitches; one further instrument a family is validation, five are train.
        Over the folds every instrument is tested once. See `instrument_partition`.

    What 1-NN reaches on the flat features themselves, euclidean / cosine, to be beaten:
      'seen': instrument .461 / .406, family .537 / .490 (pitch 51: instrument .668 /
        .590; pitch 67: .252 / .220); with validation in the gallery .459 / .408 and
        .547 / .504.
      'unseen', mean over the folds: family .369 / .367; with validation in the gallery
        .414 / .409.

    Args:
      protocol: 'seen' or 'unseen'.
      fold: 0 to 3 for 'unseen'; only 0 for 'seen'.

    Raises:
      UserError: Unknown protocol or fold.

    Example:
      >>> notes = load("unseen", fold=3)
      >>> {split: len(rows) for split, rows in notes.splits.items()}
      {'train': 960, 'validation': 192, 'test': 378}
      >>> notes.hierarchy.paths[40]
      ('Strings', 'Violin')
    """
    arrays = _read()
    instrument = arrays["instrument"].astype(np.int32)
    if protocol == "seen":
        if fold != 0:
            raise UserError(f"gm_notes: protocol 'seen' has only fold 0, got {fold}")
        splits = {
            split: np.flatnonzero(np.isin(arrays["pitch"], pitches))
            for split, pitches in (
                ("train", TRAIN_PITCHES),
                ("validation", VALIDATION_PITCHES),
                ("test", TEST_PITCHES),
            )
        }
    elif protocol == "unseen":
        if not 0 <= fold < NUM_FOLDS:
            raise UserError(
                f"gm_notes: protocol 'unseen' has folds 0 to {NUM_FOLDS - 1}, got "
                f"{fold}"
            )
        # Turned so that this fold's test pair comes first, then the validation one.
        turned = np.roll(instrument_partition(), -2 * fold, axis=1)
        splits = {
            split: np.flatnonzero(np.isin(instrument, turned[:, places]))
            for split, places in (
                ("train", slice(3, None)),
                ("validation", slice(2, 3)),
                ("test", slice(0, 2)),
            )
        }
    else:
        raise UserError(
            f"gm_notes: protocol must be 'seen' or 'unseen', got {protocol!r}"
        )
    hierarchy = _hierarchy()
    return Dataset(
        name="gm_notes",
        features=arrays["logmel"].astype(np.float32) / 255,
        labels=hierarchy.labels_of(instrument),
        hierarchy=hierarchy,
        splits=splits,
        units=instrument,
        unit_name="instrument",
    )


def pitches() -> np.ndarray:
    """Returns the MIDI pitch of every row, int32 ``[N]``, for reports by pitch.

    Example:
      >>> np.unique(pitches()).tolist()
      [46, 51, 55, 60, 67, 72]
    """
    return _read()["pitch"].astype(np.int32)


def instrument_partition() -> np.ndarray:
    """Returns the instruments of every family in the order the folds use.

    Fold f tests places 2f and 2f + 1 and validates on place 2f + 2 (modulo 8). The
    order is one permutation a family, drawn in turn from
    ``numpy.random.default_rng(0)``; it never changes.

    Returns:
      int32 ``[16, 8]``, instrument ids.

    Example:
      >>> np.sort(instrument_partition()[1]).tolist()
      [8, 9, 10, 11, 12, 13, 14, 15]
    """
    rng = np.random.default_rng(_PARTITION_SEED)
    families = np.arange(128, dtype=np.int32).reshape(-1, _FAMILY_SIZE)
    return np.stack([rng.permutation(family) for family in families])


@functools.cache
def _read() -> dict[str, np.ndarray]:
    files = importlib.resources.files("hierjax.data.sets") / "files"
    with (
        importlib.resources.as_file(files / "gm_mini_fluidr3.npz") as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


@functools.cache
def _hierarchy() -> Hierarchy:
    arrays = _read()
    families = arrays["family_names"].tolist()
    instruments = arrays["instrument_names"].tolist()
    return Hierarchy.from_paths(
        [
            (families[number // _FAMILY_SIZE], name)
            for number, name in enumerate(instruments)
        ],
        level_names=("family", "instrument"),
    )


LOADERS = {"gm_notes": Loader(load, has_protocols=True, has_folds=True)}
"""By name."""
