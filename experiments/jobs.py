"""The work behind a table: tune each cell on validation, then run its seeds.

Every job writes one file when it is done, so that a table continues where it was cut
off and its rows can be computed by different processes.
"""

import dataclasses
import functools
import pathlib
import time

import numpy as np

from experiments.experiment import (
    Experiment,
    embed_input,
    load_data,
    make_model,
    make_objective,
    whole_tuples,
)
from experiments.runs import plain, read_json, write_json
from experiments.tables import Block, Row, scaled_experiment
from hierjax import data, evaluation, training
from hierjax.errors import DivergedError, MissingDataError, UserError


@dataclasses.dataclass(frozen=True)
class Jobs:
    """Jobs under a folder; tables that share a cell share its jobs.

    Attributes:
      folder: where results of jobs go.
      scale: key of `tables.SCALES`.
      data_dir: folder of downloaded data.
    """

    folder: pathlib.Path
    scale: str
    data_dir: str

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
        """Do what is missing of one cell."""
        for fold in range(block.folds):
            tuning = self._once(
                self.tuning_path(block, row, fold),
                {"grid": row.grid, "base": self._base(block.tuned_on or block, row)},
                functools.partial(self._tune, block.tuned_on or block, row, fold),
            )
            for seed in seeds:
                experiment = self._final_experiment(block, row, fold, seed, tuning)
                path = self.result_path(block, row, fold, seed)
                self._once(
                    path,
                    {"experiment": _record(experiment)},
                    functools.partial(self._final, experiment, tuning, path),
                )

    def tuning_path(self, block: Block, row: Row, fold: int) -> pathlib.Path:
        """File of the trials of one fold and the choice among them."""
        return self._fold(block.tuned_on or block, row, fold) / "tuning.json"

    def result_path(self, block: Block, row: Row, fold: int, seed: int) -> pathlib.Path:
        """File of one final run; its values per query lie beside it as ``.npz``."""
        return self._fold(block, row, fold) / f"seed{seed}.json"

    def _fold(self, block: Block, row: Row, fold: int) -> pathlib.Path:
        return self.folder / block.name / row.name / f"fold{fold}"

    def _once(self, path: pathlib.Path, settings: dict, job) -> dict:
        """The result of a job, from its file if it was done with these settings."""
        settings = plain(settings)
        if path.exists():
            result = read_json(path)
            if result["settings"] != settings:
                raise UserError(
                    f"{path} was computed with other settings than now; choose "
                    "another --workdir, or remove it to compute it again"
                )
            return result
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        result = job()
        result |= {"settings": settings, "seconds": time.monotonic() - start}
        write_json(path, result)
        where = path.relative_to(self.folder).with_suffix("")
        print(f"{where}  {result['seconds']:.1f} s", flush=True)
        return result

    def _experiment(self, block: Block, row: Row, fold: int, **changes) -> Experiment:
        base = scaled_experiment(block, row, self.scale, self.data_dir)
        return dataclasses.replace(base, fold=fold, **changes)

    def _base(self, block: Block, row: Row) -> dict:
        return _record(self._experiment(block, row, 0))

    def _final_experiment(
        self, block: Block, row: Row, fold: int, seed: int, tuning: dict
    ) -> Experiment:
        """The chosen setting with a seed of its own."""
        chosen = tuning["chosen"]
        changes = _settable(chosen["overrides"]) | {"seed": seed, "refit": block.refit}
        if block.refit and "best_step" in chosen:
            changes["num_steps"] = max(chosen["best_step"], 1)
        return self._experiment(block, row, fold, **changes)

    def _tune(self, block: Block, row: Row, fold: int) -> dict:
        """Try the grid with seed 0; keep the best on validation."""
        trials, best_embed = [], None
        for overrides in row.grid:
            experiment = self._experiment(block, row, fold, **_settable(overrides))
            dataset = load_data(experiment)
            trial = {"overrides": overrides}
            if experiment.loss == "none":
                embed, distance = embed_input(dataset), overrides["distance"]
                neighbors = evaluation.choose_neighbors(
                    embed, dataset, distance=distance
                )
                trial["value"] = evaluation.evaluate(
                    embed,
                    dataset,
                    split="validation",
                    neighbors=neighbors,
                    distance=distance,
                ).measures["knn/average"]
            else:
                try:
                    fitted = _fit(experiment, dataset)
                except DivergedError as error:
                    trials.append(trial | {"value": -np.inf, "failed": str(error)})
                    continue
                embed, distance = fitted.embed, "cosine"
                trial["value"] = fitted.best_value
                trial["best_step"] = fitted.best_step
            if all(trial["value"] > other["value"] for other in trials):
                best_embed = (embed, dataset, distance)
            trials.append(trial)
        if best_embed is None:
            raise UserError(
                f"{block.name}/{row.name}: every trial of the tuning failed"
            )
        embed, dataset, distance = best_embed
        chosen = max(trials, key=lambda trial: trial["value"])
        return {
            "trials": trials,
            "chosen": chosen,
            "neighbors": evaluation.choose_neighbors(embed, dataset, distance=distance),
        }

    def _final(self, experiment: Experiment, tuning: dict, path: pathlib.Path) -> dict:
        """Train and measure on the test split; values per query go beside ``path``."""
        dataset = load_data(experiment)
        distance, steps = "cosine", 0
        if experiment.loss == "none":
            embed, distance = (
                embed_input(dataset),
                tuning["chosen"]["overrides"]["distance"],
            )
        else:
            fitted = _fit(experiment, dataset)
            embed, steps = fitted.embed, fitted.best_step
        options = {"neighbors": tuning["neighbors"], "distance": distance}
        measured = evaluation.evaluate(embed, dataset, **options)
        values = {"rows": measured.rows}
        values |= {f"value/{k}": v for k, v in measured.per_query.items()}
        result = {
            "steps": steps,
            "neighbors": measured.neighbors,
            "measures": measured.measures,
        }
        if experiment.shuffle_hierarchy:
            plain = dataclasses.replace(experiment, shuffle_hierarchy=False)
            true_data = load_data(plain)
            on_true = evaluation.evaluate(embed, true_data, **options)
            result["measures_true_tree"] = on_true.measures
            values |= {f"true_tree/{k}": v for k, v in on_true.per_query.items()}
            result["sibling_overlap"] = true_data.hierarchy.sibling_overlap(
                dataset.hierarchy
            )
        np.savez_compressed(path.with_suffix(".npz"), **values)
        return result


def _record(experiment: Experiment) -> dict:
    """What decides a job's result; where the data lie does not."""
    return dataclasses.asdict(experiment) | {"data_dir": ""}


def _settable(overrides: dict) -> dict:
    """Overrides of an experiment; 'distance' of the input row is the measures'."""
    if "learning_rate" in overrides:
        return overrides
    return {key: value for key, value in overrides.items() if key != "distance"}


def _fit(experiment: Experiment, dataset: data.Dataset) -> training.Result:
    experiment = whole_tuples(experiment, dataset)
    return training.fit(
        make_model(experiment),
        make_objective(experiment, dataset),
        dataset,
        experiment,
        num_devices=1,
    )
