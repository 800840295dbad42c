"""Checkpoints: the last state, the best state and where the loop stood, together.

The three are one Orbax checkpoint, so that a run killed at any moment resumes from a
consistent set. The last two are kept, each with the digests of its files, and a
damaged one gives way to the one before.
"""

import contextlib
import errno
import gc
import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from hierjax import disk, stored
from hierjax.errors import UserError, notice
from hierjax.training import hosts

PyTree = Any
Read = TypeVar("Read")

KEPT = 2
"""Checkpoints in a directory."""
_DIGESTS = "digests.json"
# Orbax completes this one as it renames the folder; nothing here reads it.
_NOT_READ = ("_CHECKPOINT_METADATA",)


def _is_news(record: logging.LogRecord) -> bool:
    """False for what Orbax's threads log of a failing disk before they raise it."""
    error = record.exc_info[1] if record.exc_info else None
    return disk.number_of(error or record.getMessage()) is None


def _mute_late_callbacks() -> None:
    """Ignore what TensorStore says of writes that end after another one has failed.

    It has no caller left to raise that to, and so has Python print a traceback.
    """
    former = sys.unraisablehook
    if former is _report_unraisable:
        return
    _FORMER.append(former)
    sys.unraisablehook = _report_unraisable


_FORMER = []


def _report_unraisable(unraisable) -> None:
    error = unraisable.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        _FORMER[-1](unraisable)


class _WithDigests(ocp.CompositeCheckpointHandler):
    """Writes the digests last, before Orbax gives the folder its name."""

    def finalize(self, directory):
        super().finalize(directory)
        _write_digests(pathlib.Path(directory))


@ocp.args.register_with_handler(_WithDigests, for_save=True, for_restore=True)
class _Parts(ocp.args.Composite, ocp.args.CheckpointArgs):
    """What a checkpoint is made of, by name."""


def _write_digests(folder: pathlib.Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            stored.SEAL: stored.file_digest(path),
        }
        for path in paths
        if path.name not in _NOT_READ
    }
    stored.write_json(folder / _DIGESTS, {"files": files})


def check_digests(folder: pathlib.Path) -> None:
    """Raises where a file is not as it was written; earlier versions did not say."""
    path = folder / _DIGESTS
    if not path.exists():
        return
    with stored.refused(path):
        files = stored.read_json(path)["files"]
        for name, held in files.items():
            file = folder / name
            if not file.is_file():
                raise UserError(f"{file} is missing")
            found = file.stat().st_size
            if found != held["bytes"]:
                raise UserError(f"{file} has {found} bytes and not {held['bytes']}")
            if stored.file_digest(file) != held[stored.SEAL]:
                raise UserError(f"{file} does not fit its digest")


class Checkpoints:
    """Saves to and restores from one directory.

    Args:
      directory: created where missing.
    """

    def __init__(self, directory: pathlib.Path):
        _mute_late_callbacks()
        for name in ("absl", "asyncio"):
            # Python adds the same filter once.
            logging.getLogger(name).addFilter(_is_news)
        self._directory = pathlib.Path(directory).resolve()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._writer = ocp.AsyncCheckpointer(_WithDigests())
        self._damaged: list[pathlib.Path] = []
        self._has_saved = False

    def save(self, step: int, last: PyTree, best: PyTree, progress: dict) -> None:
        """Save in the background; the one before stays, earlier ones go.

        Args:
          step: names the checkpoint.
          last: state to resume from.
          best: state chosen on validation.
          progress: JSON-compatible record of the loop.

        Raises:
          UserError: the disk is full or cannot be written, perhaps since the checkpoint
            before this one.
        """
        last, best = jax.device_get((last, best))
        with self._writable():
            self._writer.wait_until_finished()
            self._tidy()
            self._has_saved = True
            self._writer.save(
                self._directory / str(step),
                args=_Parts(
                    last=ocp.args.StandardSave(last),
                    best=ocp.args.StandardSave(best),
                    progress=ocp.args.JsonSave(progress),
                ),
            )

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        # Orbax, TensorStore and their threads have no exceptions in common.
        except Exception as error:
            number = disk.number_of(error)
            if number is None:
                raise
            said = f"{self._directory}: a checkpoint cannot be written: "
            said += os.strerror(number)
            if number == errno.ENOENT:
                said = f"{self._directory.parent} was removed while it was in use"
            if disk.is_full(number):
                said = (
                    f"{self._directory}: no space left for a checkpoint; make room, "
                    "and the same command continues the run"
                )
            raise UserError(said) from None

    def newest(
        self, template: PyTree, read: Callable[[dict], Read]
    ) -> tuple[Read, PyTree, PyTree] | None:
        """The newest checkpoint that is whole; gives a notice of those that are not.

        Args:
          template: the structure of a state, with arrays or shapes as leaves.
          read: what makes of the record of the loop what is wanted of it; its
            `UserError` is one of the whole run and not of this checkpoint.

        Returns:
          What ``read`` made, the last and the best state as NumPy arrays; None where
          there is no checkpoint.

        Raises:
          UserError: there are checkpoints, and all of them are damaged.
        """
        reasons = []
        for folder in self._folders():
            try:
                check_digests(folder)
                record = _read_record(folder)
            except UserError as error:
                reasons.append(str(error))
                self._damaged.append(folder)
                continue
            made = read(record)
            try:
                last, best = _read_states(folder, template)
            except UserError as error:
                reasons.append(str(error))
                self._damaged.append(folder)
                continue
            if reasons and hosts.is_main():
                notice(
                    f"{'; '.join(reasons)}; the checkpoint of step {folder.name} is "
                    "whole and taken instead"
                )
            return made, last, best
        if not reasons:
            return None
        raise UserError(
            f"{self._directory}: no checkpoint is whole: {'; '.join(reasons)}; bring "
            "back a copy, or train anew in another workdir"
        )

    def close(self) -> None:
        """Wait for what is still being written; raises as `save`."""
        try:
            with self._writable():
                self._writer.wait_until_finished()
                if self._has_saved:
                    self._tidy()
        finally:
            self._writer.close()

    def _folders(self) -> list[pathlib.Path]:
        """Of the checkpoints, newest first."""
        found = [p for p in self._directory.iterdir() if p.name.isdecimal()]
        return sorted(found, key=lambda path: int(path.name), reverse=True)

    def _tidy(self) -> None:
        """Remove the checkpoints that nobody needs any more."""
        if not hosts.is_main():
            return
        whole = [path for path in self._folders() if path not in self._damaged]
        for path in (*self._damaged, *whole[KEPT:]):
            shutil.rmtree(path, ignore_errors=True)
        self._damaged = []


def _read_record(folder: pathlib.Path) -> dict:
    path = folder / "progress" / "metadata"
    record = stored.read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path} is damaged: no record of a run")
    return record


def _read_states(folder: pathlib.Path, template: PyTree) -> tuple[PyTree, PyTree]:
    # What Orbax restores for shapes alone lies on the devices of the saving run.
    target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
    reader = ocp.Checkpointer(ocp.StandardCheckpointHandler())
    with _quietly(folder), reader:
        return tuple(
            reader.restore(folder / name, args=ocp.args.StandardRestore(target))
            for name in ("last", "best")
        )


@contextlib.contextmanager
def _quietly(folder: pathlib.Path) -> Iterator[None]:
    """Says in a sentence what Orbax, its threads and tasks find wrong with a folder."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "absl")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    # Whatever TensorStore, Orbax and the JSON in between raise.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is damaged: {reason}") from None
    finally:
        # Tasks that failed complain when they are collected.
        gc.collect()
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
