"""The file of a job: its result, and what that rests on; or why there is none."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from experiments.runs.files import plain, read_json, write_json
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from experiments.tables import fingerprints
from hierjax import options, stored
from hierjax.errors import UserError
from hierjax.objectives import Input

SETTINGS, CODE = "settings", "code"
"""What a result rests on, beside the data and what else a fingerprint names."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A result that is there.

    Attributes:
      path: its file.
      differing: what it rests on that is not as it is now.
      code: what computed it.
    """

    path: pathlib.Path
    differing: set[str]
    code: str


@dataclasses.dataclass(frozen=True)
class Job:
    """A file and what its result depends on now.

    Attributes:
      path: of the JSON; arrays lie beside it as ``.npz``.
      settings: experiment or trials, as JSON keeps them.
      fingerprint: of data, code, and sources of methods that are the user's own.
    """

    path: pathlib.Path
    settings: dict
    fingerprint: dict[str, str]

    def read(self) -> dict | None:
        """What was stored, whatever it rests on; None if nothing was."""
        return read_json(self.path) if self.path.exists() else None

    def result(self) -> dict | None:
        """What was stored; None if nothing was.

        Raises:
          UserError: it is of other settings or data.
        """
        result = self.read()
        if result is not None and (others := self.differing(result) - {CODE}):
            raise UserError(
                f"{self.path} was computed with other {' and '.join(sorted(others))} "
                "than now; choose another --workdir, or remove it to compute it again"
            )
        return result

    def differing(self, result: dict) -> set[str]:
        """What a stored result rests on that is not as it is now.

        A result of the time before fingerprints is of `fingerprints.UNKNOWN` code, and
        taken to be of the data of now.
        """
        with stored.refused(self.path):
            held = {CODE: fingerprints.UNKNOWN} | result.get("fingerprint", {})
            keys = self.fingerprint.keys() & held.keys()
            found = {key for key in keys if held[key] != self.fingerprint[key]}
            same = _same_settings(result["settings"], plain(self.settings))
            return found if same else {SETTINGS, *found}

    def write(self, result: dict, arrays: Mapping[str, np.ndarray] | None) -> dict:
        """Store a result with what it rests on.

        The arrays go first: whoever finds the JSON finds them, and never older ones.
        """
        result = result | {
            "settings": self.settings,
            "fingerprint": self.fingerprint,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            self.path.unlink(missing_ok=True)
            part = self.path.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.savez_compressed(file, **arrays)
            part.replace(self.path.with_suffix(".npz"))
        write_json(self.path, result)
        _failure(self.path).unlink(missing_ok=True)
        return result


def code_of(result: dict) -> str:
    """The code that computed a stored result."""
    return result.get("fingerprint", {}).get(CODE, fingerprints.UNKNOWN)


def keep_failure(path: pathlib.Path, why: str, details: str) -> None:
    """Note why there is no result at a path; it is forgotten when there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(_failure(path), {"why": why, "details": details.splitlines()})


def failure_of(path: pathlib.Path) -> str | None:
    """Why there is no result at a path, in one line; None if nobody failed there."""
    kept = _failure(path)
    return read_json(kept)["why"] if kept.exists() else None


def _failure(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".failed")


def record(experiment: Experiment) -> dict:
    """What decides a job's result; where the data lie does not."""
    return formats.to_record(experiment) | {"data_dir": ""}


def _same_settings(kept: dict, wanted: dict) -> bool:
    """Whether two jobs are the same, whichever version wrote the first."""
    if kept.keys() != wanted.keys():
        return False
    if "experiment" in wanted:
        held, now = (formats.from_record(x["experiment"]) for x in (kept, wanted))
        if "format" not in kept["experiment"] and isinstance(now.method, Input):
            # In which neighbours of inputs were searched was in the tuning alone.
            now = dataclasses.replace(now, method=Input())
        return held == now and all(
            kept[key] == wanted[key] for key in wanted if key != "experiment"
        )
    return _trials(kept) == _trials(wanted)


def _trials(settings: dict) -> list[Experiment]:
    """The settings of a tuning as experiments, the cell before it first."""
    base = formats.from_record(settings["base"])
    overrides = map(formats.overrides_of_today, settings["grid"])
    return [base, *(options.changed(base, each) for each in overrides)]
