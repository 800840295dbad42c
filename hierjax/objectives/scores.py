"""Class scores from embeddings and one vector a class, and the scale they have."""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from hierjax import losses, proxies
from hierjax.options import Named, option


class Score(Named):
    """How an embedding and the vector of a class become a score.

    A subclass overrides `logits`, and `training_logits` where training sees others.

    Class attributes:
      unit_rows: whether it takes embeddings as unit vectors.
      has_scale: whether the scale changes it.
      vectors: what the vectors are called in checkpoints.
      distance: between classes, for what places or scales by it.
    """

    unit_rows: ClassVar[bool] = True
    has_scale: ClassVar[bool] = True
    vectors: ClassVar[str] = "proxies"
    distance: ClassVar[str] = "euclidean"

    def start(self, key: jax.Array, num_classes: int, dim: int) -> jax.Array:
        """Vectors ``[C, D]`` to begin with."""
        return proxies.random_proxies(key, num_classes, dim)

    def parameters(self, num_classes: int) -> dict:
        """What it learns besides the vectors."""
        del num_classes
        return {}

    def logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
    ) -> jax.Array:
        """Scores ``[B, C]`` of embeddings ``[B, D]`` by vectors ``[C, D]``.

        Args:
          params: those of `parameters`; none where the vectors are others than its own.
          embeddings: ``[B, D]``.
          vectors: ``[C, D]``.
          scale: positive.
        """
        raise NotImplementedError(f"{type(self).__name__} must define logits")

    def training_logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
        class_ids: jax.Array,
    ) -> jax.Array:
        """Scores ``[B, C]`` that the loss sees, given the classes ``[B]``, -1 unknown.

        Those of `logits` unless a subclass makes it harder for the own class.
        """
        del class_ids
        return self.logits(params, embeddings, vectors, scale)


@dataclasses.dataclass(frozen=True)
class Softmax(Score):
    """A linear classifier on embeddings of any length; it has no scale."""

    name = "softmax"
    unit_rows = False
    has_scale = False
    vectors = "weights"

    def start(self, key: jax.Array, num_classes: int, dim: int) -> jax.Array:
        """Normal weights."""
        return jax.random.normal(key, (num_classes, dim))

    def parameters(self, num_classes: int) -> dict:
        """A bias a class."""
        return {"biases": jnp.zeros((num_classes,))}

    def logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
    ) -> jax.Array:
        """See `losses.softmax_logits`; without biases by other vectors."""
        del scale
        biases = params.get("biases", jnp.zeros((vectors.shape[0],)))
        return losses.softmax_logits(embeddings, vectors, biases)


@dataclasses.dataclass(frozen=True)
class _Scaled(Score):
    """What scores of unit vectors with a scale share; a subclass gives ``formula``."""

    formula: ClassVar[Callable[..., jax.Array]]

    distance: str = option(
        "euclidean",
        "'euclidean' chords or 'arccos' angles.",
        choices=proxies.DISTANCES,
    )

    def logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
    ) -> jax.Array:
        """By the formula."""
        del params
        return self.formula(embeddings, vectors, scale=scale, distance=self.distance)


@dataclasses.dataclass(frozen=True)
class NormFace(_Scaled):
    """Scaled similarity of unit vectors (Wang et al. 2017)."""

    name = "normface"
    formula = staticmethod(losses.normface_logits)


@dataclasses.dataclass(frozen=True)
class ProxyDR(_Scaled):
    """Powers of the distance to the vectors (Kim et al. 2023)."""

    name = "proxydr"
    formula = staticmethod(losses.proxydr_logits)


@dataclasses.dataclass(frozen=True)
class ArcFace(Score):
    """Scaled cosines, with an angle on top of the own class's (Deng et al. 2019)."""

    name = "arcface"

    margin: float = option(0.5, "radians added in training.", minimum=0, below=math.pi)

    def logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
    ) -> jax.Array:
        """Without the margin."""
        del params
        return scale * losses.class_cosines(embeddings, vectors)

    def training_logits(
        self,
        params: dict,
        embeddings: jax.Array,
        vectors: jax.Array,
        scale: float | jax.Array,
        class_ids: jax.Array,
    ) -> jax.Array:
        """See `losses.arcface_logits`."""
        del params
        return losses.arcface_logits(
            embeddings, vectors, class_ids, scale=scale, margin=self.margin
        )
