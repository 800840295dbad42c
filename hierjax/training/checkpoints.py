"""Checkpoints: the last state, the best state and where the loop stood, together.

The three are one Orbax checkpoint, so that a run killed at any moment resumes from a
consistent set.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from hierjax.errors import UserError

PyTree = Any

_FULL = ("RESOURCE_EXHAUSTED", "No space left", "quota exceeded")


def _is_full(text: object) -> bool:
    return any(part in str(text) for part in _FULL)


def _is_news(record: logging.LogRecord) -> bool:
    """False for what Orbax's threads log of a full disk before they raise it."""
    error = record.exc_info[1] if record.exc_info else None
    return not (_is_full(record.getMessage()) or _is_full(error))


class Checkpoints:
    """Saves to and restores from one directory.

    Args:
      directory: created where missing.
    """

    def __init__(self, directory: pathlib.Path):
        # Python adds the same filter once.
        logging.getLogger("absl").addFilter(_is_news)
        self._directory = pathlib.Path(directory).resolve()
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(1), create=True
            ),
        )

    def save(self, step: int, last: PyTree, best: PyTree, progress: dict) -> None:
        """Save in the background; an earlier checkpoint goes once this one is whole.

        Args:
          step: names the checkpoint.
          last: state to resume from.
          best: state chosen on validation.
          progress: JSON-compatible record of the loop.

        Raises:
          UserError: the disk is full, perhaps since the checkpoint before this one.
        """
        last, best = jax.device_get((last, best))
        with self._room():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    last=ocp.args.StandardSave(last),
                    best=ocp.args.StandardSave(best),
                    progress=ocp.args.JsonSave(progress),
                ),
            )

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            # TensorStore's errors are known by their text alone.
            if not _is_full(error):
                raise
            raise UserError(
                f"{self._directory}: no space left for a checkpoint; make room, and "
                "the same command continues the run"
            ) from None

    def progress(self) -> dict | None:
        """The record of the newest checkpoint alone; None where there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        wanted = ocp.args.Composite(progress=ocp.args.JsonRestore())
        return self._manager.restore(step, args=wanted)["progress"]

    def restore(self, template: PyTree) -> tuple[PyTree, PyTree]:
        """``(last, best)`` of the newest checkpoint, as NumPy arrays.

        Args:
          template: the structure of a state, with arrays or shapes as leaves.

        Raises:
          FileNotFoundError: there is no checkpoint, see `progress`.
        """
        # What Orbax restores for shapes alone lies on the devices of the saving run.
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
        restored = self._manager.restore(
            self._manager.latest_step(),
            args=ocp.args.Composite(
                last=ocp.args.StandardRestore(target),
                best=ocp.args.StandardRestore(target),
            ),
        )
        return restored["last"], restored["best"]

    def close(self) -> None:
        """Wait for what is still being written; raises as `save`."""
        with self._room():
            self._manager.wait_until_finished()
        self._manager.close()
