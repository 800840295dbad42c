"""Classification with one representative a class, and every way to train those.

Kim et al. 2023, "Inspecting class hierarchies in classification-based metric learning
models" (arXiv 2301.11065): softmax, NormFace, ProxyDR and CORR with learned,
moving-average or fixed proxies, and a constant or dynamic scale.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import distances, losses, proxies, reductions
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import flatten_views
from hierjax.objectives.objective import Objective

METHODS = ("softmax", "normface", "proxydr", "corr")
PROXIES = ("learned", "ema", "mds")


def classification(
    hierarchy: Hierarchy,
    *,
    method: str = "proxydr",
    proxy_kind: str = "learned",
    scale: float = 10.0,
    dynamic_scale: bool = False,
    distance: str = "euclidean",
    ema_decay: float = 0.01,
    class_counts: Sequence[int] | None = None,
    official: bool = False,
) -> Objective:
    """Train an encoder to classify the leaves of a tree.

    The tree is used for the number of classes only, except with ``proxy_kind='mds'``
    and for rows of unknown leaf: their probability is that of all leaves below the
    deepest node that is known. Moving averages, the dynamic scale and CORR take nothing
    from such rows. Scores and representatives are unit proxies (for
    softmax unit classifier rows); scores by other representatives than its own use the
    same formula, softmax without biases.

    Args:
      hierarchy: the label tree; class ids are its leaves.
      method: ``'softmax'`` (on embeddings that are not normalised), ``'normface'``,
        ``'proxydr'``, or ``'corr'``, which pulls embeddings to the fixed proxies of
        their class and scores as ProxyDR does.
      proxy_kind: ``'learned'`` by gradient; ``'ema'``: a moving average of embeddings,
        see `proxies.ema_update`; ``'mds'``: fixed by the tree, see
        `proxies.mds_proxies` (always with Adam, as published).
      scale: s, constant unless dynamic.
      dynamic_scale: start at `proxies.initial_scale` and follow the batches, see
        `proxies.dynamic_scale_update`.
      distance: ``'euclidean'`` chords or ``'arccos'`` angles.
      ema_decay: weight of a batch in the moving average.
      class_counts: ``[C]`` training rows a class; the log of their shares is added to
        every score (logit adjustment). None: nothing is added.
      official: the published behaviour where it differs: the exponent of the dynamic
        scale, and the sum instead of the mean in CORR.

    Raises:
      UserError: an unknown name, a number out of range, options that do not go
        together, or less than two classes where the method needs two.
    """
    for name, value, accepted in (
        ("method", method, METHODS),
        ("proxy_kind", proxy_kind, PROXIES),
        ("distance", distance, proxies.DISTANCES),
    ):
        if value not in accepted:
            raise UserError(f"{name} is {value!r}, accepted are {', '.join(accepted)}")
    if method == "softmax" and (proxy_kind != "learned" or dynamic_scale):
        raise UserError("softmax has neither proxies nor a scale to choose")
    if method == "corr" and proxy_kind != "mds":
        raise UserError(f"corr needs the proxies 'mds', got {proxy_kind!r}")
    if method == "corr" and dynamic_scale:
        raise UserError("corr has no dynamic scale: its loss does not read the scale")
    if not 0 < scale < math.inf:
        raise UserError(f"scale must be positive and finite, got {scale}")
    if not 0 < ema_decay <= 1:
        raise UserError(f"ema_decay must be above 0 and at most 1, got {ema_decay}")
    num_classes = hierarchy.num_classes
    if class_counts is not None and len(class_counts) != num_classes:
        raise UserError(
            f"class_counts must have {num_classes} entries, got {len(class_counts)}"
        )
    priors = None
    if class_counts is not None:
        # A class without rows is as unlikely as half a row.
        counts = np.maximum(np.asarray(class_counts, np.float64), 0.5)
        priors = jnp.asarray(np.log(counts / counts.sum()), jnp.float32)
    if method == "softmax":
        return _softmax(hierarchy, priors)
    logits_fn = (
        losses.normface_logits if method == "normface" else losses.proxydr_logits
    )
    return _with_proxies(
        hierarchy,
        logits_fn,
        priors,
        use_corr=method == "corr",
        proxy_kind=proxy_kind,
        scale=scale,
        dynamic_scale=dynamic_scale,
        distance=distance,
        ema_decay=ema_decay,
        official=official,
    )


def _rows(embeddings, labels, where):
    """Rows, labels and validity, the views flattened."""
    rows, labels, where = flatten_views(embeddings, labels, where)
    # Padding may hold NaN, which times a gradient of 0 would be NaN in the proxies'.
    return jnp.where(where[:, None], rows, 0.0), labels, where


def _below(hierarchy: Hierarchy, labels: jax.Array) -> jax.Array:
    """The classes below the deepest node that is known: bool ``[B, C]``."""
    deepest = jnp.sum(labels >= 0, axis=1) - 1
    node = jnp.take_along_axis(labels, jnp.maximum(deepest, 0)[:, None], axis=1)
    ancestors = jnp.asarray(hierarchy.ancestors).T
    return (ancestors[deepest] == node) & (deepest >= 0)[:, None]


def _with_priors(logits: jax.Array, priors: jax.Array | None) -> jax.Array:
    return logits if priors is None else logits + priors[None, :]


def _accuracy(logits, class_ids, where, axis_name):
    correct = (jnp.argmax(logits, -1) == class_ids).astype(jnp.float32)
    return reductions.masked_mean(
        correct, where & (class_ids >= 0), axis_name=axis_name
    )


def _softmax(hierarchy: Hierarchy, priors: jax.Array | None) -> Objective:
    num_classes = hierarchy.num_classes

    def init(key, example_embeddings):
        shape = (num_classes, example_embeddings.shape[-1])
        weights = jax.random.normal(key, shape)
        return {"weights": weights, "biases": jnp.zeros((num_classes,))}, {}

    def logits_of(params, embeddings):
        logits = losses.softmax_logits(embeddings, params["weights"], params["biases"])
        return _with_priors(logits, priors)

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del key
        rows, labels, where = _rows(embeddings, labels, where)
        ids = labels[:, -1]
        logits = logits_of(params, rows)
        loss = losses.cross_entropy_loss(
            logits,
            ids,
            candidates=_below(hierarchy, labels),
            where=where,
            axis_name=axis_name,
        )
        return loss, (state, {"accuracy": _accuracy(logits, ids, where, axis_name)})

    def scores(params, state, embeddings, representatives=None):
        del state
        if representatives is not None:
            biases = jnp.zeros((num_classes,))
            return losses.softmax_logits(embeddings, representatives, biases)
        return logits_of(params, embeddings)

    def representatives(params, state):
        del state
        return distances.unit_normalize(params["weights"])

    return Objective(
        apply=apply,
        init=init,
        scores=scores,
        representatives=representatives,
        num_classes=num_classes,
    )


def _with_proxies(
    hierarchy: Hierarchy,
    logits_fn: Callable[..., jax.Array],
    priors: jax.Array | None,
    *,
    use_corr: bool,
    proxy_kind: str,
    scale: float,
    dynamic_scale: bool,
    distance: str,
    ema_decay: float,
    official: bool,
) -> Objective:
    num_classes = hierarchy.num_classes
    formula = "normface" if logits_fn is losses.normface_logits else "proxydr"
    if dynamic_scale:
        first_scale = proxies.initial_scale(num_classes, formula, distance=distance)

    def init(key, example_embeddings):
        dim = example_embeddings.shape[-1]
        params, state = {}, {}
        if proxy_kind == "mds":
            state["proxies"] = proxies.mds_proxies(
                hierarchy, dim, solver="adam", distance=distance, key=key
            )
        else:
            start = proxies.random_proxies(key, num_classes, dim)
            (params if proxy_kind == "learned" else state)["proxies"] = start
        if proxy_kind == "ema":
            state["seen"] = jnp.zeros((num_classes,), bool)
        if dynamic_scale:
            state["log_scale"] = jnp.log(jnp.float32(first_scale))
            state["scale_opt_state"] = proxies.SCALE_OPTIMIZER.init(state["log_scale"])
        return params, state

    def proxies_of(params, state):
        held = params if proxy_kind == "learned" else state
        return held["proxies"]

    def scale_of(state):
        return jnp.exp(state["log_scale"]) if dynamic_scale else scale

    def scores(params, state, embeddings, representatives=None):
        if representatives is None:
            representatives = proxies_of(params, state)
        logits = logits_fn(
            embeddings, representatives, scale=scale_of(state), distance=distance
        )
        return _with_priors(logits, priors)

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del key
        rows, labels, where = _rows(embeddings, labels, where)
        ids = labels[:, -1]
        shared = {"where": where, "axis_name": axis_name}
        logits = scores(params, state, rows)
        if use_corr:
            loss = losses.corr_loss(
                rows, state["proxies"], ids, official=official, **shared
            )
        else:
            loss = losses.cross_entropy_loss(
                logits, ids, candidates=_below(hierarchy, labels), **shared
            )
        metrics = {"accuracy": _accuracy(logits, ids, where, axis_name)}
        fixed = jax.lax.stop_gradient(rows)
        new_state = dict(state)
        if dynamic_scale:
            cosines = losses.class_cosines(
                fixed, jax.lax.stop_gradient(proxies_of(params, state))
            )
            new_state["log_scale"], new_state["scale_opt_state"] = (
                proxies.dynamic_scale_update(
                    state["log_scale"],
                    state["scale_opt_state"],
                    cosines,
                    ids,
                    method=formula,
                    distance=distance,
                    official=official,
                    **shared,
                )
            )
            metrics["scale"] = scale_of(new_state)
        if proxy_kind == "ema":
            new_state["proxies"], new_state["seen"] = proxies.ema_update(
                state["proxies"], state["seen"], fixed, ids, decay=ema_decay, **shared
            )
        return loss, (new_state, metrics)

    def representatives(params, state):
        return distances.unit_normalize(proxies_of(params, state))

    return Objective(
        apply=apply,
        init=init,
        scores=scores,
        representatives=representatives,
        num_classes=num_classes,
    )
