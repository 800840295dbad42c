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
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hierjax import collectives
from hierjax.objectives import Objective
from hierjax.objectives.objective import checked_loss
from hierjax.training.config import check_choice
from hierjax.training.state import State, split_frozen

AXIS = "devices"
"""Name of the mapped axis."""

MAPPINGS = ("pmap", "shard_map")
MAPPING = "pmap"
"""The one switch: how steps and forward passes are spread over devices."""


@functools.lru_cache(maxsize=64)
def make_train_step(
    model: nn.Module,
    objective: Objective,
    update: Callable,
    *,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    devices: tuple[jax.Device, ...] | None = None,
    mapping: str = MAPPING,
) -> Callable:
    """Build the compiled function that runs K steps in one call.

    The same arguments give the same function, so runs that differ only in data, seed or
    learning rate compile once.

    Args:
      model: encoder; called with ``train=True``. What `split_frozen` holds back of it
        stays as it is to the bit.
      objective: what to minimise.
      update: the ``update`` function of an Optax optimiser.
      augment: ``(key, example [...]) -> views [V, ...]`` for one example, or None for
        one unchanged view. Of inputs with sizes it gets the image. Its key depends on
        seed, step and the example's place in the global batch only, so that the number
        of devices does not matter. Dropout alone depends on the device.
      devices: devices to map over; None: all.
      mapping: 'pmap', or 'shard_map' for the same bits through ``jit(shard_map)``.

    Returns:
      ``(state, inputs, labels [N, L], key, rows int32 [K, devices, b]) -> (state,
      metrics)``; inputs as in `Dataset.inputs`; metrics are float arrays ``[K]``. The
      state is donated. All arguments but the rows are shared by all devices, as is
      everything returned. On several hosts each gives and gets what it holds: the rows
      of its own devices. ``lower`` with the same arguments prepares a call.

    Raises:
      UserError: unknown mapping.
    """

    def forward(trainable, state, views, labels, keys):
        _, loss, extra = forward_pass(
            model, objective, trainable, state, views, labels, keys
        )
        return checked_loss(loss, "the objective"), extra

    def one_step(inputs, labels, key, state, rows):
        device = collectives.axis_index(AXIS)
        keys = step_keys(key, state.step, device)
        places = device * rows.shape[0] + jnp.arange(rows.shape[0])
        views = make_views(take(inputs, rows), augment, keys["augment"], places)
        trained, held = split_frozen(model, state.params)
        trainable = (trained, state.objective_params)
        (loss, extra), gradients = jax.value_and_grad(forward, has_aux=True)(
            trainable, state, views, labels[rows], keys
        )
        batch_stats, objective_state, metrics = extra
        gradients = collectives.pmean(gradients, AXIS)
        updates, opt_state = update(gradients, state.opt_state, trainable)
        trained, objective_params = optax.apply_updates(trainable, updates)
        batch_stats, _ = split_frozen(model, batch_stats)
        state = State(
            step=state.step + 1,
            params={**held, **trained},
            # Without this, statistics that a model forgot to share would silently
            # differ from device to device.
            batch_stats={
                **state.batch_stats,
                **collectives.pmean(batch_stats, AXIS),
            },
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

    return _over_devices(
        many_steps,
        in_axes=(None, None, None, None, 1),
        out_axis=None,
        donate_argnums=(0,),
        devices=devices,
        mapping=mapping,
    )


def step_keys(
    key: jax.Array, step: jax.Array, device: jax.Array
) -> dict[str, jax.Array]:
    """Random keys of one step on one device; only that of dropout depends on it.

    Args:
      key: of the run.
      step: steps done before it.
      device: place on the mapped axis.
    """
    names = ("augment", "objective", "dropout")
    keys = jax.random.split(jax.random.fold_in(key, step), len(names))
    keys = dict(zip(names, keys, strict=True))
    return keys | {"dropout": jax.random.fold_in(keys["dropout"], device)}


def forward_pass(
    model: nn.Module,
    objective: Objective,
    trainable: tuple[Any, Any],
    state: State,
    views: Any,
    labels: jax.Array,
    keys: dict[str, jax.Array],
) -> tuple[jax.Array, jax.Array, tuple[Any, Any, dict[str, jax.Array]]]:
    """Model and objective on one device's share of a batch, under `AXIS`.

    Args:
      model: encoder.
      objective: what to minimise.
      trainable: parameters of both, without those of the model that are frozen.
      state: everything else.
      views: leaves ``[b, V, ...]``.
      labels: ``[b, L]``.
      keys: see `step_keys`.

    Returns:
      Embeddings ``[b, V, D]``, the loss, and what else has changed: statistics of the
      model, state of the objective, metrics.
    """
    trained, objective_params = trainable
    params = {**state.params, **trained}
    num_rows, num_views = jax.tree.leaves(views)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), views)
    embeddings, changed = model.apply(
        state.variables | {"params": params},
        flat,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": keys["dropout"]},
    )
    embeddings = embeddings.reshape(num_rows, num_views, -1)
    loss, (objective_state, metrics) = objective.apply(
        objective_params,
        state.objective_state,
        embeddings,
        labels,
        key=keys["objective"],
        where=jnp.ones((num_rows,), bool),
        axis_name=AXIS,
    )
    return embeddings, loss, (changed.get("batch_stats", {}), objective_state, metrics)


