"""The work behind a table: tune each cell on validation, then run its seeds.

Every job writes one file when it is done, so that a table continues where it was cut
off and its rows can be computed by different processes. A row and its selections have
jobs of their own, done together as one task: their trainings are shared.
"""

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Collection, Mapping

import numpy as np

from experiments.papers.tables import Block, Row, scaled_experiment, trials
from experiments.runs.files import read_json
from experiments.runs.obtaining import Obtained
from experiments.runs.probing import PROBE
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from experiments.settings.loading import load_data, load_given
from experiments.tables import fingerprints
from experiments.tables.measured import measure, validation_value
from experiments.tables.scheduling import BusyError
from experiments.tables.sharing import groups, obtain_each
from experiments.tables.stored import CODE, Job, Stored, code_of, record
from hierjax import data, options
from hierjax.errors import DivergedError, MissingDataError, UserError
from hierjax.locking import InUseError, locked

Report = Callable[[str], None]
_say = functools.partial(print, flush=True)


@dataclasses.dataclass(frozen=True)
class Task:
    """Jobs that are done together: a row's and those of its selections.

    Attributes:
      block: the data.
      row: the method, with the selections that share its trainings.
      fold: of the protocol.
      data: what the data are, see `fingerprints.of_data`.
      seed: of final runs; None: this is a tuning.
      tuning: what final runs are chosen by; None: this is a tuning.
    """

    block: Block
    row: Row
    fold: int
    data: str
    seed: int | None = None
    tuning: "Task | None" = None


