"""A way to train, declared once: its options, what it needs, what it builds."""

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import from_loss
from hierjax.objectives.objective import Objective
from hierjax.options import Named


class Method(Named):
    """A way to train an encoder, as plain data.

    A subclass is a frozen dataclass with a ``name``, whose fields are the options
    (`options.option`). It is then known by that name to the command line, presets,
    tables and documentation. It overrides `make`, and `reads` where its objective
    depends on less than the whole tree.

    Class attributes:
      trains: False for what only measures.
      unit_rows: whether embeddings are to be unit vectors.
      min_views: fewest views of an example that it can use.
      max_views: most views, None for any number.
      needs_classes: whether a tree of a single class leaves nothing to learn.
      sampler: of batches that suit it, see `training.Config`.
      family: the preset family, and so the protocol, that it is compared in:
        'rank_based', 'class_hierarchies', 'hierarchical_contrastive' or 'field'.
      tuned: options to try in tables, each with every rate; none: its defaults.
      neighbor_distance: in which neighbours of its embeddings are searched.
    """

    trains: ClassVar[bool] = True
    unit_rows: ClassVar[bool] = True
    min_views: ClassVar[int] = 1
    max_views: ClassVar[int | None] = None
    needs_classes: ClassVar[bool] = True
    sampler: ClassVar[str] = "uniform"
    family: ClassVar[str] = "rank_based"
    tuned: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    neighbor_distance: ClassVar[str] = "cosine"

    def build(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None = None
    ) -> Objective:
        """The objective on a tree.

        Equal methods on trees that are equal in what they read give the same object, so
        that compiled steps are shared.

        Args:
          hierarchy: the label tree.
          class_counts: ``[C]`` training rows a class, for methods that ask for them.

        Raises:
          UserError: the method cannot use this tree.
        """
        return _made(self, self.reads(hierarchy, class_counts))

    def reads(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None
    ) -> Hashable:
        """What of the tree and the counts the objective depends on."""
        del class_counts
        return hierarchy

    def make(self, read: Any) -> Objective:
        """The objective, from what `reads` gave."""
        raise NotImplementedError(f"{type(self).__name__} must define make")

    def tuple_size(self, num_levels: int) -> int:
        """Rows of a batch that belong together."""
        del num_levels
        return 1

    def num_heads(self, num_levels: int) -> int | None:
        """Projection heads that the encoder needs, None for a single one."""
        del num_levels
        return None


@functools.lru_cache(maxsize=64)
def _made(method: Method, read: Hashable) -> Objective:
    return method.make(read)


class PairLoss(Method):
    """A method that is a pure loss of a batch and its labels.

    A subclass defines ``loss(self, embeddings [B, D], labels [B, L])`` that returns a
    scalar, with keywords ``where`` and ``axis_name`` if it can use them; see
    `from_loss`.
    """

    def reads(self, hierarchy: Hierarchy, class_counts: Sequence[int] | None) -> None:
        """Nothing: the labels say it all."""
        del hierarchy, class_counts

    def make(self, read: None) -> Objective:
        """The loss, lifted."""
        del read
        return from_loss(self.loss)


class Hops:
    """A matrix of hops that is equal to another by value, to serve as a cache key."""

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix

    def __eq__(self, other: object) -> bool:
        """Whether the numbers are the same."""
        return isinstance(other, Hops) and np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        """Hash of the bytes."""
        return hash(self.matrix.tobytes())
