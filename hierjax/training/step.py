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
from hierjax.training.config import check_choice
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
        one unchanged view. Of inputs with sizes it gets the image. Its key depends on
        seed, step and the example's place in the global batch only, so that the number
        of devices does not matter. Dropout alone depends on the device.
      devices: devices to map over; None: all.

    Returns:
      ``(state, inputs, labels [N, L], key, rows int32 [K, devices, b]) -> (state,
      metrics)``; inputs as in `Dataset.inputs`; metrics are float arrays ``[K]``. The
      state is donated. All arguments but the rows are shared by all devices, as is
      everything returned.
    """

    def forward(trainable, state, views, labels, keys):
        params, objective_params = trainable
        num_rows, num_views = jax.tree.leaves(views)[0].shape[:2]
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), views)
        embeddings, changed = model.apply(
            state.variables | {"params": params},
            flat,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": keys["dropout"]},
        )
        loss, (objective_state, metrics) = objective.apply(
            objective_params,
            state.objective_state,
            embeddings.reshape(num_rows, num_views, -1),
            labels,
            key=keys["objective"],
            where=jnp.ones((num_rows,), bool),
            axis_name=AXIS,
        )
        return loss, (changed.get("batch_stats", {}), objective_state, metrics)

    def one_step(inputs, labels, key, state, rows):
        names = ("augment", "objective", "dropout")
        keys = jax.random.split(jax.random.fold_in(key, state.step), len(names))
        keys = dict(zip(names, keys, strict=True))
        device = collectives.axis_index(AXIS)
        keys["dropout"] = jax.random.fold_in(keys["dropout"], device)
        places = device * rows.shape[0] + jnp.arange(rows.shape[0])
        views = make_views(take(inputs, rows), augment, keys["augment"], places)
        trainable = (state.params, state.objective_params)
        (loss, extra), gradients = jax.value_and_grad(forward, has_aux=True)(
            trainable, state, views, labels[rows], keys
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

    def many_steps(state, inputs, labels, key, rows):
        body = functools.partial(one_step, inputs, labels, key)
        if rows.shape[0] == 1:  # No loop around it, see `runs_slowly_in_loops`.
            state, metrics = body(state, rows[0])
            return state, jax.tree.map(lambda x: x[None], metrics)
        return lax.scan(body, state, rows)

    return jax.pmap(
        many_steps,
        axis_name=AXIS,
        in_axes=(None, None, None, None, 1),
        out_axes=None,
        donate_argnums=0,
        devices=devices,
    )


def take(inputs: Any, rows: jax.Array) -> Any:
    """Rows of a data set's inputs as a model wants them: uint8 becomes 0 to 1."""

    def of_leaf(leaf):
        taken = leaf[rows]
        return taken / jnp.float32(255) if taken.dtype == jnp.uint8 else taken

    return jax.tree.map(of_leaf, inputs)


def make_views(
    inputs: Any, augment: Callable | None, key: jax.Array, places: jax.Array
) -> Any:
    """Views ``[b, V, ...]`` of every leaf; what is not an image is repeated."""
    if augment is None:
        return jax.tree.map(lambda x: x[:, None], inputs)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, places)
    if not isinstance(inputs, dict):
        return jax.vmap(augment)(keys, inputs)
    views = {"image": jax.vmap(augment)(keys, inputs["image"])}
    num_views = views["image"].shape[1]
    return views | {
        name: jnp.repeat(x[:, None], num_views, axis=1)
        for name, x in inputs.items()
        if name != "image"
    }


def runs_slowly_in_loops(params: Any, devices: tuple[jax.Device, ...]) -> bool:
    """Whether one step a call is faster than a scan over many.

    On CPUs XLA computes convolutions inside a loop with a slow fallback: the step of
    `models.ConvNet` on 32 spectrograms took 109 ms so, and 5.5 ms outside.
    """
    has_convolutions = any(leaf.ndim > 2 for leaf in jax.tree.leaves(params))
    return devices[0].platform == "cpu" and has_convolutions