@dataclasses.dataclass(frozen=True)
class Jobs:
    """Jobs under a folder; tables that share a cell share its jobs.

    Attributes:
      folder: where results of jobs go.
      scale: one of `tables.SCALES`.
      data_dir: folder of downloaded data.
      measured: 'neighbors', 'classes' or 'probes', see `tables.Table`.
    """

    folder: pathlib.Path
    scale: str
    data_dir: str
    measured: str = "neighbors"

    def load(self, block: Block, row: Row) -> data.Dataset:
        """The data of a block as a row sees them, in fold 0."""
        return load_data(scaled_experiment(block, row, self.scale, self.data_dir))

    def data_problem(self, block: Block, row: Row) -> str | None:
        """Why a block cannot be run, None if it can."""
        try:
            self.load(block, row)
        except MissingDataError as error:
            return str(error)
        return None

    def tasks(self, block: Block, row: Row, seeds: list[int]) -> list[Task]:
        """All that is to do for a cell and those of its selections, in order."""
        tuned_on = block.tuned_on or block
        tuned_data, data_now = (self._data_of(x, row) for x in (tuned_on, block))
        found = []
        for fold in range(block.folds):
            tuning = Task(tuned_on, row, fold, tuned_data)
            found.append(tuning)
            found += [Task(block, row, fold, data_now, s, tuning) for s in seeds]
        return found

    def run(self, block: Block, row: Row, seeds: list[int]) -> None:
        """Do what is missing of a cell, and of those of its selections, here.

        Raises:
          UserError: another process is at it.
        """
        for task in self.tasks(block, row, seeds):
            try:
                self.do(task, _say)
            except BusyError as error:
                raise UserError(str(error)) from None

    def do(self, task: Task, report: Report = _say) -> None:
        """Do what is missing of a task.

        Args:
          task: one of `tasks`; where the tuning of a final run is missing it is done.
          report: gets a line for every job that is done.

        Raises:
          BusyError: another process is at one of its jobs.
          DivergedError: a final run failed.
          UserError: every trial of a tuning failed, or what is stored is of other
            settings or data.
        """
        with contextlib.ExitStack() as claims:
            try:
                for path in sorted(self.files(task)):
                    name = f"{path.stem}.lock"
                    claims.enter_context(locked(path.parent, "running", name=name))
            except InUseError as error:
                raise BusyError(error) from None
            if task.seed is None:
                self._tunings(task, report)
            else:
                self._finals(task, report)

    def files(self, task: Task) -> list[pathlib.Path]:
        """The files of a task's jobs."""
        block, fold, seed = task.block, task.fold, task.seed
        return [
            self.tuning_path(block, row, fold)
            if seed is None
            else self.result_path(block, row, fold, seed)
            for row in task.row.selected()
        ]

    def stored(self, task: Task) -> list[Stored]:
        """What there is of a task, and what of it is not as it is now.

        A final run rests on all that its tuning rests on; without that it is not done.
        """
        if task.seed is None:
            return _stored(self._tuning_jobs(task))
        jobs = self._tuning_jobs(task.tuning)
        tunings = {name: job.read() for name, job in jobs.items()}
        if None in tunings.values():
            return []
        before = {key for one in _stored(jobs) for key in one.differing}
        if before - {CODE}:
            # What it chose may be nothing that is there to be chosen now.
            return [
                Stored(path, before, code_of(read_json(path)))
                for path in self.files(task)
                if path.exists()
            ]
        return _stored(
            self._final_jobs(task, self._final_experiments(task, tunings)), before
        )

    def _data_of(self, block: Block, row: Row) -> str:
        experiment = scaled_experiment(block, row, self.scale, self.data_dir)
        return fingerprints.of_data(load_given(experiment))

    def _tuning_jobs(self, task: Task) -> dict[str, Job]:
        return {
            row.name: Job(
                self.tuning_path(task.block, row, task.fold),
                self._tuning_settings(task.block, row),
                fingerprints.of(self._experiment(task.block, row, 0, {}), task.data),
            )
            for row in task.row.selected()
        }

    def _tunings(self, task: Task, report: Report) -> dict[str, dict]:
        """The tuning of each row, by its name."""
        rows = {row.name: row for row in task.row.selected()}
        return self._once(
            self._tuning_jobs(task),
            lambda missing: {
                name: (tuned, None)
                for name, tuned in self._tune(
                    task.block, {name: rows[name] for name in missing}, task.fold
                ).items()
            },
            report,
        )

    def _final_experiments(
        self, task: Task, tunings: dict[str, dict]
    ) -> dict[str, Experiment]:
        return {
            row.name: self._final_experiment(
                task.block, row, task.fold, task.seed, tunings[row.name]
            )
            for row in task.row.selected()
        }

    def _final_jobs(
        self, task: Task, experiments: dict[str, Experiment]
    ) -> dict[str, Job]:
        return {
            row.name: Job(
                self.result_path(task.block, row, task.fold, task.seed),
                {"experiment": record(experiments[row.name])}
                | self._measured_as(task.block),
                fingerprints.of(experiments[row.name], task.data),
            )
            for row in task.row.selected()
        }

    def _finals(self, task: Task, report: Report) -> None:
        """Train each row as it was tuned and measure it on the test split."""
        tunings = self._tunings(task.tuning, report)
        experiments = self._final_experiments(task, tunings)
        jobs = self._final_jobs(task, experiments)

        def work(missing: list[str]) -> dict[str, tuple[dict, dict]]:
            results = {}
            found = obtain_each({name: experiments[name] for name in missing})
            for name, obtained in found.items():
                if isinstance(obtained, DivergedError):
                    raise obtained
                result, arrays = measure(
                    self.measured,
                    obtained,
                    neighbors=tunings[name]["neighbors"],
                    targets=task.block.targets,
                )
                results[name] = {"steps": obtained.steps, **result}, arrays
            return results

        for names in groups(experiments):
            self._once({name: jobs[name] for name in names}, work, report)

    def tuning_path(self, block: Block, row: Row, fold: int) -> pathlib.Path:
        """File of the trials of one fold and the choice among them."""
        return self._fold(block.tuned_on or block, row, fold) / "tuning.json"

    def result_path(self, block: Block, row: Row, fold: int, seed: int) -> pathlib.Path:
        """File of one final run; its values per query lie beside it as ``.npz``."""
        return self._fold(block, row, fold) / f"seed{seed}.json"

    def _fold(self, block: Block, row: Row, fold: int) -> pathlib.Path:
        return self.folder / block.name / row.name / f"fold{fold}"

    def _once(
        self,
        jobs: dict[str, Job],
        work: Callable[[list[str]], dict[str, tuple[dict, dict | None]]],
        report: Report,
    ) -> dict[str, dict]:
        """The results of jobs that share their work, from their files if they have any.

        Args:
          jobs: by name.
          work: gives results and arrays of those of some names; its seconds are divided
            among them.
          report: gets a line for every job that is done.
        """
        results = {name: job.result() for name, job in jobs.items()}
        missing = [name for name, result in results.items() if result is None]
        if not missing:
            return results
        start = time.monotonic()
        done = work(missing)
        seconds = (time.monotonic() - start) / len(missing)
        for name, (result, arrays) in done.items():
            results[name] = jobs[name].write(result | {"seconds": seconds}, arrays)
            report(f"{self.name_of(jobs[name].path)}  {seconds:.1f} s")
        return results

    def name_of(self, path: pathlib.Path) -> str:
        """What the job of a file is called."""
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def _experiment(
        self, block: Block, row: Row, fold: int, changes: Mapping
    ) -> Experiment:
        """A cell with its options changed, see `hierjax.options.changed`."""
        base = scaled_experiment(block, row, self.scale, self.data_dir)
        try:
            return options.changed(base, {"fold": fold, **changes})
        except UserError as error:
            raise UserError(f"{block.name}/{row.name}: {error}") from None

    def _tuning_settings(self, block: Block, row: Row) -> dict:
        return {
            "grid": trials(block, row, self.scale),
            "base": record(self._experiment(block, row, 0, {})),
        }

    def _measured_as(self, block: Block) -> dict:
        """What else decides the result of a final run."""
        if self.measured != "probes":
            return {}
        return {"targets": block.targets, "probe": dataclasses.asdict(PROBE)}

    def _final_experiment(
        self, block: Block, row: Row, fold: int, seed: int, tuning: dict
    ) -> Experiment:
        """The chosen setting with a seed of its own."""
        chosen = tuning["chosen"]
        # Jobs of format 1 named options as they were called then.
        overrides = formats.overrides_of_today(chosen["overrides"])
        changes = overrides | {"seed": seed, "refit": block.refit}
        if block.refit and "best_step" in chosen:
            changes["num_steps"] = max(chosen["best_step"], 1)
        return self._experiment(block, row, fold, changes)

    def _tune(self, block: Block, rows: dict[str, Row], fold: int) -> dict[str, dict]:
        """Try the grid with seed 0; keep the best on validation, for each row."""
        # That of all of them.
        grid = trials(block, next(iter(rows.values())), self.scale)
        if len(grid) == 1:
            untried = {"trials": [], "chosen": {"overrides": grid[0]}}
            return {name: untried | {"neighbors": None} for name in rows}
        tried = {name: [] for name in rows}
        best: dict[str, Obtained] = {}
        for overrides in grid:
            found = obtain_each(
                {
                    name: self._experiment(block, row, fold, overrides)
                    for name, row in rows.items()
                }
            )
            for name, obtained in found.items():
                trial = _trial(overrides, obtained)
                failed = "failed" in trial
                if not failed and all(
                    trial["value"] > other["value"] for other in tried[name]
                ):
                    best[name] = obtained
                tried[name].append(trial)
        for name in rows:
            if name not in best:
                raise UserError(
                    f"{block.name}/{name}: every trial of the tuning failed"
                )
        counted = self.measured == "neighbors"
        return {
            name: {
                "trials": tried[name],
                "chosen": max(tried[name], key=lambda trial: trial["value"]),
                "neighbors": best[name].neighbors() if counted else None,
            }
            for name in rows
        }


def _stored(jobs: Mapping[str, Job], before: Collection[str] = ()) -> list[Stored]:
    """Those of some jobs that are there; all differ in what is named ``before``."""
    results = [(job, job.read()) for job in jobs.values()]
    return [
        Stored(job.path, {*before, *job.differing(result)}, code_of(result))
        for job, result in results
        if result is not None
    ]


def _trial(overrides: Mapping, obtained: Obtained | DivergedError) -> dict:
    """A trial as the file of a tuning keeps it."""
    if isinstance(obtained, DivergedError):
        return {"overrides": overrides, "value": -np.inf, "failed": str(obtained)}
    trial = {"overrides": overrides, "value": validation_value(obtained)}
    if obtained.state is not None:
        trial["best_step"] = obtained.steps
    return trial
