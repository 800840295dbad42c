"""The work behind a table: tune each cell on validation, then run its seeds.

Every job writes one file when it is done, so that a table continues where it was cut
off and its rows can be computed by different processes. A row and its selections have
jobs of their own, done together: their trainings are shared.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping

import numpy as np

from experiments.papers.tables import Block, Row, scaled_experiment, trials
from experiments.runs.files import plain, read_json, write_json
from experiments.runs.obtaining import Obtained
from experiments.runs.probing import PROBE
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from experiments.settings.loading import load_data
from experiments.tables.measured import measure, validation_value
from experiments.tables.sharing import groups, obtain_each
from hierjax import data, options
from hierjax.errors import DivergedError, MissingDataError, UserError
from hierjax.objectives import Input


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

    def run(self, block: Block, row: Row, seeds: list[int]) -> None:
        """Do what is missing of one cell, and of those of its selections."""
        rows = {selected.name: selected for selected in row.selected()}
        for fold in range(block.folds):
            tunings = self._tunings(block, rows, fold)
            for seed in seeds:
                self._finals(block, rows, fold, seed, tunings)

    def _tunings(self, block: Block, rows: dict[str, Row], fold: int) -> dict:
        """The tuning of each row, by its name."""
        tuned_on = block.tuned_on or block
        return self._once(
            {
                name: _Job(
                    self.tuning_path(block, row, fold),
                    self._tuning_settings(tuned_on, row),
                )
                for name, row in rows.items()
            },
            lambda missing: self._tune(
                tuned_on, {name: rows[name] for name in missing}, fold
            ),
        )

    def _finals(
        self, block: Block, rows: dict[str, Row], fold: int, seed: int, tunings: dict
    ) -> None:
        """Train each row as it was tuned and measure it on the test split."""
        experiments = {
            name: self._final_experiment(block, row, fold, seed, tunings[name])
            for name, row in rows.items()
        }
        measured_as = self._measured_as(block)
        jobs = {
            name: _Job(
                self.result_path(block, row, fold, seed),
                {"experiment": _record(experiments[name]), **measured_as},
            )
            for name, row in rows.items()
        }

        def work(missing: list[str]) -> dict[str, dict]:
            results = {}
            found = obtain_each({name: experiments[name] for name in missing})
            for name, obtained in found.items():
                if isinstance(obtained, DivergedError):
                    raise obtained
                result, arrays = measure(
                    self.measured,
                    obtained,
                    neighbors=tunings[name]["neighbors"],
                    targets=block.targets,
                )
                np.savez_compressed(jobs[name].path.with_suffix(".npz"), **arrays)
                results[name] = {"steps": obtained.steps, **result}
            return results

        for names in groups(experiments):
            self._once({name: jobs[name] for name in names}, work)

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
        jobs: dict[str, "_Job"],
        work: Callable[[list[str]], dict[str, dict]],
    ) -> dict[str, dict]:
        """The results of jobs that share their work, from their files if they have any.

        Args:
          jobs: by name.
          work: does those of some names; its seconds are divided among them.
        """
        results = {name: job.stored() for name, job in jobs.items()}
        missing = [name for name, result in results.items() if result is None]
        if not missing:
            return results
        for name in missing:
            jobs[name].path.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        done = work(missing)
        seconds = (time.monotonic() - start) / len(missing)
        for name, result in done.items():
            path = jobs[name].path
            results[name] = result | {
                "settings": jobs[name].settings,
                "seconds": seconds,
            }
            write_json(path, results[name])
            where = path.relative_to(self.folder).with_suffix("")
            print(f"{where}  {seconds:.1f} s", flush=True)
        return results

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
            "base": _record(self._experiment(block, row, 0, {})),
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


@dataclasses.dataclass(frozen=True)
class _Job:
    """A file and the settings that its result depends on."""

    path: pathlib.Path
    settings: dict

    def stored(self) -> dict | None:
        """The result if it was done with these settings, None if it was not done."""
        if not self.path.exists():
            return None
        result = read_json(self.path)
        if not _same_settings(result["settings"], plain(self.settings)):
            raise UserError(
                f"{self.path} was computed with other settings than now; choose "
                "another --workdir, or remove it to compute it again"
            )
        return result


def _trial(overrides: Mapping, obtained: Obtained | DivergedError) -> dict:
    """A trial as the file of a tuning keeps it."""
    if isinstance(obtained, DivergedError):
        return {"overrides": overrides, "value": -np.inf, "failed": str(obtained)}
    trial = {"overrides": overrides, "value": validation_value(obtained)}
    if obtained.state is not None:
        trial["best_step"] = obtained.steps
    return trial


def _record(experiment: Experiment) -> dict:
    """What decides a job's result; where the data lie does not."""
    return formats.to_record(experiment) | {"data_dir": ""}


def _same_settings(stored: dict, wanted: dict) -> bool:
    """Whether two jobs are the same, whichever version wrote the first."""
    if stored.keys() != wanted.keys():
        return False
    if "experiment" in wanted:
        held, now = (formats.from_record(x["experiment"]) for x in (stored, wanted))
        if "format" not in stored["experiment"] and isinstance(now.method, Input):
            # In which neighbours of inputs were searched was in the tuning alone.
            now = dataclasses.replace(now, method=Input())
        return held == now and all(
            stored[key] == wanted[key] for key in wanted if key != "experiment"
        )
    return _trials(stored) == _trials(wanted)


def _trials(settings: dict) -> list[Experiment]:
    """The settings of a tuning as experiments, the cell before it first."""
    base = formats.from_record(settings["base"])
    overrides = map(formats.overrides_of_today, settings["grid"])
    return [base, *(options.changed(base, each) for each in overrides)]
