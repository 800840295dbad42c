"""One experiment as plain data."""

import dataclasses
import functools

from hierjax import data, models, objectives, training
from hierjax.errors import UserError
from hierjax.options import option

AUTO = "auto"
"""Value of `model` and `augment` until `settings.adapting` has seen the data."""

ENCODERS = {
    "linear": models.Linear,
    "mlp": models.MLP,
    "convnet": models.ConvNet,
    "convnet_flat": functools.partial(models.ConvNet, flatten=True),
    "pooled_convnet": models.PooledConvNet,
    "pointnet": models.PointNet,
    "small_resnet": models.SmallResNet,
    "resnet18": models.CifarResNet18,
    "resnet50": models.CifarResNet50,
    "imagenet_resnet50": models.ResNet50,
    "inception_v3": models.InceptionV3,
    "efficientnet_lite0": models.EfficientNetLite0,
    "efficientnet_lite1": models.EfficientNetLite1,
    "efficientnet_lite2": models.EfficientNetLite2,
}
PRETRAINABLE = (*models.NETWORKS, "small_resnet", "resnet18", "resnet50")
"""Encoders that can be frozen and resize images."""
_WITH_WIDTH = ("convnet", "convnet_flat", "small_resnet", "pointnet")
OF_VECTORS = ("linear", "mlp")
"""Encoders that take vectors."""


