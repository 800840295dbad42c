"""One experiment as plain data, and the objects it stands for."""

import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import platform

import jax

from experiments.settings import notices
from hierjax import data, evaluation, losses, models, objectives, proxies, training
from hierjax.data import transforms
from hierjax.errors import MissingDataError, UserError
from hierjax.training.config import check_choice, check_range

AUTO = "auto"
"""Value of `model` and `augment` until `settings.adapting` has seen the data."""

INCOMPLETE = ("use", "drop", "coarse")
ENCODERS = {
    "linear": models.Linear,
    "mlp": models.MLP,
    "convnet": models.ConvNet,
    "pointnet": models.PointNet,
    "small_resnet": models.SmallResNet,
    "resnet18": models.CifarResNet18,
    "resnet50": models.CifarResNet50,
    "imagenet_resnet50": models.ResNet50,
    "inception_v3": models.InceptionV3,
}
CLASSIFIERS = objectives.METHODS
UNTRAINED = ("none", "untrained")
CONTRASTIVE = (*objectives.CONTRASTIVE, "level_contrastive")
LOSSES = (*UNTRAINED, "rank_based", "tuplet", "triplet", *CLASSIFIERS, *CONTRASTIVE)
MEASURED = ("embeddings", "features")
# Sets the user brings, and where their recordings come from.
OWN_FILES = {
    "nsynth": "NSynth (magenta.tensorflow.org/datasets/nsynth)",
    "birds": "the three bird species (doi.org/10.1098/rsif.2018.0940)",
}


