"""A run's folder: claimed by one run, read back, and held to its own data."""

import contextlib
import pathlib
from collections.abc import Iterator

from experiments.runs.environment import describe_hardware
from experiments.runs.files import FORMAT, read_json, write_json
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from hierjax import data, locking, options, stored, training
from hierjax.errors import UserError
from hierjax.training.resuming import WITHOUT_EFFECT

_DATA = "data.json"


@contextlib.contextmanager
def held(workdir: pathlib.Path, purpose: str) -> Iterator[None]:
    """Keep other processes out of a workdir that is written into.

    The processes of a run on several hosts hold it together.

    Args:
      workdir: made where it is missing.
      purpose: what is done meanwhile, such as 'training'.

    Raises:
      UserError: another process holds it, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        training.hosts.on_main(
            lambda: stack.enter_context(locking.locked(workdir, purpose))
        )
        yield


def claim_workdir(workdir: pathlib.Path, experiment: Experiment, flag_text: str):
    """Make the workdir of a run, or check that it holds this very run or a shorter one.

    Raises:
      UserError: the folder cannot be written, holds something else, or holds a run
        with other settings (naming the fields that differ).
    """
    path = workdir / "config.json"
    try:
        if _is_begun(workdir):
            _check_same_settings(workdir, read_experiment(workdir), experiment)
            # A run that was given more steps is that longer run from now on.
            (workdir / "flags.txt").write_text(flag_text)
            write_json(path, formats.to_record(experiment))
            return
        workdir.mkdir(parents=True, exist_ok=True)
        others = [at for at in workdir.iterdir() if not locking.is_lock(at)]
        if others and not path.exists():
            raise UserError(
                f"workdir {workdir} is not empty and holds no run; choose another "
                "--workdir"
            )
        (workdir / "flags.txt").write_text(flag_text)
        write_json(workdir / "environment.json", describe_hardware())
        write_json(path, formats.to_record(experiment))
    except OSError as error:
        raise UserError(
            f"workdir {workdir} cannot be written: {error.strerror}; choose another "
            "--workdir"
        ) from None


def _is_begun(workdir: pathlib.Path) -> bool:
    """Whether there is more of a run than one that failed before its first step has."""
    records, checkpoints = workdir / "metrics.jsonl", workdir / "checkpoints"
    return (
        (workdir / "results.json").exists()
        or (records.exists() and records.stat().st_size > 0)
        # It was stopped before its first evaluation.
        or (checkpoints.is_dir() and any(checkpoints.iterdir()))
    )


def _check_same_settings(
    workdir: pathlib.Path, held: Experiment, wanted: Experiment
) -> None:
    old, new = (dict(options.flat(each)) for each in (held, wanted))
    against = training.why_not_extend(wanted, held.num_steps)
    if against is None:
        old["num_steps"] = wanted.num_steps
    differing = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        + (f" ({against})" if key == "num_steps" else "")
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key) and key not in (*WITHOUT_EFFECT, "cache_dir")
    ]
    if differing:
        raise UserError(
            f"workdir {workdir} holds a run of another configuration: "
            f"{'; '.join(differing)}; choose another --workdir"
        )


def read_experiment(workdir: pathlib.Path) -> Experiment:
    """The experiment of a workdir, whichever version wrote it.

    Raises:
      UserError: there is no readable run.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} holds no run: {path} is missing")
    record = read_json(path)
    if "dataset" not in record:
        raise UserError(f"{path} is damaged: it names no dataset")
    try:
        with stored.refused(path):
            return formats.from_record(record)
    except UserError as error:
        about = "" if str(path) in str(error) else f"{path}: "
        raise UserError(f"{about}{error}") from None


def check_same_data(workdir: pathlib.Path, dataset: data.Dataset) -> None:
    """Refuse rows that are not those of the run: splits are drawn from all of them.

    Otherwise a file that is added could move training rows into the test split.
    """
    path = workdir / _DATA
    # A run that has trained nothing yet, or is older than this file, may go on.
    if not path.exists() or not (workdir / "metrics.jsonl").exists():
        return
    held, found = read_json(path), _identity(dataset)
    with stored.refused(path):
        described, digest = held["described"], held["digest"]
    if digest != found["digest"]:
        raise UserError(
            f"workdir {workdir} holds a run on other rows, labels or splits: then "
            f"{described}; now {found['described']}; bring the data back as "
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


def undefined_levels(dataset: data.Dataset, split: str) -> list[str]:
    """Levels of which a split knows no label, and which measures those leave undefined.

    Args:
      dataset: labels and splits.
      split: that is measured.

    Returns:
      A sentence for each, none where every split knows some.
    """
    held = [s for s in ("train", "validation", split) if s in dataset.splits]
    said = []
    for level, name in enumerate(dataset.hierarchy.level_names):
        known = dataset.labels[:, level] >= 0
        blank = [s for s in dict.fromkeys(held) if not known[dataset.rows(s)].any()]
        if blank:
            only_k = blank == ["validation"] and split != "validation"
            what = "k-NN accuracy" if only_k else "accuracies"
            said.append(
                f"level {name}: {known.sum()} of {len(known)} rows have a label, none "
                f"in {' and '.join(blank)}; its {what} will be undefined (-)"
            )
    return said


def keep_identity(workdir: pathlib.Path, dataset: data.Dataset) -> None:
    """Record what the run's data are, for `check_same_data`."""
    write_json(workdir / _DATA, {"format": FORMAT, **_identity(dataset)})
