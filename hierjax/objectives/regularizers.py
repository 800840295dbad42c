"""Terms that add to any objective."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import distances, losses
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import level_nodes
from hierjax.objectives.batch import Batch
from hierjax.objectives.lifted import flatten_views
from hierjax.objectives.objective import Objective
from hierjax.options import Named, option


class Regularizer(Named):
    """A term on a batch of embeddings, added to what a method minimises.

    A subclass overrides `term`.

    Attributes:
      weight: of the term.
    """

    weight: float

    def term(self, hierarchy: Hierarchy, batch: Batch, key: jax.Array) -> jax.Array:
        """A scalar over the batch of all devices.

        Args:
          hierarchy: the label tree.
          batch: its embeddings are ``[B, D]``.
          key: of the step, the same on every device.
        """
        raise NotImplementedError(f"{type(self).__name__} must define term")


@dataclasses.dataclass(frozen=True)
class NoRegularizer(Regularizer):
    """Nothing is added."""

    name = "none"


@dataclasses.dataclass(frozen=True)
class CPCC(Regularizer):
    """Distances between a batch's classes follow the tree (Zeng et al. 2023)."""

    name = "cpcc"

    weight: float = option(1.0, "of the term.", minimum=0)
    class_distance: str = option(
        "euclidean",
        "between means, 'euclidean' or 'poincare', or between samples, 'sliced'.",
        choices=losses.CLASS_DISTANCES,
    )
    inner_nodes: bool = option(
        False, "means of inner nodes too, as in HypStructure (Sinha et al. 2024)."
    )
    centering: float = option(0.0, "weight of the length of the mean.", minimum=0)
    num_directions: int = option(
        32, "drawn anew every step, on which 'sliced' projects.", minimum=1
    )

    def term(self, hierarchy: Hierarchy, batch: Batch, key: jax.Array) -> jax.Array:
        """See `losses.cpcc_loss`."""
        directions = None
        if self.class_distance == "sliced":
            shape = (self.num_directions, batch.embeddings.shape[-1])
            directions = distances.unit_normalize(jax.random.normal(key, shape))
        groups, hops = batch.class_ids, hierarchy.path_length()
        if self.inner_nodes:
            nodes = level_nodes(hierarchy.ancestors)
            numbers = (
                jnp.maximum(batch.labels, 0) + jnp.asarray(nodes.offsets[:-1])[None, :]
            )
            # A class that ends early repeats below, and counts once.
            is_real = nodes.node_depths(hierarchy.depths) == nodes.node_levels() + 1
            counts = (batch.labels >= 0) & jnp.asarray(is_real)[numbers]
            groups = jnp.where(counts, numbers, -1)
            hops = _hops_between_nodes(nodes.parents)
        return losses.cpcc_loss(
            batch.embeddings,
            groups,
            hops,
            distance=self.class_distance,
            directions=directions,
            centering=self.centering,
            where=batch.where,
            axis_name=batch.axis_name,
        )


def _hops_between_nodes(parents: np.ndarray) -> np.ndarray:
    """Edges between any two nodes ``[M, M]``; the tops of the tree meet at a root."""
    number = len(parents)
    above = np.zeros((number, number + 1), bool)
    for node, parent in enumerate(parents):
        # Parents come before their children; the last column is the root.
        above[node] = above[parent] if parent >= 0 else False
        above[node, [node, number]] = True
    depth = above.sum(axis=1) - 1
    shared = above.astype(np.float32) @ above.T.astype(np.float32) - 1
    return depth[:, None] + depth[None, :] - 2 * shared


@functools.lru_cache(maxsize=64)
def regularized(
    objective: Objective, regularizer: Regularizer, hierarchy: Hierarchy
) -> Objective:
    """An objective with a term added, or the very same without one.

    Its parameters, state, scores and masks stay; a metric of the regularizer's name is
    the unweighted term. Equal arguments give the same object.

    Args:
      objective: of any method whose embeddings are ``[B, V, D]``.
      regularizer: the term; it looks at every view.
      hierarchy: the label tree.
    """
    if isinstance(regularizer, NoRegularizer):
        return objective

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        key, own_key = jax.random.split(key)
        loss, (state, metrics) = objective.apply(
            params,
            state,
            embeddings,
            labels,
            key=key,
            where=where,
            axis_name=axis_name,
        )
        rows, labels, where = flatten_views(embeddings, labels, where)
        batch = Batch(rows, labels, where, axis_name)
        term = regularizer.term(hierarchy, batch, own_key)
        metrics = {**metrics, regularizer.name: term}
        return loss + regularizer.weight * term, (state, metrics)

    return dataclasses.replace(objective, apply=apply)