def _over_devices(
    function: Callable,
    *,
    in_axes: tuple[int | None, ...],
    out_axis: int | None,
    donate_argnums: tuple[int, ...] = (),
    devices: tuple[jax.Device, ...] | None,
    mapping: str,
) -> Callable:
    """Compile a function of one device's share for all of them, over `AXIS`.

    Args:
      function: sees its arguments without the axis of devices.
      in_axes: of every argument, an array if mapped: its axis of devices, or None for
        one that all share.
      out_axis: axis of devices of what is returned; None: all devices return the same.
      donate_argnums: arguments whose memory the result may take.
      devices: devices to map over, those of other hosts included; None: all.
      mapping: one of `MAPPINGS`.
    """
    check_choice("mapping", mapping, MAPPINGS)
    if mapping == "pmap":
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=in_axes,
            out_axes=out_axis,
            donate_argnums=donate_argnums,
            devices=devices,
        )

    def of_share(*arguments):
        pairs = zip(arguments, in_axes, strict=True)
        result = function(
            *(x if axis is None else jnp.squeeze(x, axis) for x, axis in pairs)
        )
        if out_axis is None:
            return result
        return jax.tree.map(lambda x: jnp.expand_dims(x, out_axis), result)

    mesh = Mesh(np.array(devices or jax.devices()), (AXIS,))
    in_specs = tuple(map(_spec, in_axes))
    # Losses reduce to global values themselves; the check would rewrite gradients.
    mapped = jax.shard_map(
        of_share,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=_spec(out_axis),
        check_vma=False,
    )
    compiled = jax.jit(mapped, donate_argnums=donate_argnums)
    if mesh.is_multi_process:
        return _OnEveryHost(compiled, mesh, in_specs, _spec(out_axis))
    return compiled


def _spec(axis: int | None) -> PartitionSpec:
    """The axis of devices as `shard_map` wants it."""
    return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)


class _OnEveryHost:
    """A function of global arrays that takes and gives those of this host, as pmap."""

    def __init__(self, compiled, mesh, in_specs, out_spec):
        self._compiled, self._mesh = compiled, mesh
        self._in_specs, self._out_spec = in_specs, out_spec

    def __call__(self, *arguments):
        return multihost_utils.global_array_to_host_local_array(
            self._compiled(*self._globally(arguments)), self._mesh, self._out_spec
        )

    def lower(self, *arguments):
        return self._compiled.lower(*self._globally(arguments))

    def _globally(self, arguments):
        return multihost_utils.host_local_array_to_global_array(
            arguments, self._mesh, self._in_specs
        )


def take(inputs: Any, rows: jax.Array) -> Any:
    """Rows of a data set's inputs as a model wants them: uint8 becomes 0 to 1.

    Args:
      inputs: as in `Dataset.inputs`, leaves ``[N, ...]``.
      rows: int ``[b]``.

    Returns:
      Leaves ``[b, ...]``.
    """

    def of_leaf(leaf):
        taken = leaf[rows]
        return taken / jnp.float32(255) if taken.dtype == jnp.uint8 else taken

    return jax.tree.map(of_leaf, inputs)


def make_views(
    inputs: Any, augment: Callable | None, key: jax.Array, places: jax.Array
) -> Any:
    """Views of a batch; what is not an image is repeated.

    Args:
      inputs: leaves ``[b, ...]``: images, or a dict with them as 'image', perhaps with
        changed copies ``[b, K, ...]`` as 'views', of which ``augment`` then draws.
      augment: see `make_train_step`.
      key: of the step.
      places: int ``[b]``, what sets one example's augmentation apart from another's.

    Returns:
      Leaves ``[b, V, ...]``.
    """
    if augment is None:
        return jax.tree.map(lambda x: x[:, None], inputs)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, places)
    if not isinstance(inputs, dict):
        return jax.vmap(augment)(keys, inputs)
    inputs = dict(inputs)
    changed = inputs.pop("views", inputs["image"])
    views = {"image": jax.vmap(augment)(keys, changed)}
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

    Args:
      params: of the model, arrays or shapes; a leaf of three axes or more is a
        convolution's.
      devices: that it runs on.
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
    mapping: str = MAPPING,
) -> Callable:
    """Build the compiled forward pass ``(variables, inputs, key, rows [devices, b])``.

    Args:
      model: encoder; called with ``train=False``.
      augment: see `augmented_embedder`.
      method: see `embedder`.
      devices: devices to map over; None: all.
      mapping: see `make_train_step`.

    Returns:
      A function that gives what the model makes of those rows, float32
      ``[devices, b, D]``.
    """

    def embed(variables, inputs, key, rows):
        views = make_views(take(inputs, rows), augment, key, rows)
        first = jax.tree.map(lambda x: x[:, 0], views)
        result = model.apply(variables, first, train=False, method=_METHODS[method])
        return result.astype(jnp.float32)

    return _over_devices(
        embed,
        in_axes=(None, None, None, 0),
        out_axis=0,
        devices=devices,
        mapping=mapping,
    )


def replicate(tree: Any, *, devices: tuple[jax.Device, ...]) -> Any:
    """Place a pytree on devices.

    Args:
      tree: leaves of any shape, on the host or on devices.
      devices: of this process; each gets all of every leaf.
    """
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
