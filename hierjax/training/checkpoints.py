"""Checkpoints: the last state, the best state and where the loop stood, together.

The three are one Orbax checkpoint, so that a run killed at any moment resumes from a
consistent set.
"""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

PyTree = Any


class Checkpoints:
    """Saves to and restores from one directory.

    Args:
      directory: created where missing.
    """

    def __init__(self, directory: pathlib.Path):
        self._manager = ocp.CheckpointManager(
            pathlib.Path(directory).resolve(),
            item_names=("last", "best", "progress"),
            options=ocp.CheckpointManagerOptions(max_to_keep=1, create=True),
        )

    def save(self, step: int, last: PyTree, best: PyTree, progress: dict) -> None:
        """Save in the background; an earlier checkpoint goes once this one is whole.

        Args:
          step: names the checkpoint.
          last: state to resume from.
          best: state chosen on validation.
          progress: JSON-compatible record of the loop.
        """
        last, best = jax.device_get((last, best))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                last=ocp.args.StandardSave(last),
                best=ocp.args.StandardSave(best),
                progress=ocp.args.JsonSave(progress),
            ),
        )

    def restore(self, template: PyTree) -> tuple[PyTree, PyTree, dict] | None:
        """``(last, best, progress)`` of the newest checkpoint, None where is none.

        Args:
          template: a state of the same structure and shapes.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        target = jax.device_get(template)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                last=ocp.args.StandardRestore(target),
                best=ocp.args.StandardRestore(target),
                progress=ocp.args.JsonRestore(),
            ),
        )
        return restored["last"], restored["best"], restored["progress"]

    def close(self) -> None:
        """Wait for what is still being written."""
        self._manager.wait_until_finished()
        self._manager.close()