@dataclasses.dataclass(frozen=True)
class Experiment(training.Config):
    """Everything that decides a run; every field can be set from the command line."""

    dataset: str = option(
        "gm_notes", "a name in `data.LOADERS`, 'tfds:<name>', 'nsynth' or 'birds'."
    )
    protocol: str = option("", "how the data set is split; '' for its default.")
    fold: int = option(0, "of that protocol.", minimum=0)
    data_dir: str = option("", "folder of downloaded data.")
    data_path: str = option("", "the user's own folder, table or npz file.")
    hierarchy: str = option(
        "", "file of the label tree for own data; '' reads it from the labels."
    )
    label_fields: str = option(
        "",
        "columns of a table, or features of a TFDS set, that are the labels, coarsest "
        "first, separated by commas; '' lets the data decide.",
    )
    image_size: int = option(
        0,
        "side of images, or number of mel bands of recordings, read from files; 0 lets "
        "the data decide.",
        minimum=0,
    )
    parents: str = option(
        "error",
        "which parent nodes of several in the tree's file keep; 'error' refuses them.",
        choices=("error", "first", "deepest", "shallowest"),
    )
    edge_order: str = option(
        "",
        "which is first in the pairs of the tree's file; '' goes by its header, else "
        "the parent.",
        choices=("", "parent_child", "child_parent"),
    )
    missing_as_names: bool = option(
        False, "take NA, nan, None, ... for names of labels, not for unknown."
    )
    skip_unreadable: bool = option(
        False, "leave out files that cannot be read, and count them."
    )
    pixel_max: int = option(
        0, "white in images of more than 8 bits; 0: by the files.", minimum=0
    )
    encoder: str = option(
        "",
        "frozen pretrained network whose features take the place of images, computed "
        "once and kept in `cache_dir`; '' leaves images as they are.",
        choices=("", *models.frozen_encoder_names()),
    )
    encoder_weights: str = option(
        "", "file of its weights; '': those of the installed extra `pretrained`."
    )
    encoder_side: int = option(
        0,
        "side in pixels to which it resizes images; 0: that of its own training.",
        minimum=0,
    )
    cached_views: int = option(
        8,
        "with `encoder`: copies that `augment` makes of every training image once, of "
        "which a step draws its views; none where augment is 'none'.",
        minimum=1,
    )
    cache_dir: str = option(
        "",
        "folder of features that were computed, safe to delete; '': hierjax in "
        "`$XDG_CACHE_HOME` or `~/.cache`.",
    )
    num_train: int = option(
        0, "keep so many training rows, drawn by the seed; 0: all.", minimum=0
    )
    num_evaluated: int = option(
        0,
        "keep so many rows of the validation and test splits, the same for all seeds "
        "if the splits are; 0: all.",
        minimum=0,
    )
    long_tail: float = option(
        0.0,
        "thin the training rows to class sizes that fall exponentially by this ratio, "
        "drawn by the seed; 0: leave them.",
        minimum=0,
    )
    standardize: bool = option(
        True, "zero mean and unit variance by the training rows."
    )
    common_scale: bool = option(
        False, "zero mean, and one scale for all features, by the training rows."
    )
    pca: int = option(
        0, "keep this many principal components of the inputs; 0: all.", minimum=0
    )
    noise: float = option(
        0.0,
        "standard deviation of added noise, in units of each feature's own.",
        minimum=0,
    )
    hidden_labels: float = option(
        0.0,
        "share of the training rows whose finest level is hidden.",
        minimum=0,
        maximum=1,
    )
    incomplete: str = option(
        "use",
        "what to do with those rows: 'use' them, 'drop' them, or 'coarse': hide the "
        "finest level of all rows.",
        choices=("use", "drop", "coarse"),
    )
    shuffle_hierarchy: bool = option(
        False, "re-assign the classes to the leaves at random, by the seed."
    )
    refit: bool = option(
        False, "train on training and validation rows together, without selection."
    )
    model: str = option(
        "linear",
        "name of the encoder; 'auto': the data decide.",
        choices=(*ENCODERS, AUTO),
    )
    dtype: str = option(
        "float32",
        "in which the network computes, 'float32' or 'bfloat16'.",
        choices=("float32", "bfloat16"),
    )
    init: str = option(
        "random",
        "where training starts, 'random'; 'pca' or 'identity': the model linear starts "
        "from what it is fed; 'auto': the data decide.",
        choices=("random", "pca", "identity", AUTO),
    )
    embed_dim: int = option(3, "dimension of the embedding.", minimum=1)
    width: int = option(
        0,
        "channels of the first stage of 'convnet', 'convnet_flat', 'small_resnet' or "
        "'pointnet'; each of the two further ones doubles them; 0: the network's own.",
        minimum=0,
    )
    head_layers: int = option(
        1, "1, an affine head; 2, a head with one hidden layer.", minimum=1
    )
    measured: str = option(
        "embeddings",
        "what evaluation looks at, 'embeddings', or 'features' before the head.",
        choices=("embeddings", "features"),
    )
    weights: str = option(
        "",
        "file of pretrained weights, in `data_dir` or a whole path; 'imagenet': those "
        "of the installed extra `pretrained`; '' starts at random.",
    )
    fresh_stem: bool = option(
        False,
        "start the first convolution at random and keep the others' weights, as Kim et "
        "al. do; images then stay 0 to 1.",
    )
    trainable: str = option(
        "all",
        "what of a network with pretrained weights is trained: 'all'; 'last', its last "
        "stage and the head; or 'head'. The rest keeps its BatchNorm statistics too.",
        choices=models.TRAINABLE,
    )
    model_side: int = option(
        0,
        "side in pixels to which a residual network, Inception or EfficientNet resizes "
        "images, in training and after; 0: it takes them as they are.",
        minimum=0,
    )
    size_inform: bool = option(
        False, "add a term from the image's original size to the embedding."
    )
    augment: str = option(
        "none",
        "what changes examples, 'none', or 'auto': the data decide.",
        choices=("none", *data.AUGMENTATIONS, AUTO),
    )
    num_views: int = option(
        1, "of every example a step, each augmented on its own.", minimum=1
    )
    official_measures: bool = option(
        False, "measures of classes as published where that differs from ours."
    )
    method: objectives.Method = option(
        objectives.RankBased(), "how to train; it brings options of its own."
    )
    regularizer: objectives.Regularizer = option(
        objectives.NoRegularizer(), "added to what the method minimises: 'cpcc'."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.image_size in range(1, 8):
            raise UserError(
                f"image_size must be 0 or at least 8, got {self.image_size}"
            )
        if 0 < self.long_tail < 1:
            raise UserError(f"long_tail must be 0 or at least 1, got {self.long_tail}")
        if self.standardize and self.common_scale:
            raise UserError(
                "standardize and common_scale are two scales; set one of them false"
            )
        if self.init not in ("random", AUTO) and self.model not in ("linear", AUTO):
            raise UserError(
                f"init {self.init} is of the model linear, got model {self.model}"
            )
        if self.init not in ("random", AUTO) and self.weights:
            raise UserError("init and weights are two starts; leave one of them out")
        if self.width and self.model not in (*_WITH_WIDTH, AUTO):
            raise UserError(f"width is not set for the model {self.model}; leave it 0")
        self._check_weights()
        self._check_encoder()
        if self.num_views > 1 and self.augment == "none":
            raise UserError(
                f"num_views {self.num_views} without augment would be identical views"
            )
        if self.measured == "features" and self.selection == "accuracy":
            raise UserError(
                "selection accuracy needs embeddings and measured is 'features'; "
                "select by nn/average"
            )
        least, most = self.method.min_views, self.method.max_views
        if self.num_views < least or (most is not None and self.num_views > most):
            wanted = f"{least} or more" if most is None else f"{least} to {most}"
            raise UserError(
                f"{self.method.name} takes num_views {wanted}, got {self.num_views}"
            )

    def _check_weights(self) -> None:
        """What goes together with pretrained weights."""
        if self.trainable != "all" and (not self.weights or self.fresh_stem):
            raise UserError(
                f"trainable {self.trainable} would leave layers as they were "
                "initialised; set weights, and fresh_stem=false"
            )
        if self.model not in PRETRAINABLE:
            for name, default in (("trainable", "all"), ("model_side", 0)):
                if getattr(self, name) != default:
                    raise UserError(
                        f"{name} is not set for the model {self.model}; leave it "
                        f"{default}"
                    )
        if self.weights == models.IMAGENET and self.model not in models.NETWORKS:
            raise UserError(
                f"there are no ImageNet weights of the model {self.model}; there are "
                f"of {', '.join(models.NETWORKS)}"
            )

    def _check_encoder(self) -> None:
        """What goes together with a frozen encoder."""
        if not self.encoder:
            for name in ("encoder_weights", "encoder_side"):
                if getattr(self, name):
                    raise UserError(f"{name} is of an encoder, and encoder is not set")
            return
        if self.model not in (*OF_VECTORS, AUTO):
            raise UserError(
                f"encoder makes vectors of images, and the model {self.model} takes no "
                f"vectors; accepted are {', '.join(OF_VECTORS)}"
            )
        if self.augment in ("none", AUTO):
            return
        if self.num_views > self.cached_views:
            raise UserError(
                f"num_views {self.num_views} are drawn of cached_views "
                f"{self.cached_views}; that many at least are needed"
            )
        if self.noise:
            raise UserError(
                "noise is not added to the views of an encoder; set augment=none or "
                "noise=0"
            )

    def config(self) -> training.Config:
        """The part that is the training loop's."""
        fields = dataclasses.fields(training.Config)
        return training.Config(**{f.name: getattr(self, f.name) for f in fields})