_METHODS = {"embeddings": "__call__", "features": "features"}


@functools.lru_cache(maxsize=64)
def make_embed(
    model: nn.Module,
    *,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    method: str = "embeddings",
    devices: tuple[jax.Device, ...] | None = None,
) -> Callable:
    """Build the compiled forward pass ``(variables, inputs, key, rows [devices, b])``.

    Args:
      model: encoder; called with ``train=False``.
      augment: see `augmented_embedder`.
      method: see `embedder`.
      devices: devices to map over; None: all.

    Returns:
      A function that gives what the model makes of those rows, float32
      ``[devices, b, D]``.
    """

    def embed(variables, inputs, key, rows):
        views = make_views(take(inputs, rows), augment, key, rows)
        first = jax.tree.map(lambda x: x[:, 0], views)
        result = model.apply(variables, first, train=False, method=_METHODS[method])
        return result.astype(jnp.float32)

    return jax.pmap(embed, in_axes=(None, None, None, 0), devices=devices)


def replicate(tree: Any, *, devices: tuple[jax.Device, ...]) -> Any:
    """Place every leaf of a pytree on all devices."""
    mesh = Mesh(np.array(devices), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


_EMBED_ROWS = 512
"""Rows a device and call; splits are padded to it, so that one program serves all."""


def embedder(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    *,
    devices: tuple[jax.Device, ...] | None = None,
    method: str = "embeddings",
) -> Callable[[np.ndarray], np.ndarray]:
    """Bind a trained encoder to the inputs of a data set.

    Args:
      model: encoder, called with ``train=False``.
      variables: its parameters and statistics, `State.variables`.
      inputs: `Dataset.inputs`, placed on the devices once.
      devices: devices that share the work; None: all local ones.
      method: 'embeddings', or 'features' for what comes before the head.

    Returns:
      ``rows int [M] -> float32 [M, D]``.

    Raises:
      UserError: unknown method.
    """
    embed = augmented_embedder(
        model, variables, inputs, None, seed=0, devices=devices, method=method
    )
    return functools.partial(embed, epoch=0)


def augmented_embedder(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None,
    *,
    seed: int,
    devices: tuple[jax.Device, ...] | None = None,
    method: str = "features",
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Bind a trained encoder to inputs that are augmented anew every epoch.

    How a row is augmented depends on seed, epoch and its number in the data set only,
    not on the rows around it or the number of devices.

    Args:
      model: encoder, called with ``train=False``.
      variables: its parameters and statistics, `State.variables`.
      inputs: `Dataset.inputs`, placed on the devices once.
      augment: ``(key, example [...]) -> views [V, ...]``, of which the first is used;
        None: the inputs as they are. Of inputs with sizes it gets the image.
      seed: of the augmentation.
      devices: devices that share the work; None: all local ones.
      method: 'features', what comes before the head, or 'embeddings'.

    Returns:
      ``(rows int [M], epoch) -> float32 [M, D]``.

    Raises:
      UserError: unknown method.
    """
    check_choice("method", method, tuple(_METHODS))
    devices = devices or tuple(jax.local_devices())
    forward = make_embed(model, augment=augment, method=method, devices=devices)
    variables, inputs = replicate((variables, inputs), devices=devices)
    size = _EMBED_ROWS * len(devices)

    def embed(rows: np.ndarray, epoch: int) -> np.ndarray:
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        key = replicate(key, devices=devices)
        rows = np.asarray(rows, np.int32)
        padded = np.pad(rows, (0, -len(rows) % size), mode="edge")
        parts = [
            np.asarray(forward(variables, inputs, key, part.reshape(len(devices), -1)))
            for part in padded.reshape(-1, size)
        ]
        embeddings = np.concatenate(parts).reshape(len(padded), -1)
        return embeddings[: len(rows)]

    return embed
