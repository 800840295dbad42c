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
      opt_state: of the optimiser over (params, objective_params), without the params
        that `split_frozen` holds back.
    """

    step: jax.Array
    params: PyTree
    batch_stats: PyTree
    objective_params: PyTree
    objective_state: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> dict[str, PyTree]:
        """What the model is applied with."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def split_frozen(model: nn.Module, tree: PyTree) -> tuple[PyTree, PyTree]:
    """What training changes of a model's parameters or statistics, and what it holds.

    Args:
      model: encoder; one with a method ``is_frozen(module) -> bool``, such as
        `models.ResNet`, holds the outermost modules that it names, any other none.
      tree: dictionary whose keys are outermost modules.

    Returns:
      Two dictionaries that together are ``tree``.
    """
    is_frozen = getattr(model, "is_frozen", lambda module: False)
    held = {name: leaves for name, leaves in tree.items() if is_frozen(name)}
    return {name: tree[name] for name in tree if name not in held}, held


@functools.lru_cache(maxsize=64)
def _compiled_init(model: nn.Module) -> Callable:
    """``model.init`` as one program: op by op it takes longer than a small run."""
    return jax.jit(model.init)


def initial_variables(
    model: nn.Module,
    example_inputs: PyTree,
    seed: int,
    *,
    pretrained: Callable[[PyTree], PyTree] | None = None,
) -> dict[str, PyTree]:
    """Parameters and statistics of a model before training.

    Args:
      model: encoder.
      example_inputs: what it is fed, leaves ``[B, ...]`` of floats.
      seed: of the parameters.
      pretrained: ``variables -> variables``, puts other values in.

    Returns:
      ``{'params': ..., 'batch_stats': ...}``, the second perhaps empty.
    """
    model_key, _ = jax.random.split(jax.random.key(seed))
    variables = {"batch_stats": {}, **_compiled_init(model)(model_key, example_inputs)}
    return variables if pretrained is None else pretrained(variables)


def create_state(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    example_inputs: PyTree,
    seed: int,
    *,
    pretrained: Callable[[PyTree], PyTree] | None = None,
) -> State:
    """Initial state of a run: `initial_variables` and what the objective begins with.

    Args:
      model: encoder.
      objective: what will be minimised.
      optimizer: over the trained parameters of both.
      example_inputs: see `initial_variables`.
      seed: of all initial values.
      pretrained: see `initial_variables`.
    """
    variables = initial_variables(model, example_inputs, seed, pretrained=pretrained)
    _, objective_key = jax.random.split(jax.random.key(seed))
    embeddings = jax.eval_shape(model.apply, variables, example_inputs)
    params = variables["params"]
    trained, _ = split_frozen(model, params)
    objective_params, objective_state = objective.init(
        objective_key, jnp.zeros((embeddings.shape[0], 1, embeddings.shape[1]))
    )
    return State(
        step=jnp.int32(0),
        params=params,
        batch_stats=variables["batch_stats"],
        objective_params=objective_params,
        objective_state=objective_state,
        opt_state=jax.tree.map(
            jnp.asarray, optimizer.init((trained, objective_params))
        ),
    )


def state_shapes(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    example_inputs: PyTree,
) -> State:
    """Shapes of what `create_state` makes; nothing is compiled or computed.

    Args:
      model: encoder.
      objective: what will be minimised; its ``init`` is traced.
      optimizer: over the parameters of both.
      example_inputs: see `initial_variables`.

    Returns:
      A `State` whose leaves are `jax.ShapeDtypeStruct`.
    """
    make = functools.partial(create_state, model, objective, optimizer, seed=0)
    return jax.eval_shape(make, example_inputs=example_inputs)
