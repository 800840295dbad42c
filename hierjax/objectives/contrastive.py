"""Contrastive objectives: SimCLR, SupCon, HMC, HCE, HMCE, and masks a level.

G-HMLC and A-HMLC (Ott et al. 2025, arXiv 2510.00837) are `level_contrastive` with masks
from a Gaussian mixture or from attention; masks 'none' and 'fixed', and 'heads' with a
model of one projection head a level, are the controls without which neither shows a
gain.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hierjax import level_masks, losses, mixtures, reductions
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import from_loss
from hierjax.objectives.objective import Objective

CONTRASTIVE = ("simclr", "supcon", "hmc", "hce", "hmce")
MASKS = (
    "none",
    "fixed",
    "heads",
    "gaussian_sample",
    "gaussian_mean",
    "gaussian_dim_stats",
    "attention",
)
ACTIVATIONS = level_masks.ACTIVATIONS


def contrastive(
    method: str,
    *,
    temperature: float = 0.1,
    block_size: int | None = None,
    label_level: int = -1,
    pairwise_max: bool = False,
    official: bool = False,
) -> Objective:
    """SimCLR, SupCon at one level, or HMC, HCE and HMCE at all levels.

    Args:
      method: one of `CONTRASTIVE`.
      temperature: T, positive.
      block_size: anchors at a time, to bound the memory; None: all.
      label_level: of SupCon, counted from 0 = coarsest; -1 is the finest.
      pairwise_max: of HCE and HMCE, see `losses.hce_loss`.
      official: HMC, HCE and HMCE as their published code computes them; SimCLR and
        SupCon with its base temperature of 0.07.

    Raises:
      UserError: an unknown method, a temperature that is not positive, or options that
        the method does not have.
    """
    if method not in CONTRASTIVE:
        raise UserError(f"method is {method!r}, accepted are {', '.join(CONTRASTIVE)}")
    if not temperature > 0:
        raise UserError(f"temperature must be positive, got {temperature}")
    if pairwise_max and (method not in ("hce", "hmce") or official):
        raise UserError(
            "pairwise_max is an option of hce and hmce, and not of their published code"
        )
    options = {"temperature": temperature, "block_size": block_size, "views": True}
    if method in ("simclr", "supcon"):
        if official:
            options["base_temperature"] = losses.OFFICIAL_BASE_TEMPERATURE
        if method == "simclr":
            objective = from_loss(_without_labels, **options)
            return dataclasses.replace(objective, needs_labels=False)
        return from_loss(_at_level(label_level), **options)
    if pairwise_max:
        options["pairwise_max"] = True
    loss_fn = {
        "hmc": losses.hmc_loss,
        "hce": losses.hce_loss,
        "hmce": losses.hmce_loss,
    }[method]
    return from_loss(loss_fn, official=official, **options)


def _without_labels(embeddings: jax.Array, labels: jax.Array, **options) -> jax.Array:
    del labels
    return losses.simclr_loss(embeddings, **options)


def _at_level(level: int) -> Callable[..., jax.Array]:
    def loss_fn(embeddings, labels, **options):
        if not -labels.shape[1] <= level < labels.shape[1]:
            raise UserError(
                f"label_level {level} is not among the {labels.shape[1]} levels"
            )
        return losses.supcon_loss(embeddings, labels[:, level], **options)

    return loss_fn


def level_contrastive(
    hierarchy: Hierarchy,
    *,
    masks: str = "gaussian_sample",
    temperature: float = 0.1,
    block_size: int | None = None,
    label_scope: str = "path",
    balance: str = "class",
    activation: str = "softmax",
    overlap_weight: float = 0.0,
    entropy_weight: float = 0.0,
) -> Objective:
    """Contrast at each level of a tree in its own part of the embedding.

    Metrics: ``mask_share_<level>``, the mean of the level's mask, and for mixtures
    ``guarded``, the share of rows in which a level had to be given dimensions.

    Args:
      hierarchy: the label tree.
      masks: 'none', all ones; 'fixed', equal parts of the embedding; 'heads', the same
        for a model with one head a level (`Encoder.num_heads`); 'gaussian_sample' and
        'gaussian_mean', G-HMLC with a mixture a row or one for the batch, and
        'gaussian_dim_stats', see `mixtures.gaussian_level_masks`; 'attention', A-HMLC.
        Whether a model has as many heads as 'heads' needs cannot be seen from here.
      temperature: T, positive.
      block_size: anchors at a time, to bound the memory; None: all.
      label_scope: 'path' or 'column', see `losses.level_contrastive_loss`; a column
        holds the nodes' names, wherever in the tree they are.
      balance: 'class' or 'none', see `losses.level_contrastive_loss`.
      activation: of attention scores, see `level_masks.attention_level_masks`.
      overlap_weight: of `level_masks.mask_overlap`, added to the loss of attention.
      entropy_weight: of `level_masks.mask_entropy`, added to the loss of attention;
        positive makes masks sparse.

    Raises:
      UserError: an unknown option or a number out of range.
    """
    for name, value, accepted in (
        ("masks", masks, MASKS),
        ("label_scope", label_scope, losses.SCOPES),
        ("balance", balance, losses.BALANCES),
        ("activation", activation, ACTIVATIONS),
    ):
        if value not in accepted:
            raise UserError(f"{name} is {value!r}, accepted are {', '.join(accepted)}")
    if not temperature > 0:
        raise UserError(f"temperature must be positive, got {temperature}")
    num_levels = hierarchy.num_levels
    attends = masks == "attention"

    def init(key, example_embeddings):
        del key
        dim = example_embeddings.shape[-1]
        if dim < 2 * num_levels:
            raise UserError(
                f"embed_dim {dim} is too small for {num_levels} levels; masks need two "
                "dimensions a level"
            )
        if not attends:
            return {}, {}
        # All zero: training starts as the control without masks.
        weights = jnp.zeros((num_levels, dim, dim))
        return {"weights": weights, "biases": jnp.zeros((num_levels, dim))}, {}

    def masks_of(params, embeddings, where, axis_name):
        """Masks, and what to report of how they were made."""
        dim = embeddings.shape[-1]
        if masks == "none":
            return jnp.ones((num_levels, dim)), {}
        if masks in ("fixed", "heads"):
            return level_masks.fixed_level_masks(num_levels, dim), {}
        if attends:
            made = level_masks.attention_level_masks(
                embeddings, params["weights"], params["biases"], activation=activation
            )
            return made, {}
        made = mixtures.level_mixture(
            embeddings,
            num_levels,
            mode=masks.removeprefix("gaussian_"),
            where=where,
            axis_name=axis_name,
        )
        return made.masks, {"guarded": made.guarded}

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del key
        shared = {"where": where, "axis_name": axis_name}
        # Padding may hold NaN, which would reach the gradient of attention heads.
        embeddings = jnp.where(where[:, None, None], embeddings, 0.0)
        made, metrics = masks_of(params, embeddings, **shared)
        loss = losses.level_contrastive_loss(
            embeddings,
            made,
            _columns(hierarchy, labels) if label_scope == "column" else labels,
            temperature=temperature,
            label_scope=label_scope,
            balance=balance,
            block_size=block_size,
            **shared,
        )
        if attends and overlap_weight:
            loss += overlap_weight * level_masks.mask_overlap(made, **shared)
        if attends and entropy_weight:
            loss += entropy_weight * level_masks.mask_entropy(made, **shared)
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
        return masks_of(params, embeddings, where, None)[0]

    return Objective(apply=apply, init=init, level_masks=masks_alone)


def _columns(hierarchy: Hierarchy, labels: jax.Array) -> jax.Array:
    """Node ids ``[B, L]`` as numbers of the nodes' names."""
    columns = [
        jnp.where(labels[:, level] < 0, -1, jnp.asarray(numbers)[labels[:, level]])
        for level, numbers in enumerate(map(hierarchy.name_ids, range(labels.shape[1])))
    ]
    return jnp.stack(columns, axis=1)
