"""Pure losses as objectives without parameters or state."""

import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from hierjax import collectives, losses
from hierjax.errors import UserError
from hierjax.objectives.objective import Objective, checked_loss


def flatten_views(
    embeddings: jax.Array, *per_example: jax.Array
) -> tuple[jax.Array, ...]:
    """Rows ``[B V, D]`` of ``[B, V, D]``; what belongs to an example is repeated."""
    num_views = embeddings.shape[1]
    rows = embeddings.reshape(-1, embeddings.shape[-1])
    return rows, *(jnp.repeat(x, num_views, axis=0) for x in per_example)


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

    Raises:
      UserError: ``loss_fn`` cannot be called so, or returns no scalar when it is.
    """
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    try:
        signature = inspect.signature(loss_fn)
    except (TypeError, ValueError):
        raise UserError(
            f"{name} is no function whose arguments can be read; give one of "
            "(embeddings, labels)"
        ) from None
    accepted = signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    sharded = takes_any or "axis_name" in accepted
    masked = takes_any or "where" in accepted
    handed = {"axis_name": sharded, "where": masked}
    keywords = options | {key: None for key, is_handed in handed.items() if is_handed}
    try:
        signature.bind(None, None, **keywords)
    except TypeError as error:
        raise UserError(
            f"{name}{signature} cannot be called as {name}(embeddings, labels"
            f"{''.join(f', {key}=...' for key in keywords)}): {error}"
        ) from None

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        del params, key
        if not views:
            embeddings, labels, where = flatten_views(embeddings, labels, where)
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
        loss = loss_fn(embeddings, labels, **keywords)
        return checked_loss(loss, name), (state, {})

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