@dataclasses.dataclass(frozen=True)
class Experiment(training.Config):
    """Everything that decides a run; every field can be set from the command line.

    Attributes:
      dataset: name in `hierjax.data.LOADERS`, ``tfds:<name>``, or 'nsynth' or 'birds':
        the user's own ``<data_dir>/<dataset>.npz``.
      protocol: how the data set is split, '' for its default.
      fold: fold of that protocol.
      data_dir: folder of downloaded data.
      data_path: the user's own folder, table or npz file.
      hierarchy: file of the label tree for own data; '' reads it from the labels.
      label_fields: columns of a table, or features of a TFDS set, that are the labels,
        coarsest first, separated by commas; '' lets the data decide.
      image_size: side of images, or number of mel bands of recordings, read from files;
        0 lets the data decide.
      num_train: keep so many training rows, drawn by ``seed``; 0: all.
      num_evaluated: keep so many rows of the validation and test splits, the same for
        all seeds if the splits are; 0: all.
      long_tail: thin the training rows to class sizes that fall exponentially by this
        ratio, drawn by ``seed``; 0: leave them.
      standardize: zero mean and unit variance by the training split.
      pca: keep this many principal components of the inputs; 0: all.
      noise: standard deviation of added noise, in units of each feature's own.
      hidden_labels: share of the training rows whose finest level is hidden.
      incomplete: what to do with those rows: 'use' them, 'drop' them, or 'coarse':
        hide the finest level of all rows.
      shuffle_hierarchy: re-assign the classes to the leaves at random (by ``seed``).
      refit: train on training and validation rows together, without selection.
      model: name in `ENCODERS`, or 'auto': the data decide.
      dtype: in which the network computes, 'float32' or 'bfloat16'.
      embed_dim: dimension of the embedding.
      width: channels of the network's first stage, for 'convnet', 'small_resnet' and
        'pointnet'; each of the two further ones doubles them; 0: the network's own.
      head_layers: 1, an affine head; 2, a projection head with one hidden layer.
      measured: what evaluation looks at, 'embeddings', or 'features' before the head.
      weights: file of pretrained weights for the network, in ``data_dir`` or a whole
        path; '' starts at random.
      size_inform: add a term from the image's original size to the embedding.
      augment: name in `data.AUGMENTATIONS`, 'none', or 'auto': the data decide.
      num_views: views of every example a step, each augmented on its own.
      loss: 'rank_based', 'tuplet' (quadruplet at two levels), 'triplet', a classifier
        ('softmax', 'normface', 'proxydr', 'corr'), a contrastive loss ('simclr',
        'supcon', 'hmc', 'hce', 'hmce', 'level_contrastive'), 'untrained' to measure
        the network as it was initialised, or 'none' to measure the input itself.
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
      official: published behaviour where it differs from ours: of a classifier and the
        measures of classes, of hmc, hce and hmce, and the base temperature of SupCon.
      temperature: of the contrastive losses.
      block_size: anchors at a time in the contrastive losses; 0: all.
      label_level: of SupCon, 0 = coarsest, -1 = finest.
      pairwise_max: of hce and hmce.
      masks: of level_contrastive: 'none', 'fixed', 'heads' (a projection head a level),
        'gaussian_sample', 'gaussian_mean', 'gaussian_dim_stats' (G-HMLC) or
        'attention' (A-HMLC).
      label_scope: of level_contrastive, 'path' or 'column'.
      balance: of level_contrastive, 'class' or 'none'.
      activation: of attention masks, 'softmax', 'sigmoid' or 'softmax_levels'.
      overlap_weight: penalty on the overlap of attention masks.
      entropy_weight: penalty on the entropy of attention masks.
    """

    dataset: str = "gm_notes"
    protocol: str = ""
    fold: int = 0
    data_dir: str = ""
    data_path: str = ""
    hierarchy: str = ""
    label_fields: str = ""
    image_size: int = 0
    num_train: int = 0
    num_evaluated: int = 0
    long_tail: float = 0.0
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
    width: int = 0
    head_layers: int = 1
    measured: str = "embeddings"
    weights: str = ""
    size_inform: bool = False
    augment: str = "none"
    num_views: int = 1
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
    temperature: float = 0.1
    block_size: int = 0
    label_level: int = -1
    pairwise_max: bool = False
    masks: str = "gaussian_sample"
    label_scope: str = "path"
    balance: str = "class"
    activation: str = "softmax"
    overlap_weight: float = 0.0
    entropy_weight: float = 0.0

    def __post_init__(self):
        """Check every field on its own."""
        super().__post_init__()
        for name, minimum in (
            ("fold", 0),
            ("image_size", 0),
            ("pca", 0),
            ("noise", 0),
            ("hidden_labels", 0),
            ("num_train", 0),
            ("num_evaluated", 0),
            ("long_tail", 0),
            ("embed_dim", 1),
            ("margin", 0),
            ("margin_inner", 0),
            ("margin_outer", 0),
            ("width", 0),
            ("head_layers", 1),
            ("num_views", 1),
            ("block_size", 0),
            ("overlap_weight", 0),
            ("entropy_weight", 0),
        ):
            check_range(name, getattr(self, name), minimum=minimum)
        if self.hidden_labels > 1:
            raise UserError(f"hidden_labels must be in 0..1, got {self.hidden_labels}")
        for name, accepted in (
            ("incomplete", INCOMPLETE),
            ("model", (*ENCODERS, AUTO)),
            ("dtype", ("float32", "bfloat16")),
            ("augment", ("none", *data.AUGMENTATIONS, AUTO)),
            ("proxies", objectives.PROXIES),
            ("loss", LOSSES),
            ("target", ("rank_index", "block_edge")),
            ("distance", _DISTANCES.get(self.loss, _DISTANCES["tuplet"])),
            ("measured", MEASURED),
            ("masks", objectives.MASKS),
            ("label_scope", losses.SCOPES),
            ("balance", losses.BALANCES),
            ("activation", objectives.ACTIVATIONS),
        ):
            check_choice(name, getattr(self, name), accepted)
        for name in ("scale", "temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.ema_decay <= 1:
            raise UserError(f"ema_decay must be in (0, 1], got {self.ema_decay}")
        if self.image_size in range(1, 8):
            raise UserError(
                f"image_size must be 0 or at least 8, got {self.image_size}"
            )
        if self.width and self.model not in (*_WITH_WIDTH, AUTO):
            raise UserError(f"width is not set for the model {self.model}; leave it 0")
        if self.num_views > 1 and self.augment == "none":
            raise UserError(
                f"num_views {self.num_views} without augment would be identical views"
            )
        if self.measured == "features" and self.selection == "accuracy":
            raise UserError(
                "selection accuracy needs embeddings and measured is 'features'; "
                "select by nn/average"
            )
        if self.loss == "simclr" and self.num_views < 2:
            raise UserError(
                "simclr tells views of an example apart and needs num_views 2 or more"
            )
        if self.loss == "tuplet" and self.num_views > 1:
            raise UserError(f"tuplet takes one view, got num_views {self.num_views}")
        if 0 < self.long_tail < 1:
            raise UserError(f"long_tail must be 0 or at least 1, got {self.long_tail}")
        if self.loss == "tuplet" and not self.margin_outer > self.margin_inner > 0:
            raise UserError(
                "margins must satisfy margin_outer > margin_inner > 0, got "
                f"{self.margin_outer} and {self.margin_inner}"
            )


_WITH_WIDTH = ("convnet", "small_resnet", "pointnet")
_DISTANCES = {
    **dict.fromkeys(CLASSIFIERS, proxies.DISTANCES),
    "none": ("cosine", "euclidean", "sqeuclidean"),
    "rank_based": ("cosine", "euclidean"),
    "triplet": ("cosine", "euclidean", "sqeuclidean"),
    "tuplet": ("cosine", "euclidean", "sqeuclidean"),
}


def load_given(experiment: Experiment) -> data.Dataset:
    """Load the data set as it is, loaded once for all who ask."""
    return _load_as_given(
        experiment.dataset,
        experiment.data_dir,
        experiment.data_path,
        experiment.hierarchy,
        experiment.label_fields,
        experiment.image_size,
        experiment.protocol,
        experiment.fold,
        _split_seed(experiment),
    )


def load_data(experiment: Experiment) -> data.Dataset:
    """Load the data set and apply what the experiment does to it; rows stay."""
    dataset = load_given(experiment)
    seed = experiment.seed
    if experiment.num_train:
        dataset = transforms.keep_train(dataset, experiment.num_train, seed)
    if experiment.num_evaluated:
        dataset = transforms.keep_evaluated(dataset, experiment.num_evaluated)
    if experiment.long_tail:
        dataset = transforms.long_tail(dataset, experiment.long_tail, seed)
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
    if experiment.dataset in OWN_FILES:
        return 0
    return experiment.seed if data.find_loader(experiment.dataset).has_seed else 0


@functools.lru_cache(maxsize=8)
def _load_as_given(
    name, data_dir, data_path, hierarchy, fields, image_size, protocol, fold, seed
):
    if name in OWN_FILES:
        path = pathlib.Path(data_path or pathlib.Path(data_dir) / f"{name}.npz")
        if not path.exists():
            raise MissingDataError(
                f"{path}: no such file; embed {OWN_FILES[name]} and save features "
                f"[N, D] and labels [N, L] there as {name}.npz, in --data_dir, or name "
                "the file with --data_path"
            )
        name, data_path = "npz", str(path)
    with notices.printed():
        return data.load(
            name,
            data_dir=data_dir or None,
            data_path=data_path or None,
            hierarchy=hierarchy or None,
            label_fields=[field.strip() for field in fields.split(",") if field],
            image_size=image_size,
            protocol=protocol or None,
            fold=fold,
            seed=seed,
        )


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
