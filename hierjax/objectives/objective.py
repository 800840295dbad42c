"""What a train step minimises, and sums of such things."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.errors import UserError

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
        axis_name) -> (loss, (state, metrics))``. The loss and every metric are finite
        scalars already reduced over the mapped axis, and the new state is the same on
        every device.
      tuple_size: rows that belong together. Batches are laid out in whole tuples and
        sharding never splits one.
      scores: optional ``(params, state, embeddings [B, D], representatives=None) ->
        [B, C]`` class scores, by other representatives than its own if given.
      representatives: optional ``(params, state) -> [C, D]``, one vector a class.
      level_masks: optional ``(params, state, embeddings [B, V, D]) -> [L, D]`` or
        ``[B, V, L, D]``: what part of the embedding belongs to each level.
      needs_labels: whether a row of which no label is known can teach nothing.
      num_classes: C where the objective is made for so many classes, else None.
    """

    apply: Callable[..., tuple[jax.Array, tuple[PyTree, dict[str, jax.Array]]]]
    init: Callable[..., tuple[PyTree, PyTree]] = _nothing_to_learn
    tuple_size: int = 1
    scores: Callable[..., jax.Array] | None = None
    representatives: Callable[..., jax.Array] | None = None
    level_masks: Callable[..., jax.Array] | None = None
    needs_labels: bool = True
    num_classes: int | None = None


def checked_loss(loss: Any, name: str) -> jax.Array:
    """A loss, if it is what gradients are taken of: one floating-point number.

    Args:
      loss: what somebody's function returned.
      name: of the function, for the message.

    Raises:
      UserError: it has another shape or type, is several values, or a number of
        Python's, in which nothing of the embeddings is left.
    """
    if isinstance(loss, (jax.Array, np.ndarray, np.generic)):
        if loss.shape == () and jnp.issubdtype(loss.dtype, jnp.floating):
            return loss
        found = f"{loss.dtype} of shape {list(loss.shape)}"
    else:
        found = f"a Python {type(loss).__name__}"
    raise UserError(
        f"{name} must return the loss of the batch, a float array of shape [], such as "
        f"jnp.mean over the rows gives; it returned {found}"
    )


def weighted_sum(terms: Sequence[tuple[float, Objective]]) -> Objective:
    """The sum of objectives, each with a weight.

    Scores, representatives, masks and classes are those of the first term that has
    them. Terms with tuples must agree on the tuple size.
    """
    sizes = {term.tuple_size for _, term in terms if term.tuple_size > 1}
    if not terms or len(sizes) > 1:
        raise UserError(f"cannot add objectives with tuple sizes {sorted(sizes)}")

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
        level_masks=of_first("level_masks"),
        needs_labels=all(term.needs_labels for _, term in terms),
        num_classes=next((t.num_classes for _, t in terms if t.num_classes), None),
    )


def _at_term(method, index, params, state, *args, **kwargs):
    return method(params[index], state[index], *args, **kwargs)
