"""Objectives: a loss bound to what it must learn or remember.

A pure loss knows nothing of training. An `Objective` adds parameters that get
gradients (proxies, attention heads) and state that does not (moving averages), so that
one train step serves every method. `from_loss` lifts any pure loss.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hierjax import collectives, losses

PyTree = Any


def _nothing_to_learn(key: jax.Array, example_embeddings: jax.Array):
    del key, example_embeddings
    return {}, {}


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a train step minimises.

    Attributes:
      init: ``(key, example_embeddings [B, V, D]) -> (params, state)``: pytrees of what
        gets gradients and of what does not.
      apply: ``(params, state, embeddings [B, V, D], labels [B, L], *, key, where [B],
        axis_name) -> (loss, (state, metrics))``. The loss and every metric are scalars
        already reduced over the mapped axis, and the new state is the same on every
        device.
      tuple_size: rows that belong together. Batches are laid out in whole tuples and
        sharding never splits one.
      scores: optional ``(params, state, embeddings [B, D], representatives=None) ->
        [B, C]`` class scores.
      representatives: optional ``(params, state) -> [C, D]``.
    """

    apply: Callable[..., tuple[jax.Array, tuple[PyTree, dict[str, jax.Array]]]]
    init: Callable[..., tuple[PyTree, PyTree]] = _nothing_to_learn
    tuple_size: int = 1
    scores: Callable[..., jax.Array] | None = None
    representatives: Callable[..., jax.Array] | None = None


def from_loss(
    loss_fn: Callable[..., jax.Array], *, views: bool = False, **options
) -> Objective:
    """Lift a pure loss ``loss_fn(embeddings, labels, ...)`` into an `Objective`.

    Args:
      loss_fn: returns a scalar. It gets ``where`` and ``axis_name`` if it names them.
        A loss without ``axis_name`` is handed the gathered batch of all devices, so
        that plain single-device code still gives the exact loss of the whole batch.
      views: hand over ``[B, V, D]``; otherwise views are flattened to ``[B V, D]`` and
        the labels of their example repeated.
      **options: further keywords for ``loss_fn``, such as ``distance='euclidean'``.

    Returns:
      An objective without parameters or state that reports no metrics of its own.
    """
    accepted = inspect.signature(loss_fn).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    sharded = takes_any or "axis_name" in accepted
    masked = takes_any or "where" in accepted

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del params, key
        if not views:
            num_views = embeddings.shape[1]
            embeddings = embeddings.reshape(-1, embeddings.shape[-1])
            labels = jnp.repeat(labels, num_views, axis=0)
            where = jnp.repeat(where, num_views)
        keywords = dict(options)
        if sharded:
            keywords["axis_name"] = axis_name
        else:
            embeddings, labels, where = (
                collectives.all_gather_rows(x, axis_name)
                for x in (embeddings, labels, where)
            )
        if masked:
            keywords["where"] = where
        return loss_fn(embeddings, labels, **keywords), (state, {})

    return Objective(apply=apply)


def from_tuple_loss(margins: Sequence[float], **options) -> Objective:
    """The hierarchical tuplet loss on batches of interleaved tuples.

    A tuple is ``L + 2`` consecutive rows: the anchor, a row of its leaf, ..., a row
    that shares nothing with it; the sampler ``'tuples'`` makes such batches. Labels are
    not read.

    Args:
      margins: ``L`` margins, see `losses.hierarchical_tuplet_loss`.
      **options: further keywords of that loss.
    """
    tuple_size = len(margins) + 2

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del params, labels, key
        if embeddings.shape[1] != 1:
            raise ValueError("tuple losses take one view an example")
        tuples = embeddings.reshape(-1, tuple_size, embeddings.shape[-1])
        loss = losses.hierarchical_tuplet_loss(
            tuples[:, 0],
            tuples[:, 1:],
            margins=jnp.asarray(margins, jnp.float32),
            where=where.reshape(-1, tuple_size).all(-1),
            axis_name=axis_name,
            **options,
        )
        return loss, (state, {})

    return Objective(apply=apply, tuple_size=tuple_size)


def weighted_sum(terms: Sequence[tuple[float, Objective]]) -> Objective:
    """The sum of objectives, each with a weight.

    Scores and representatives are those of the first term that has them. Terms with
    tuples must agree on the tuple size.
    """
    sizes = {term.tuple_size for _, term in terms if term.tuple_size > 1}
    if not terms or len(sizes) > 1:
        raise ValueError(f"cannot add objectives with tuple sizes {sorted(sizes)}")

    def init(key, example_embeddings):
        keys = jax.random.split(key, len(terms))
        pairs = [
            term.init(k, example_embeddings)
            for k, (_, term) in zip(keys, terms, strict=True)
        ]
        return [p for p, _ in pairs], [s for _, s in pairs]

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        keys = jax.random.split(key, len(terms))
        total, new_states, metrics = 0.0, [], {}
        for index, (weight, term) in enumerate(terms):
            loss, (new_state, term_metrics) = term.apply(
                params[index],
                state[index],
                embeddings,
                labels,
                key=keys[index],
                where=where,
                axis_name=axis_name,
            )
            total += weight * loss
            new_states.append(new_state)
            metrics |= {f"term_{index}/{k}": v for k, v in term_metrics.items()}
            metrics[f"term_{index}/loss"] = loss
        return total, (new_states, metrics)

    def of_first(name):
        """The method of the first term that has it, given that term's variables."""
        for index, (_, term) in enumerate(terms):
            method = getattr(term, name)
            if method is not None:
                return functools.partial(_at_term, method, index)
        return None

    return Objective(
        apply=apply,
        init=init,
        tuple_size=max(sizes, default=1),
        scores=of_first("scores"),
        representatives=of_first("representatives"),
    )


def _at_term(method, index, params, state, *args, **kwargs):
    return method(params[index], state[index], *args, **kwargs)
