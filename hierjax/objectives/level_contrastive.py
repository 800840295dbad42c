"""Contrast at each level in its own part of the embedding, as a method.

G-HMLC and A-HMLC (Ott et al. 2025, arXiv 2510.00837) have masks from a Gaussian mixture
or from attention; the masks 'none', 'fixed' and 'heads' are the controls without which
neither shows a gain.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hierjax import losses, reductions
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.objectives.mask_kinds import GaussianMasks, Masks
from hierjax.objectives.method import Method
from hierjax.objectives.objective import Objective
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class LevelContrastive(Method):
    """SupCon at each level of the tree in its own part of the embedding.

    Metrics: ``mask_share_<level>``, the mean of the level's mask, and for mixtures
    ``guarded``, the share of rows in which a level had to be given dimensions. The
    labels of a column are the nodes' names, wherever in the tree they are. Whether a
    model has the heads that the masks 'heads' need cannot be seen from here.
    """

    name = "level_contrastive"
    family = "hierarchical_contrastive"

    masks: Masks = option(
        GaussianMasks(), "'none', 'fixed', 'heads', 'gaussian' or 'attention'."
    )
    temperature: float = option(0.1, "T of the similarities, positive.", above=0)
    block_size: int = option(
        0, "anchors at a time, to bound the memory; 0: all.", minimum=0
    )
    label_scope: str = option(
        "path",
        "what makes two rows alike at a level: its node, 'path', or the node's name, "
        "'column'.",
        choices=losses.SCOPES,
    )
    balance: str = option(
        "class",
        "average over the anchors of a 'class' first, or 'none'.",
        choices=losses.BALANCES,
    )

    def num_heads(self, num_levels: int) -> int | None:
        """As the masks need them."""
        return self.masks.num_heads(num_levels)

    def make(self, read: Hierarchy) -> Objective:
        """See `losses.level_contrastive_loss`."""
        hierarchy, num_levels = read, read.num_levels

        def init(key, example_embeddings):
            del key
            dim = example_embeddings.shape[-1]
            if dim < 2 * num_levels:
                raise UserError(
                    f"embed_dim {dim} is too small for {num_levels} levels; masks need "
                    "two dimensions a level"
                )
            return self.masks.init(num_levels, dim), {}

        def apply(params, state, embeddings, labels, *, key, where, axis_name):
            del key
            # Padding may hold NaN, which would reach the gradient of attention heads.
            embeddings = jnp.where(where[:, None, None], embeddings, 0.0)
            batch = Batch(embeddings, labels, where, axis_name)
            made, metrics = self.masks.make(params, num_levels, batch)
            by_column = self.label_scope == "column"
            loss = losses.level_contrastive_loss(
                embeddings,
                made,
                _columns(hierarchy, labels) if by_column else labels,
                temperature=self.temperature,
                label_scope=self.label_scope,
                balance=self.balance,
                block_size=self.block_size or None,
                where=where,
                axis_name=axis_name,
            )
            loss += self.masks.penalty(made, batch)
            shares = jnp.mean(jax.lax.stop_gradient(made), -1)
            shares = jnp.broadcast_to(shares, (*embeddings.shape[:2], num_levels))
            for level, name in enumerate(hierarchy.level_names):
                metrics[f"mask_share_{name}"] = reductions.masked_mean(
                    shares[..., level], where[:, None], axis_name=axis_name
                )
            return loss, (state, metrics)

        def masks_alone(params, state, embeddings):
            del state
            where = jnp.ones((embeddings.shape[0],), bool)
            batch = Batch(embeddings, None, where, None)
            return self.masks.make(params, num_levels, batch)[0]

        return Objective(apply=apply, init=init, level_masks=masks_alone)


def _columns(hierarchy: Hierarchy, labels: jax.Array) -> jax.Array:
    """Node ids ``[B, L]`` as numbers of the nodes' names."""
    columns = [
        jnp.where(labels[:, level] < 0, -1, jnp.asarray(numbers)[labels[:, level]])
        for level, numbers in enumerate(map(hierarchy.name_ids, range(labels.shape[1])))
    ]
    return jnp.stack(columns, axis=1)
