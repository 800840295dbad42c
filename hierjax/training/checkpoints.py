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
        """Wait for what is still being written; raises as `save`."""
        with self._room():
            self._manager.wait_until_finished()
        self._manager.close()
