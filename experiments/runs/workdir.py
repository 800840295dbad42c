"""A run's folder: claimed by one run, read back, and held to its own data."""

import dataclasses
import pathlib

from experiments.runs.files import read_json, write_json
from experiments.settings.experiment import Experiment, describe_hardware
from hierjax import data
from hierjax.errors import UserError

_DATA = "data.json"


def claim_workdir(workdir: pathlib.Path, experiment: Experiment, flag_text: str):
    """Make the workdir of a run, or check that it holds this very run.

    Raises:
      UserError: the folder cannot be written, holds something else, or holds a run
        with other settings (naming the fields that differ).
    """
    wanted = dataclasses.asdict(experiment)
    path = workdir / "config.json"
    try:
        # A run that failed before its first step left nothing worth keeping.
        records = workdir / "metrics.jsonl"
        if (workdir / "results.json").exists() or (
            records.exists() and records.stat().st_size
        ):
            held = _read_fields(workdir)
            differing = [
                f"{key} was {held.get(key)!r} and is now {value!r}"
                for key, value in wanted.items()
                if held.get(key) != value
            ]
            if differing:
                raise UserError(
                    f"workdir {workdir} holds a run of another configuration: "
                    f"{'; '.join(differing)}; choose another --workdir"
                )
            return
        workdir.mkdir(parents=True, exist_ok=True)
        if any(workdir.iterdir()) and not path.exists():
            raise UserError(
                f"workdir {workdir} is not empty and holds no run; choose another "
                "--workdir"
            )
        (workdir / "flags.txt").write_text(flag_text)
        write_json(workdir / "environment.json", describe_hardware())
        write_json(path, wanted)
    except OSError as error:
        raise UserError(
            f"workdir {workdir} cannot be written: {error.strerror}; choose another "
            "--workdir"
        ) from None


def _read_fields(workdir: pathlib.Path) -> dict:
    """The content of a run's ``config.json``."""
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} holds no run: {path} is missing")
    try:
        return dict(read_json(path))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a run: {error}") from None


def read_experiment(workdir: pathlib.Path) -> Experiment:
    """The experiment of a workdir.

    Raises:
      UserError: there is no readable run.
    """
    fields = _read_fields(workdir)
    known = {field.name for field in dataclasses.fields(Experiment)}
    if set(fields) != known:
        raise UserError(
            f"{workdir / 'config.json'} was written by another version: it differs in "
            f"the fields {', '.join(sorted(set(fields) ^ known))}"
        )
    return Experiment(**fields)


def check_same_data(workdir: pathlib.Path, dataset: data.Dataset) -> None:
    """Refuse rows that are not those of the run: splits are drawn from all of them.

    Otherwise a file that is added could move training rows into the test split.
    """
    path = workdir / _DATA
    # A run that has trained nothing yet, or is older than this file, may go on.
    if not path.exists() or not (workdir / "metrics.jsonl").exists():
        return
    held, found = read_json(path), _identity(dataset)
    if held["digest"] != found["digest"]:
        raise UserError(
            f"workdir {workdir} holds a run on other rows, labels or splits: then "
            f"{held['described']}; now {found['described']}; bring the data back as "
            "they were, or train anew in another --workdir"
        )


def _identity(dataset: data.Dataset) -> dict[str, str]:
    return {"described": describe_data(dataset), "digest": dataset.digest()}


def describe_data(dataset: data.Dataset) -> str:
    """One line about a data set."""
    hierarchy = dataset.hierarchy
    levels = " -> ".join(
        f"{count} {name}"
        for name, count in zip(
            hierarchy.level_names, hierarchy.nodes_per_level, strict=True
        )
    )
    splits = ", ".join(f"{name} {len(rows)}" for name, rows in dataset.splits.items())
    return f"{dataset.name}: {levels}; {splits}"


def keep_identity(workdir: pathlib.Path, dataset: data.Dataset) -> None:
    """Record what the run's data are, for `check_same_data`."""
    write_json(workdir / _DATA, _identity(dataset))
