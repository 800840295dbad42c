"""Settings that the user's own data decide, said aloud."""

import dataclasses
import math
from collections.abc import Collection

import numpy as np

from experiments.settings.experiment import AUTO, Experiment
from experiments.settings.loading import load_data
from hierjax import data, evaluation

_OPEN = ("model", "augment")
_SMALLEST_FOR_RESNET = 32
_SMALLEST = 8
# The shifts of its augmentation are up to three bands.
_SMALLEST_SPECTROGRAM = 16
_FEWEST_POINTS = 32
_MANY_POINTS = 512
_PASSES = 20
_LONGEST = 4


def adapt(experiment: Experiment, given: Collection[str]) -> Experiment:
    """Replaces 'auto' by what suits the loaded data, and prints every choice.

    Vectors go to a perceptron; bytes ``[H, W, C]``, images, to a small residual network
    from 32 pixels on and to a small convolutional one below; numbers ``[H, W]``,
    spectrograms, to that as well; ``[P, 3]``, points, to a PointNet. Each gets its
    augmentation. Inputs are standardised unless they are bytes, points, or numbers in
    0 to 1. A batch that is larger than the training split becomes the largest power
    of two that is not. Where the preset's steps are less than 20 passes over the
    training rows, there are up to four times as many. Where the validation split is too
    small, or too little of its labels known, for the measure that selects the best
    step, another one takes over.

    Args:
      experiment: With model or augment 'auto'; any other is returned as it is.
      given: Fields that the user has set, which stay, 'auto' aside.
    """
    if AUTO not in (experiment.model, experiment.augment):
        return experiment
    dataset = load_data(dataclasses.replace(experiment, standardize=False))
    chosen = suited_to(dataset, num_views=experiment.num_views)
    num_train = len(dataset.rows("train"))
    if experiment.batch_size > num_train:
        chosen["batch_size"] = 2 ** max(1, num_train.bit_length() - 1)
    if not {"num_steps", "eval_every"} & set(given):
        wanted = _PASSES * num_train / (experiment.batch_size * experiment.num_steps)
        times = min(max(math.ceil(wanted), 1), _LONGEST)
        chosen["num_steps"] = times * experiment.num_steps
        chosen["eval_every"] = times * experiment.eval_every
    chosen["selection"] = _defined_selection(experiment.selection, dataset)
    changed = {
        key: value
        for key, value in chosen.items()
        if getattr(experiment, key) == AUTO
        or (key not in (*_OPEN, *given) and getattr(experiment, key) != value)
    }
    print(
        f"data: {num_train} training rows of {dataset.features.dtype} "
        f"{list(dataset.features.shape[1:])}"
    )
    for key, value in changed.items():
        print(f"for these data: {key} = {value!r}")
    return dataclasses.replace(experiment, **changed)


def _defined_selection(wanted: str, dataset: data.Dataset) -> str:
    """The wanted measure, or one that the validation labels define."""
    if "validation" not in dataset.splits:
        return wanted
    for selection in (wanted, "nn/average"):
        if selection == "accuracy":
            if (dataset.labels[dataset.rows("validation"), -1] >= 0).any():
                return selection
            continue
        # Which are defined depends on the labels alone.
        anywhere = np.random.default_rng(0).normal(size=(len(dataset.labels), 2))
        measures = evaluation.validation_measures(
            anywhere.__getitem__, dataset, selection
        )
        if np.isfinite(measures.get(selection, np.nan)):
            return selection
    return wanted


def suited_to(dataset: data.Dataset, *, num_views: int) -> dict:
    """Model, augmentation, standardisation and views for the shape of some data.

    Args:
      dataset: With features as the network would get them.
      num_views: Views wanted; several take stronger changes of images, and become one
        where nothing changes examples.
    """
    model, augment, standardize = _suited_to_shape(dataset, views=num_views > 1)
    if augment == "none":
        num_views = 1
    return {
        "model": model,
        "augment": augment,
        "standardize": standardize,
        "num_views": num_views,
    }


def _suited_to_shape(dataset: data.Dataset, *, views: bool) -> tuple[str, str, bool]:
    shape = dataset.features.shape[1:]
    is_bytes = dataset.features.dtype == np.uint8
    in_range = is_bytes or (dataset.features.min() >= 0 and dataset.features.max() <= 1)
    if (
        len(shape) == 2
        and not is_bytes
        and shape[1] == 3
        and shape[0] >= _FEWEST_POINTS
    ):
        many = shape[0] >= _MANY_POINTS
        return "pointnet", "points_256" if many else "points_rotate_jitter", False
    smallest = _SMALLEST_SPECTROGRAM if len(shape) == 2 and not is_bytes else _SMALLEST
    if len(shape) not in (2, 3) or min(shape[:2]) < smallest:
        return "mlp", "none", True
    channels = shape[2] if len(shape) == 3 else 1
    if is_bytes:
        large = min(shape[:2]) >= _SMALLEST_FOR_RESNET
        model = "small_resnet" if large else "convnet"
        if channels == 3:
            return model, "simclr" if views else "random_affine_flip", False
        # What is grey may be writing or a spectrogram, which a flip would spoil.
        return model, "shift_jitter_noise" if channels == 1 else "none", False
    if len(shape) == 2:
        return "convnet", "random_shift_noise", not in_range
    fits = in_range and channels in (1, 3)
    return "convnet", "shift_jitter_noise" if fits else "none", not in_range
