"""One experiment as plain data, and the objects it stands for."""

import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hierjax import data, evaluation, losses, models, objectives, proxies, training
from hierjax.data import transforms
from hierjax.errors import MissingDataError, UserError
from hierjax.training.config import check_choice, check_range

INCOMPLETE = ("use", "drop", "coarse")
ENCODERS = {
    "linear": models.Linear,
    "mlp": models.MLP,
    "convnet": models.ConvNet,
    "small_resnet": models.SmallResNet,
    "resnet18": models.CifarResNet18,
    "resnet50": models.CifarResNet50,
    "imagenet_resnet50": models.ResNet50,
    "inception_v3": models.InceptionV3,
}
CLASSIFIERS = objectives.METHODS
UNTRAINED = ("none", "untrained")
LOSSES = (*UNTRAINED, "rank_based", "tuplet", "triplet", *CLASSIFIERS)
# Sets the user brings, and where their recordings come from.
OWN_FILES = {
    "nsynth": "NSynth (magenta.tensorflow.org/datasets/nsynth)",
    "birds": "the three bird species (doi.org/10.1098/rsif.2018.0940)",
}


@dataclasses.dataclass(frozen=True)
class Experiment(training.Config):
    """Everything that decides a run; every field can be set from the command line.

    Attributes:
      dataset: name in `hierjax.data.LOADERS`, or 'nsynth' or 'birds': the user's own
        ``<data_dir>/<dataset>.npz``.
      protocol: how the data set is split, '' for its default.
      fold: fold of that protocol.
      data_dir: folder of downloaded data.
      data_path: the user's own npz file.
      hierarchy: file of the label tree for npz data; '' reads it from the labels.
      num_train: keep so many training rows, drawn by ``seed``; 0: all.
      standardize: zero mean and unit variance by the training split.
      pca: keep this many principal components of the inputs; 0: all.
      noise: standard deviation of added noise, in units of each feature's own.
      hidden_labels: share of the training rows whose finest level is hidden.
      incomplete: what to do with those rows: 'use' them, 'drop' them, or 'coarse':
        hide the finest level of all rows.
      shuffle_hierarchy: re-assign the classes to the leaves at random (by ``seed``).
      refit: train on training and validation rows together, without selection.
      model: name in `ENCODERS`.
      dtype: in which the network computes, 'float32' or 'bfloat16'.
      embed_dim: dimension of the embedding.
      weights: file of pretrained weights for the network, in ``data_dir`` or a whole
        path; '' starts at random.
      size_inform: add a term from the image's original size to the embedding.
      augment: name in `data.AUGMENTATIONS`, or 'none'.
      loss: 'rank_based', 'tuplet' (quadruplet at two levels), 'triplet', a classifier
        ('softmax', 'normface', 'proxydr', 'corr'), 'untrained' to measure the network
        as it was initialised, or 'none' to measure the input itself.
      distance: 'cosine', 'euclidean' or 'sqeuclidean', as the loss accepts; of a
        classifier 'euclidean' or 'arccos'.
      target: of the rank-based loss, 'rank_index' or 'block_edge'.
      stop_gradient_target: of the rank-based loss.
      margin: of the triplet loss, at every level.
      margin_inner: of the tuplet loss at the coarsest level (beta of the quadruplet).
      margin_outer: sum of all margins of the tuplet loss (alpha of the quadruplet).
      proxies: of a classifier: 'learned', 'ema' or 'mds'.
      scale: of a classifier's scores, positive.
      dynamic_scale: let the scale follow the batches instead.
      ema_decay: weight of a batch in the moving average of proxies.
      class_priors: add the log share of every class to a classifier's scores.
      official: published behaviour of a classifier and of the measures of classes
        where it differs from ours.
    """

    dataset: str = "gm_notes"
    protocol: str = ""
    fold: int = 0
    data_dir: str = ""
    data_path: str = ""
    hierarchy: str = ""
    num_train: int = 0
    standardize: bool = True
    pca: int = 0
    noise: float = 0.0
    hidden_labels: float = 0.0
    incomplete: str = "use"
    shuffle_hierarchy: bool = False
    refit: bool = False
    model: str = "linear"
    dtype: str = "float32"
    embed_dim: int = 3
    weights: str = ""
    size_inform: bool = False
    augment: str = "none"
    loss: str = "rank_based"
    distance: str = "cosine"
    target: str = "rank_index"
    stop_gradient_target: bool = False
    margin: float = 0.1
    margin_inner: float = 0.2
    margin_outer: float = 0.4
    proxies: str = "learned"
    scale: float = 10.0
    dynamic_scale: bool = False
    ema_decay: float = 0.01
    class_priors: bool = False
    official: bool = False

    def __post_init__(self):
        """Check every field on its own."""
        super().__post_init__()
        for name, minimum in (
            ("fold", 0),
            ("pca", 0),
            ("noise", 0),
            ("hidden_labels", 0),
            ("num_train", 0),
            ("embed_dim", 1),
            ("margin", 0),
            ("margin_inner", 0),
            ("margin_outer", 0),
        ):
            check_range(name, getattr(self, name), minimum=minimum)
        if self.hidden_labels > 1:
            raise UserError(f"hidden_labels must be in 0..1, got {self.hidden_labels}")
        for name, accepted in (
            ("incomplete", INCOMPLETE),
            ("model", tuple(ENCODERS)),
            ("dtype", ("float32", "bfloat16")),
            ("augment", ("none", *data.AUGMENTATIONS)),
            ("proxies", objectives.PROXIES),
            ("loss", LOSSES),
            ("target", ("rank_index", "block_edge")),
            ("distance", _DISTANCES.get(self.loss, _DISTANCES["tuplet"])),
        ):
            check_choice(name, getattr(self, name), accepted)
        if not self.scale > 0:
            raise UserError(f"scale must be positive, got {self.scale}")
        if not 0 < self.ema_decay <= 1:
            raise UserError(f"ema_decay must be in (0, 1], got {self.ema_decay}")
        if self.loss == "tuplet" and not self.margin_outer > self.margin_inner > 0:
            raise UserError(
                "margins must satisfy margin_outer > margin_inner > 0, got "
                f"{self.margin_outer} and {self.margin_inner}"
            )


