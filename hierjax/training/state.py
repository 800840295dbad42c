"""Everything that training changes, as one pytree."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from hierjax.objectives import Objective

PyTree = Any


@flax.struct.dataclass
class State:
    """Training state: no device axis, no callables, no random key.

    Attributes:
      step: int32 scalar, steps done.
      params: of the model.
      batch_stats: running statistics of the model, possibly empty.
      objective_params: of the objective, trained with the model's.
      objective_state: of the objective, without gradient.
      opt_state: of the optimiser over (params, objective_params).
    """

    step: jax.Array
    params: PyTree
    batch_stats: PyTree
    objective_params: PyTree
    objective_state: PyTree
    opt_state: PyTree


@functools.lru_cache(maxsize=64)
def _compiled_init(model: nn.Module) -> Callable:
    """``model.init`` as one program: op by op it takes longer than a small run."""
    return jax.jit(model.init)


def create_state(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    example_inputs: jax.Array,
    seed: int,
) -> State:
    """Initial state for inputs shaped like ``example_inputs [B, ...]``."""
    model_key, objective_key = jax.random.split(jax.random.key(seed))
    variables = _compiled_init(model)(model_key, example_inputs)
    embeddings = jax.eval_shape(model.apply, variables, example_inputs)
    params = variables["params"]
    objective_params, objective_state = objective.init(
        objective_key, jnp.zeros((embeddings.shape[0], 1, embeddings.shape[1]))
    )
    return State(
        step=jnp.int32(0),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        objective_params=objective_params,
        objective_state=objective_state,
        opt_state=jax.tree.map(jnp.asarray, optimizer.init((params, objective_params))),
    )
