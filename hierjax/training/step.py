"""The one sharded training step, and the sharded forward pass.

Every loss reduces to its global value inside the mapped function and the gradients are
then averaged over the devices. Of the possible formulations only this one is right
under pmap, vmap and shard_map alike, so that pmap can be replaced here alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hierjax import collectives
from hierjax.objectives import Objective
from hierjax.training.state import State

AXIS = "devices"
"""Name of the mapped axis."""


@functools.lru_cache(maxsize=64)
def make_train_step(
    model: nn.Module,
    objective: Objective,
    update: Callable,
    *,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    devices: tuple[jax.Device, ...] | None = None,
) -> Callable:
    """Build the compiled function that runs K steps in one call.

    The same arguments give the same function, so runs that differ only in data, seed or
    learning rate compile once.

    Args:
      model: encoder; called with ``train=True``.
      objective: what to minimise.
      update: the ``update`` function of an Optax optimiser.
      augment: ``(key, example [...]) -> views [V, ...]`` for one example, or None for
        one unchanged view. Its key depends on seed, step and the example's place in
        the global batch only, so that the number of devices does not matter.
      devices: devices to map over; None: all.

    Returns:
      ``(state, features [N, ...], labels [N, L], key, rows int32 [K, devices, b]) ->
      (state, metrics)``; metrics are float arrays ``[K]``. The state is donated. All
      arguments but the rows are shared by all devices, as is everything returned.
    """

    def forward(trainable, state, inputs, labels, key):
        params, objective_params = trainable
        num_rows, num_views = inputs.shape[:2]
        variables = {"params": params, "batch_stats": state.batch_stats}
        embeddings, changed = model.apply(
            variables,
            inputs.reshape(-1, *inputs.shape[2:]),
            train=True,
            mutable=["batch_stats"],
        )
        loss, (objective_state, metrics) = objective.apply(
            objective_params,
            state.objective_state,
            embeddings.reshape(num_rows, num_views, -1),
            labels,
            key=key,
            where=jnp.ones((num_rows,), bool),
            axis_name=AXIS,
        )
        return loss, (changed.get("batch_stats", {}), objective_state, metrics)

    def one_step(features, labels, key, state, rows):
        step_key = jax.random.fold_in(key, state.step)
        inputs = features[rows]
        if augment is None:
            inputs = inputs[:, None]
        else:
            first = collectives.axis_index(AXIS) * rows.shape[0]
            places = first + jnp.arange(rows.shape[0])
            keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, places)
            inputs = jax.vmap(augment)(keys, inputs)
        trainable = (state.params, state.objective_params)
        (loss, extra), gradients = jax.value_and_grad(forward, has_aux=True)(
            trainable, state, inputs, labels[rows], step_key
        )
        batch_stats, objective_state, metrics = extra
        gradients = collectives.pmean(gradients, AXIS)
        updates, opt_state = update(gradients, state.opt_state, trainable)
        params, objective_params = optax.apply_updates(trainable, updates)
        state = State(
            step=state.step + 1,
            params=params,
            # Without this, statistics that a model forgot to share would silently
            # differ from device to device.
            batch_stats=collectives.pmean(batch_stats, AXIS),
            objective_params=objective_params,
            objective_state=objective_state,
            opt_state=opt_state,
        )
        return state, {"loss": loss, **metrics}

    def many_steps(state, features, labels, key, rows):
        body = functools.partial(one_step, features, labels, key)
        return lax.scan(body, state, rows)

    return jax.pmap(
        many_steps,
        axis_name=AXIS,
        in_axes=(None, None, None, None, 1),
        out_axes=None,
        donate_argnums=0,
        devices=devices,
    )


@functools.lru_cache(maxsize=64)
def make_embed(
    model: nn.Module, *, devices: tuple[jax.Device, ...] | None = None
) -> Callable:
    """Build the compiled forward pass ``(state, features, rows [devices, b])``.

    Returns:
      A function that gives the embeddings ``[devices, b, D]`` of those rows.
    """

    def embed(state, features, rows):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return model.apply(variables, features[rows], train=False)

    return jax.pmap(embed, in_axes=(None, None, 0), devices=devices)


def replicate(tree: Any, *, devices: tuple[jax.Device, ...]) -> Any:
    """Place every leaf of a pytree on all devices."""
    mesh = Mesh(np.array(devices), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


_EMBED_ROWS = 512
"""Rows a device and call; splits are padded to it, so that one program serves all."""


def embedder(
    model: nn.Module,
    state: State,
    features: np.ndarray,
    *,
    devices: tuple[jax.Device, ...] | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Bind a trained encoder to the features of a data set.

    Args:
      model: encoder, called with ``train=False``.
      state: its parameters.
      features: ``[N, ...]``, placed on the devices once.
      devices: devices that share the work; None: all local ones.

    Returns:
      ``rows int [M] -> float32 [M, D]``.
    """
    devices = devices or tuple(jax.local_devices())
    forward = make_embed(model, devices=devices)
    state, features = replicate((state, features), devices=devices)
    size = _EMBED_ROWS * len(devices)

    def embed(rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.int32)
        padded = np.pad(rows, (0, -len(rows) % size), mode="edge")
        parts = [
            np.asarray(forward(state, features, part.reshape(len(devices), -1)))
            for part in padded.reshape(-1, size)
        ]
        embeddings = np.concatenate(parts).reshape(len(padded), -1)
        return embeddings[: len(rows)]

    return embed
