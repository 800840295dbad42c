"""Runs one device's share of a function in every kind of mapping that users have."""

import functools

import jax
import numpy as np
from jax.sharding import PartitionSpec

AXIS = "devices"
MODES = ("pmap", "vmap", "shard_map", "shard_map unchecked")


def on_devices(local, mode, replicated, sharded, *, devices=4, compiler_options=None):
    """What all devices agree on.

    Args:
      local: ``local(*replicated, *shares)`` with `AXIS` as its mapped axis; every leaf
        of its result is meant to be the same on all devices.
      mode: one of `MODES`; ``'shard_map'`` has ``check_vma=True``.
      replicated: arguments that every device gets whole.
      sharded: arrays ``[rows, ...]``, of which each device gets its share of rows.
      devices: their number, a divisor of the number of rows.
      compiler_options: of the compilation.

    Returns:
      The result of one device, after a check that all have the same bits.
    """
    if mode in ("pmap", "vmap"):
        sharded = [x.reshape(devices, -1, *x.shape[1:]) for x in sharded]
        keywords = {
            "axis_name": AXIS,
            "in_axes": (None,) * len(replicated) + (0,) * len(sharded),
        }
        if mode == "pmap":
            mapped = jax.pmap(local, devices=jax.devices()[:devices], **keywords)
        else:
            mapped = jax.jit(jax.vmap(local, **keywords))
    else:
        checked = mode == "shard_map"

        def of_device(*arguments):
            result = local(*arguments)
            return result if checked else jax.tree.map(lambda x: x[None], result)

        whole, split = PartitionSpec(), PartitionSpec(AXIS)
        mesh = jax.make_mesh(
            (devices,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,)
        )
        mapped = jax.jit(
            jax.shard_map(
                of_device,
                mesh=mesh,
                in_specs=(whole,) * len(replicated) + (split,) * len(sharded),
                out_specs=whole if checked else split,
                check_vma=checked,
            )
        )
    lowered = mapped.lower(*replicated, *sharded)
    result = lowered.compile(compiler_options)(*replicated, *sharded)
    if mode == "shard_map":
        # Its types say that the devices agree; every copy is looked at all the same.
        result = jax.tree.map(
            lambda x: np.stack([s.data for s in x.addressable_shards]), result
        )
    return jax.tree.map(functools.partial(_the_same_on_all, mode), result)


def _the_same_on_all(mode, copies):
    copies = np.asarray(copies)
    np.testing.assert_array_equal(copies, copies[:1].repeat(len(copies), 0), mode)
    return copies[0]
