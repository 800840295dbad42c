"""The objects an experiment stands for: encoder, objective, trained result."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from experiments.settings.experiment import CLASSIFIERS, ENCODERS, Experiment
from hierjax import data, evaluation, losses, models, objectives, training
from hierjax.data.augmentation import with_views
from hierjax.errors import UserError


def make_model(experiment: Experiment, num_levels: int) -> nn.Module:
    """The encoder; it returns unit vectors, except for the softmax classifier.

    Args:
      experiment: what it is for.
      num_levels: levels of the tree; masks 'heads' take a head for each.
    """
    settings = {}
    # Only encoders of images and points have statistics to share between devices.
    if experiment.model not in ("linear", "mlp"):
        settings["axis_name"] = training.AXIS
    if experiment.width:
        settings["channels"] = tuple(experiment.width * 2**i for i in range(3))
    if experiment.loss == "level_contrastive" and experiment.masks == "heads":
        settings["num_heads"] = num_levels
    return ENCODERS[experiment.model](
        embed_dim=experiment.embed_dim,
        normalize=experiment.loss != "softmax",
        size_inform=experiment.size_inform,
        dtype=jnp.dtype(experiment.dtype),
        head_layers=experiment.head_layers,
        **settings,
    )


def pretrained_weights(experiment: Experiment) -> Callable | None:
    """What puts the weights of a file into fresh variables, None without a file."""
    if not experiment.weights:
        return None
    path = pathlib.Path(experiment.data_dir) / experiment.weights
    return functools.partial(models.load_pretrained, path)


def augmentation(experiment: Experiment) -> Callable | None:
    """What makes the views of one example; None leaves it as it is."""
    if experiment.augment == "none":
        return None
    return with_views(data.AUGMENTATIONS[experiment.augment], experiment.num_views)


def fit(
    experiment: Experiment,
    dataset: data.Dataset,
    workdir: pathlib.Path | None = None,
    *,
    num_devices: int | None = None,
    verbose: bool = False,
) -> training.Result:
    """Train an experiment on its data, see `training.fit`."""
    return training.fit(
        **_parts(experiment, dataset),
        workdir=workdir,
        measured=experiment.measured,
        num_devices=num_devices,
        verbose=verbose,
    )


def rehearse(
    experiment: Experiment, dataset: data.Dataset, *, num_devices: int | None = None
) -> training.Rehearsal:
    """Run the first steps of an experiment, see `training.rehearse`."""
    return training.rehearse(**_parts(experiment, dataset), num_devices=num_devices)


def _parts(experiment: Experiment, dataset: data.Dataset) -> dict:
    """What the training functions take by these names."""
    return {
        "model": make_model(experiment, dataset.hierarchy.num_levels),
        "objective": make_objective(experiment, dataset),
        "data": dataset,
        "config": experiment,
        "augment": augmentation(experiment),
        "pretrained": pretrained_weights(experiment),
    }


def untrained_embed(experiment: Experiment, dataset: data.Dataset) -> evaluation.Embed:
    """The embedding of the network as it is initialised."""
    model = make_model(experiment, dataset.hierarchy.num_levels)
    variables = training.initial_variables(
        model,
        training.example_inputs(dataset),
        experiment.seed,
        pretrained=pretrained_weights(experiment),
    )
    return training.embedder(
        model, variables, dataset.inputs, method=experiment.measured
    )


def make_objective(
    experiment: Experiment, dataset: data.Dataset
) -> objectives.Objective:
    """The objective on a data set; equal settings give the same object.

    On ragged trees the rank-based loss takes its ranks from the hops between classes,
    since padded labels would order some pairs differently.
    """
    hierarchy = dataset.hierarchy
    num_levels = hierarchy.num_levels
    if experiment.loss == "rank_based":
        ragged = bool((hierarchy.depths < num_levels).any())
        return _rank_based(
            experiment.distance,
            experiment.target,
            experiment.stop_gradient_target,
            _Hops(hierarchy.path_length()) if ragged else None,
        )
    if experiment.loss in CLASSIFIERS:
        return _classifier(
            hierarchy,
            experiment.loss,
            experiment.proxies,
            experiment.scale,
            experiment.dynamic_scale,
            experiment.distance,
            experiment.ema_decay,
            _class_counts(dataset) if experiment.class_priors else None,
            experiment.official,
        )
    if experiment.loss in objectives.CONTRASTIVE:
        return _contrastive(
            experiment.loss,
            experiment.temperature,
            experiment.block_size or None,
            experiment.label_level,
            experiment.pairwise_max,
            experiment.official,
        )
    if experiment.loss == "level_contrastive":
        return _level_contrastive(
            hierarchy,
            experiment.masks,
            experiment.temperature,
            experiment.block_size or None,
            experiment.label_scope,
            experiment.balance,
            experiment.activation,
            experiment.overlap_weight,
            experiment.entropy_weight,
        )
    if experiment.loss == "triplet":
        return _triplet(experiment.distance, (experiment.margin,) * num_levels)
    if experiment.loss == "tuplet":
        return _tuplet(experiment.distance, tuplet_margins(experiment, num_levels))
    raise UserError(f"loss {experiment.loss!r} trains nothing")


def tuplet_margins(experiment: Experiment, num_levels: int) -> tuple[float, ...]:
    """Margins from the finest to the coarsest level.

    The coarsest gets ``margin_inner``; the others share the rest of ``margin_outer``,
    which at two levels gives (alpha - beta, beta) of the quadruplet loss.
    """
    if num_levels == 1:
        return (experiment.margin_inner,)
    rest = experiment.margin_outer - experiment.margin_inner
    return (rest / (num_levels - 1),) * (num_levels - 1) + (experiment.margin_inner,)


def whole_tuples(experiment: Experiment, dataset: data.Dataset) -> Experiment:
    """Round the batch of a tuple loss down to whole tuples, and say so.

    A batch counts clips, so that methods with and without tuples see as many; how many
    a tuple has depends on the depth of the tree.
    """
    if experiment.loss != "tuplet":
        return experiment
    tuple_size = dataset.hierarchy.num_levels + 2
    batch_size = experiment.batch_size // tuple_size * tuple_size
    if batch_size in (0, experiment.batch_size):
        return experiment
    print(f"batch_size {batch_size}: whole tuples of {tuple_size} rows")
    return dataclasses.replace(experiment, batch_size=batch_size)


class _Hops:
    """A matrix of hops that is equal to another by value, to serve as a cache key."""

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix

    def __eq__(self, other):
        return isinstance(other, _Hops) and np.array_equal(self.matrix, other.matrix)

    def __hash__(self):
        return hash(self.matrix.tobytes())


@functools.lru_cache(maxsize=64)
def _rank_based(distance, target, stop_gradient_target, hops):
    return objectives.from_loss(
        losses.rank_based_loss,
        distance=distance,
        target=target,
        stop_gradient_target=stop_gradient_target,
        tree_distance=None if hops is None else hops.matrix,
    )


def _class_counts(dataset: data.Dataset) -> tuple[int, ...]:
    """Training rows of every class."""
    ids = dataset.train_labels[dataset.rows("train"), -1]
    counts = np.bincount(ids[ids >= 0], minlength=dataset.hierarchy.num_classes)
    return tuple(counts.tolist())


@functools.lru_cache(maxsize=64)
def _classifier(
    hierarchy, method, proxy_kind, scale, dynamic, distance, decay, counts, official
):
    return objectives.classification(
        hierarchy,
        method=method,
        proxy_kind=proxy_kind,
        scale=scale,
        dynamic_scale=dynamic,
        distance=distance,
        ema_decay=decay,
        class_counts=counts,
        official=official,
    )


@functools.lru_cache(maxsize=64)
def _triplet(distance, margins):
    return objectives.from_loss(
        losses.hierarchical_triplet_loss, distance=distance, margins=margins
    )


@functools.lru_cache(maxsize=64)
def _tuplet(distance, margins):
    return objectives.from_tuple_loss(margins, distance=distance)


@functools.lru_cache(maxsize=64)
def _contrastive(method, temperature, block_size, label_level, pairwise_max, official):
    return objectives.contrastive(
        method,
        temperature=temperature,
        block_size=block_size,
        label_level=label_level,
        pairwise_max=pairwise_max,
        official=official,
    )


@functools.lru_cache(maxsize=64)
def _level_contrastive(
    hierarchy,
    masks,
    temperature,
    block_size,
    scope,
    balance,
    activation,
    overlap,
    entropy,
):
    return objectives.level_contrastive(
        hierarchy,
        masks=masks,
        temperature=temperature,
        block_size=block_size,
        label_scope=scope,
        balance=balance,
        activation=activation,
        overlap_weight=overlap,
        entropy_weight=entropy,
    )
