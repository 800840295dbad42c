"""A trained encoder with all that new data need: what it was fed, and the tree."""

import dataclasses
import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hierjax import training
from hierjax.data.dataset import Dataset
from hierjax.data.feature_maps import FeatureMap, ImageEncoding
from hierjax.data.reading.texts import TextEncoding
from hierjax.errors import UserError
from hierjax.evaluation import Embed
from hierjax.hierarchy import UNKNOWN, Hierarchy
from hierjax.inference import answers, prototypes

_BATCH = 256
"""Rows a call; the last call is padded to it, so that one program serves all."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The nodes of the tree that embeddings are nearest to.

    Attributes:
      nodes: int32 ``[N, L]``, the most probable node of each level, each level on its
        own.
      confidences: float32 ``[N, L]``, their probabilities, not growing from coarse to
        fine.
      labels: int32 ``[N, L]``, the path to the deepest of these nodes whose confidence
        reaches the threshold, -1 below; all -1 where none does.
    """

    nodes: np.ndarray
    confidences: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """An encoder, its weights, its preprocessing and the classes it has seen.

    Make one with `from_state`, or `load` it from the folder of a run.

    Attributes:
      encoder: a module of `hierjax.models`, or any with the same two methods.
      variables: its parameters and statistics.
      measured: 'embeddings', or 'features', what comes before the head.
      hierarchy: the label tree.
      feature_maps: applied to new data, first to last, once bytes are 0 to 1; a frozen
        encoder of images comes first, and takes the bytes; so does an encoding of
        texts.
      input_shape: of one row as it was read, before the maps; of a text, of the vector
        that the encoding makes of it.
      input_dtype: 'uint8' where the data were bytes and the encoder, trained or frozen,
        took them, otherwise 'float32'; what an exported function takes.
      has_sizes: whether the encoder also reads the sizes of the original images.
      prototypes: ``[P, D]``, see `prototypes.node_prototypes`.
      prototype_labels: ``[P, L]``.
      scales: of the cosines at every level, see `prototypes.fit_scales`.
      scale_split: the rows they were fitted on: 'validation', or 'train' without such,
        which makes confidences too high.
    """

    encoder: nn.Module
    variables: dict
    measured: str
    hierarchy: Hierarchy
    feature_maps: tuple[FeatureMap | ImageEncoding | TextEncoding, ...]
    input_shape: tuple[int, ...]
    input_dtype: str
    has_sizes: bool
    prototypes: np.ndarray
    prototype_labels: np.ndarray
    scales: tuple[float, ...]
    scale_split: str

    def __repr__(self) -> str:
        """What goes in and what the classes are, without the weights."""
        return (
            f"TrainedModel({type(self.encoder).__name__}, {self.input_dtype} "
            f"[N, {', '.join(map(str, self.input_shape))}] to {self.measured}, "
            f"{self.hierarchy!r})"
        )

    @classmethod
    def from_state(
        cls,
        encoder: nn.Module,
        state: training.State,
        data: Dataset,
        *,
        measured: str = "embeddings",
        embed: Embed | None = None,
    ) -> "TrainedModel":
        """Binds a trained state to its data's tree and preprocessing.

        Args:
          encoder: what was trained.
          state: `training.Result.state`.
          data: what it was trained on; prototypes come from the training rows with the
            labels that training saw, the scale of confidences from validation rows.
          measured: 'embeddings' or 'features'.
          embed: gives these of rows of the data, where they are at hand; None: made
            anew.

        Raises:
          UserError: no training row is known at any level.
        """
        variables = jax.device_get(state.variables)
        if embed is None:
            embed = training.embedder(encoder, variables, data.inputs, method=measured)
        train = data.rows("train")
        directions, paths = prototypes.node_prototypes(
            embed(train), data.train_labels[train]
        )
        split = "validation" if "validation" in data.splits else "train"
        rows = data.rows(split)
        scales = prototypes.fit_scales(
            embed(rows), data.labels[rows], directions, paths
        )
        maps = data.feature_maps
        shape = maps[0].input_shape if maps else data.features.shape[1:]
        of_images = maps and isinstance(maps[0], ImageEncoding)
        return cls(
            encoder=encoder,
            variables=variables,
            measured=measured,
            hierarchy=data.hierarchy,
            feature_maps=maps,
            input_shape=tuple(shape),
            input_dtype="uint8" if of_images else data.features.dtype.name,
            has_sizes=data.sizes is not None,
            prototypes=directions,
            prototype_labels=paths,
            scales=scales,
            scale_split=split,
        )

    @property
    def encoding(self) -> ImageEncoding | None:
        """The frozen encoder that images go through first, None without."""
        first = self.feature_maps[0] if self.feature_maps else None
        return first if isinstance(first, ImageEncoding) else None

    @property
    def text_encoding(self) -> TextEncoding | None:
        """What makes vectors of texts first, None without."""
        first = self.feature_maps[0] if self.feature_maps else None
        return first if isinstance(first, TextEncoding) else None

    @functools.cached_property
    def _after_encoding(self) -> "TrainedModel":
        """The same model of what the frozen encoder makes of images."""
        return dataclasses.replace(
            self,
            feature_maps=self.feature_maps[1:],
            input_shape=(self.encoding.encoder.num_features,),
            input_dtype="float32",
        )

    @property
    def class_means(self) -> np.ndarray:
        """Mean direction of every class ``[C, D]``; NaN for one without rows."""
        means = np.full(
            (self.hierarchy.num_classes, self.prototypes.shape[1]), np.nan, np.float32
        )
        is_class = self.prototype_labels[:, -1] >= 0
        means[self.prototype_labels[is_class, -1]] = self.prototypes[is_class]
        return means

    def embed(
        self, features: np.ndarray | Sequence[str], sizes: np.ndarray | None = None
    ) -> np.ndarray:
        """Embeds new rows.

        Args:
          features: ``[N, *input_shape]`` as the training data were read: bytes (uint8)
            stand for 0 to 1, all other numbers for themselves; a frozen encoder takes
            bytes alone. N may be 0. A model of texts takes a list of them, or the
            vectors that its `text_encoding` makes of them.
          sizes: ``[N, 2]`` width and height of the original images in pixels, where
            the encoder reads them.

        Returns:
          float32 ``[N, D]``, unit rows if the encoder's are.

        Raises:
          UserError: another shape, a number that is not finite, or sizes that are
            missing or not needed.
        """
        if self.text_encoding is not None and _may_be_texts(features):
            features = self.text_encoding(features)
        features = self._checked(np.asarray(features))
        if self.encoding is not None:
            return self._after_encoding.embed(self.encoding.encoder(features), sizes)
        if self.has_sizes != (sizes is not None):
            raise UserError(
                "this model reads the sizes of the original images: give sizes [N, 2]"
                if self.has_sizes
                else "this model does not read sizes; leave them out"
            )
        inputs = (features,) if sizes is None else (features, np.float32(sizes))
        parts = []
        for start in range(0, max(len(features), 1), _BATCH):
            batch = [leaf[start : start + _BATCH] for leaf in inputs]
            count = len(batch[0])
            batch = [
                np.concatenate([x, np.zeros((_BATCH - count, *x.shape[1:]), x.dtype)])
                for x in batch
            ]
            if sizes is not None:
                batch[1][count:] = 1  # Their logarithm is taken.
            parts.append(np.asarray(self._compiled(*batch))[:count])
        return np.concatenate(parts)

    def predict(
        self,
        features: np.ndarray | Sequence[str],
        *,
        threshold: float = 0.5,
        decode: str = answers.BACK_OFF,
        sizes: np.ndarray | None = None,
    ) -> Predictions:
        """Embeds new rows and finds their nodes, see `embed` and `classify`."""
        embeddings = self.embed(features, sizes)
        return self.classify(embeddings, threshold=threshold, decode=decode)

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, for `hierjax.decoding`.

        Args:
          embeddings: ``[N, D]``.

        Returns:
          float64 ``[N, C]``, rows sum to 1; 0 for a class without training rows.

        Raises:
          UserError: no training row was of known class.
        """
        similarity = prototypes.cosines(embeddings, self.prototypes)
        chances = prototypes.node_probabilities(
            similarity,
            self.scales[-1],
            self.prototype_labels[:, -1],
            self.hierarchy.num_classes,
        )
        if not (self.prototype_labels[:, -1] >= 0).any():
            raise UserError(
                "no training row was of known class, so that none has a probability"
            )
        # Some of it may be that of nodes whose rows are all of unknown class.
        total = chances.sum(axis=1, keepdims=True)
        return chances / np.maximum(total, np.finfo(np.float64).tiny)

    def classify(
        self,
        embeddings: np.ndarray,
        *,
        threshold: float = 0.5,
        decode: str = answers.BACK_OFF,
    ) -> Predictions:
        """Finds the nodes that embeddings are nearest to, level by level.

        The probability of a prototype at a level is softmax(scale x cosine) with the
        level's own scale, that of a node the sum over the prototypes below it, and a
        confidence never above that of a coarser level. Of equal nodes the first counts.

        Args:
          embeddings: ``[N, D]``.
          threshold: confidence in 0..1 that a node needs to be named; 0 names a node
            of the finest level that training knew.
          decode: how ``labels`` are chosen. 'back_off': the deepest node that is sure
            enough of those that are most probable a level. Or by the `probabilities`
            of the classes: 'climb', from the most probable class up to the first node
            that is sure enough; 'min_cost', the class of the least expected number of
            hops to the truth; 'f1', the node of the greatest expected hierarchical
            F1. The last two read no threshold.

        Raises:
          UserError: a threshold outside 0..1, or another ``decode``.
        """
        if decode != answers.BACK_OFF and decode not in answers.DECODERS:
            accepted = ", ".join((answers.BACK_OFF, *answers.DECODERS))
            raise UserError(f"decode must be one of {accepted}, got {decode!r}")
        if not 0 <= threshold <= 1:
            raise UserError(f"threshold must be in 0..1, got {threshold}")
        similarity = prototypes.cosines(embeddings, self.prototypes)
        nodes, confidences = [], []
        for level, number in enumerate(self.hierarchy.nodes_per_level):
            chances = prototypes.node_probabilities(
                similarity, self.scales[level], self.prototype_labels[:, level], number
            )
            nodes.append(chances.argmax(axis=1))
            confidences.append(chances.max(axis=1))
        nodes = np.stack(nodes, axis=1).astype(np.int32)
        confidences = np.stack(confidences, axis=1).astype(np.float32)
        confidences = np.minimum.accumulate(confidences, axis=1)
        if decode != answers.BACK_OFF:
            found = answers.DECODERS[decode](
                self.probabilities(embeddings), self.hierarchy, threshold
            )
            return Predictions(nodes, confidences, found.astype(np.int32))
        labels = np.full_like(nodes, UNKNOWN)
        for level in range(self.hierarchy.num_levels):
            # Where no training row was known at this level, nothing is probable.
            sure = confidences[:, level] >= max(threshold, np.finfo(np.float32).tiny)
            # One class below the node tells the way to it.
            below = self.hierarchy.first_classes(level)[nodes[sure, level]]
            labels[sure, : level + 1] = self.hierarchy.ancestors[below, : level + 1]
        return Predictions(nodes, confidences, labels)

    def forward(self, features: jax.Array, sizes: jax.Array | None = None) -> jax.Array:
        """`embed` without checks and batches, for `jax.jit` and export.

        Of texts it takes the vectors.
        """
        x, maps = features, self.feature_maps
        if self.text_encoding is not None:
            maps = maps[1:]
        if self.encoding is not None:
            x, maps = self.encoding(x), maps[1:]
        elif x.dtype == jnp.uint8:
            x = x / jnp.float32(255)
        with jax.default_matmul_precision("highest"):
            for feature_map in maps:
                x = feature_map(x)
        inputs = x if sizes is None else {"image": x, "size": sizes}
        embeddings = self.encoder.apply(
            self.variables,
            inputs,
            train=False,
            method="__call__" if self.measured == "embeddings" else "features",
        )
        return embeddings.astype(jnp.float32)

    @functools.cached_property
    def _compiled(self):
        return jax.jit(self.forward)

    def _checked(self, features: np.ndarray) -> np.ndarray:
        if features.shape[1:] != self.input_shape:
            raise UserError(
                f"features must be [N, {', '.join(map(str, self.input_shape))}] as in "
                f"training, got shape {features.shape}"
            )
        if features.dtype.kind not in "fiub":
            raise UserError(f"features must be numbers, got {features.dtype}")
        if features.dtype == np.uint8:
            return features
        if self.encoding is not None:
            raise UserError(
                f"this model reads images as bytes (uint8), got {features.dtype}"
            )
        features = features.astype(np.float32)
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        if not finite.all():
            raise UserError(
                f"row {np.argmin(finite)} has a feature that is not finite; remove or "
                "mend such rows"
            )
        return features


def _may_be_texts(rows: np.ndarray | Sequence[str]) -> bool:
    """Whether the first row is a text, or there is none."""
    return isinstance(next(iter(rows), ""), str)