_DISTANCES = {
    **dict.fromkeys(CLASSIFIERS, proxies.DISTANCES),
    "none": ("cosine", "euclidean", "sqeuclidean"),
    "rank_based": ("cosine", "euclidean"),
    "triplet": ("cosine", "euclidean", "sqeuclidean"),
    "tuplet": ("cosine", "euclidean", "sqeuclidean"),
}


def load_data(experiment: Experiment) -> data.Dataset:
    """Load the data set and apply what the experiment does to it."""
    dataset = _load_as_given(
        experiment.dataset,
        experiment.data_dir,
        experiment.data_path,
        experiment.hierarchy,
        experiment.protocol,
        experiment.fold,
        _split_seed(experiment),
    )
    seed = experiment.seed
    if experiment.num_train:
        dataset = transforms.keep_train(dataset, experiment.num_train, seed)
    if experiment.shuffle_hierarchy:
        dataset = transforms.shuffle_hierarchy(dataset, seed)
    if experiment.refit:
        dataset = transforms.refit(dataset)
    if experiment.hidden_labels:
        dataset = transforms.hide_fine_labels(dataset, experiment.hidden_labels, seed)
    if experiment.incomplete == "coarse":
        dataset = transforms.coarse_only(dataset)
    elif experiment.incomplete == "drop":
        dataset = transforms.drop_incomplete(dataset)
    if experiment.noise:
        dataset = transforms.add_noise(dataset, experiment.noise, seed)
    if experiment.pca:
        dataset = transforms.pca(dataset, experiment.pca)
    if experiment.standardize:
        dataset = transforms.standardize(dataset)
    return dataset


def _split_seed(experiment: Experiment) -> int:
    """The run's seed where it draws the split, else always 0 and loaded once."""
    loader = data.LOADERS.get(experiment.dataset)
    return experiment.seed if loader is not None and loader.has_seed else 0


@functools.lru_cache(maxsize=8)
def _load_as_given(name, data_dir, data_path, hierarchy, protocol, fold, seed):
    if name in OWN_FILES:
        path = pathlib.Path(data_path or pathlib.Path(data_dir) / f"{name}.npz")
        if not path.exists():
            raise MissingDataError(
                f"{path}: no such file; embed {OWN_FILES[name]} and save features "
                f"[N, D] and labels [N, L] there as {name}.npz, in --data_dir, or name "
                "the file with --data_path"
            )
        name, data_path = "npz", str(path)
    return data.load(
        name,
        data_dir=data_dir or None,
        data_path=data_path or None,
        hierarchy=hierarchy or None,
        protocol=protocol or None,
        fold=fold,
        seed=seed,
    )


def make_model(experiment: Experiment) -> nn.Module:
    """The encoder; it returns unit vectors, except for the softmax classifier."""
    # Only encoders of images have statistics to share between devices.
    has_statistics = experiment.model not in ("linear", "mlp")
    return ENCODERS[experiment.model](
        embed_dim=experiment.embed_dim,
        normalize=experiment.loss != "softmax",
        size_inform=experiment.size_inform,
        dtype=jnp.dtype(experiment.dtype),
        **({"axis_name": training.AXIS} if has_statistics else {}),
    )


def pretrained_weights(experiment: Experiment) -> Callable | None:
    """What puts the weights of a file into fresh variables, None without a file."""
    if not experiment.weights:
        return None
    path = pathlib.Path(experiment.data_dir) / experiment.weights
    return functools.partial(models.load_pretrained, path)


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
        make_model(experiment),
        make_objective(experiment, dataset),
        dataset,
        experiment,
        workdir,
        augment=data.AUGMENTATIONS.get(experiment.augment),
        pretrained=pretrained_weights(experiment),
        num_devices=num_devices,
        verbose=verbose,
    )


def untrained_embed(experiment: Experiment, dataset: data.Dataset) -> evaluation.Embed:
    """The embedding of the network as it is initialised."""
    model = make_model(experiment)
    variables = training.initial_variables(
        model,
        training.example_inputs(dataset),
        experiment.seed,
        pretrained=pretrained_weights(experiment),
    )
    return training.embedder(model, variables, dataset.inputs)


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


def embed_input(dataset: data.Dataset) -> evaluation.Embed:
    """Embedding function of the row 'init': the input itself, flattened."""
    return lambda rows: dataset.float_features(rows).reshape(len(rows), -1)


def describe_hardware() -> dict[str, str]:
    """Versions and devices, for the record of a run."""
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "platform": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }
