"""Classifiers with a learned vector for every node of the tree, not only the leaves.

Nodes are numbered as `hierjax.level_nodes` does: M of them, the last C are the classes.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import distances, losses, reductions
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import LevelNodes, level_nodes
from hierjax.objectives.batch import Batch
from hierjax.objectives.lifted import flatten_views
from hierjax.objectives.method import Method
from hierjax.objectives.objective import Objective
from hierjax.options import option


class NodeClassifier(Method):
    """A linear map from embeddings ``[B, D]`` to a number for every node ``[B, M]``.

    A subclass overrides `loss` and `class_scores`. The representative of a class is the
    unit vector along the sum of the vectors on its path, which siblings share but for
    its end: these agree with the tree before anything is learned, and class means are
    what to compare. Scores by other representatives than these are cosines.
    """

    unit_rows = False
    family = "field"

    def loss(
        self,
        hierarchy: Hierarchy,
        log_priors: np.ndarray,
        node_values: jax.Array,
        batch: Batch,
    ) -> jax.Array:
        """A scalar over the batch of all devices.

        Args:
          hierarchy: the label tree.
          log_priors: ``[M]`` log share of every node in the training rows of its
            parent; 0 where the counts are not known.
          node_values: ``[B, M]``.
          batch: rows and labels.
        """
        raise NotImplementedError(f"{type(self).__name__} must define loss")

    def class_scores(self, hierarchy: Hierarchy, node_values: jax.Array) -> jax.Array:
        """Scores ``[B, C]`` of the classes."""
        raise NotImplementedError(f"{type(self).__name__} must define class_scores")

    def reads(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None
    ) -> tuple[Hierarchy, tuple[int, ...] | None]:
        """The tree alone; a subclass may add the counts."""
        del class_counts
        return hierarchy, None

    def make(self, read: tuple[Hierarchy, tuple[int, ...] | None]) -> Objective:
        """A vector and a bias a node."""
        hierarchy, counts = read
        nodes = level_nodes(hierarchy.ancestors)
        log_priors = np.zeros(nodes.num_nodes, np.float32)
        if counts is not None:
            log_priors = losses.sibling_log_priors(counts, hierarchy.ancestors)

        def init(key, example_embeddings):
            dim = example_embeddings.shape[-1]
            shape = (nodes.num_nodes, dim)
            weights = jax.random.normal(key, shape) / jnp.sqrt(dim)
            return {"weights": weights, "biases": jnp.zeros(nodes.num_nodes)}, {}

        def node_values(params, embeddings):
            products = jnp.matmul(
                embeddings, params["weights"].T, precision=jax.lax.Precision.HIGHEST
            )
            return products + params["biases"][None, :]

        def representatives(params, state):
            del state
            return _along_paths(params["weights"], nodes)

        def scores(params, state, embeddings, representatives=None):
            del state
            if representatives is not None:
                return losses.class_cosines(embeddings, representatives)
            return self.class_scores(hierarchy, node_values(params, embeddings))

        def apply(params, state, embeddings, labels, *, key, where, axis_name):
            del key
            rows, labels, where = flatten_views(embeddings, labels, where)
            # Padding may hold NaN, which times a gradient of 0 would be NaN in the
            # gradient of the vectors.
            rows = jnp.where(where[:, None], rows, 0.0)
            batch = Batch(rows, labels, where, axis_name)
            values = node_values(params, rows)
            loss = self.loss(hierarchy, log_priors, values, batch)
            ids = batch.class_ids
            found = jnp.argmax(self.class_scores(hierarchy, values), -1)
            accuracy = reductions.masked_mean(
                (found == ids).astype(jnp.float32),
                where & (ids >= 0),
                axis_name=axis_name,
            )
            return loss, (state, {"accuracy": accuracy})

        return Objective(
            apply=apply,
            init=init,
            scores=scores,
            representatives=representatives,
            num_classes=hierarchy.num_classes,
        )


def _along_paths(weights: jax.Array, nodes: LevelNodes) -> jax.Array:
    """Unit vectors ``[C, D]`` along the sums over the classes' paths."""
    return distances.unit_normalize(jnp.sum(weights[nodes.paths], axis=1))


@dataclasses.dataclass(frozen=True)
class ConditionalSoftmax(NodeClassifier):
    """A choice among siblings at every node (Redmon and Farhadi 2017)."""

    name = "conditional_softmax"

    tau: float = option(
        0.0,
        "how much siblings that are rare in training are lifted (logit adjustment).",
        minimum=0,
    )

    def reads(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None
    ) -> tuple[Hierarchy, tuple[int, ...] | None]:
        """The tree, and the counts where siblings are lifted by them."""
        if not self.tau or class_counts is None:
            return hierarchy, None
        return hierarchy, tuple(class_counts)

    def loss(
        self,
        hierarchy: Hierarchy,
        log_priors: np.ndarray,
        node_values: jax.Array,
        batch: Batch,
    ) -> jax.Array:
        """See `losses.conditional_softmax_loss`."""
        return losses.conditional_softmax_loss(
            node_values,
            batch.labels,
            hierarchy.ancestors,
            log_priors=log_priors,
            tau=self.tau,
            where=batch.where,
            axis_name=batch.axis_name,
        )

    def class_scores(self, hierarchy: Hierarchy, node_values: jax.Array) -> jax.Array:
        """Log-probabilities, without the priors."""
        log_probs = losses.conditional_log_probs(node_values, hierarchy.ancestors)
        return log_probs[:, -hierarchy.num_classes :]


@dataclasses.dataclass(frozen=True)
class HierCOS(NodeClassifier):
    """An axis a node; a class is the space of its path (Sani and Anand 2026).

    The map to the axes is learned, as their transformation layer, so that the embedding
    may have fewer dimensions than the tree has nodes.
    """

    name = "hier_cos"

    alpha: float = option(0.05, "weight of the shares within levels.", minimum=0)

    def loss(
        self,
        hierarchy: Hierarchy,
        log_priors: np.ndarray,
        node_values: jax.Array,
        batch: Batch,
    ) -> jax.Array:
        """See `losses.hier_cos_loss`."""
        del log_priors
        return losses.hier_cos_loss(
            node_values,
            batch.labels,
            hierarchy.ancestors,
            alpha=self.alpha,
            where=batch.where,
            axis_name=batch.axis_name,
        )

    def class_scores(self, hierarchy: Hierarchy, node_values: jax.Array) -> jax.Array:
        """See `losses.hier_cos_scores`."""
        return losses.hier_cos_scores(node_values, hierarchy.ancestors)
