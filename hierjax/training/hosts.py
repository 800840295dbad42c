"""Several hosts: who writes, which rows are whose, and how decisions are shared."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from hierjax.errors import UserError


def initialize(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
) -> None:
    """Join the processes of a run, before anything else touches a device.

    Args:
      coordinator_address: ``host:port`` of process 0, or 'auto' where JAX detects the
        cluster itself (TPU pods, SLURM).
      num_processes: how many there are; None with 'auto'.
      process_id: which one this is, from 0; None with 'auto'.

    Raises:
      UserError: the three do not fit together.
    """
    if not coordinator_address:
        raise UserError(
            "num_processes and process_id need coordinator_address with them"
        )
    # It takes SIGTERM for itself; `any_of_all` shares every reason to stop.
    jax.config.update("jax_enable_preemption_service", False)
    # Used on CPUs only; the default there cannot cross processes.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator_address == "auto":
        jax.distributed.initialize()
        return
    if num_processes is None or process_id is None:
        raise UserError(
            "coordinator_address needs num_processes and process_id with it, unless "
            "it is 'auto'"
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"process_id must be in 0..{num_processes - 1}, got {process_id}"
        )
    jax.distributed.initialize(coordinator_address, num_processes, process_id)


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def choose_devices(
    num_devices: int | None,
) -> tuple[tuple[jax.Device, ...], tuple[jax.Device, ...]]:
    """All devices that train together, and those of this process.

    Args:
      num_devices: use only so many; None: all. Several hosts always use all.

    Raises:
      UserError: there are not so many, or there are several hosts.
    """
    everyone, local = tuple(jax.devices()), tuple(jax.local_devices())
    if num_devices is None:
        return everyone, local
    if jax.process_count() > 1:
        raise UserError("num_devices cannot be chosen on several hosts; leave it out")
    if not 1 <= num_devices <= len(local):
        raise UserError(
            f"num_devices must be in 1..{len(local)} here, got {num_devices}"
        )
    return everyone[:num_devices], local[:num_devices]


def local_rows(
    rows: np.ndarray,
    everyone: tuple[jax.Device, ...],
    local: tuple[jax.Device, ...],
) -> np.ndarray:
    """This process's part of the batches.

    Args:
      rows: ``[K, B]`` row indices of K whole batches, the same on every host.
      everyone: devices in the order of the mapped axis.
      local: those of this process.

    Returns:
      ``[K, len(local), B / len(everyone)]``.
    """
    shards = rows.reshape(len(rows), len(everyone), -1)
    return shards[:, [everyone.index(device) for device in local]]


def agree(value: float) -> float:
    """The main process's value, on every process.

    All hosts compute the same measures, but a last digit could differ between
    machines, and hosts that disagree on when to stop wait for each other forever.

    Args:
      value: of this process; all processes call this together.

    Returns:
      As it is where there is one process, else rounded to float32.
    """
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def any_of_all(flag: bool) -> bool:
    """Whether any process says so, on every process.

    A signal may reach one host alone, or all of them in different steps.

    Args:
      flag: of this process; all processes call this together.
    """
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.bool_(flag)).any())


def on_main(work: Callable[[], None]) -> None:
    """Let the main process do something before all go on; all fail if it does.

    Without that the others would wait for a process that has left.

    Args:
      work: called by the main process alone; all processes call this together.

    Raises:
      UserError: on the main process its own, on the others one that points there. An
        OSError of the main process is passed on in the same way.
    """
    failure = None
    if is_main():
        try:
            work()
        except (UserError, OSError) as error:
            failure = error
    if any_of_all(failure is not None):
        raise failure or UserError("process 0 could not go on; it says why")
