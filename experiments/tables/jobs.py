"""The work behind a table: tune each cell on validation, then run its seeds.

Every job writes one file when it is done, so that a table continues where it was cut
off and its rows can be computed by different processes.
"""

import dataclasses
import functools
import pathlib
import time

import numpy as np

from experiments.papers.tables import Block, Row, scaled_experiment, trials
from experiments.runs.files import plain, read_json, write_json
from experiments.runs.probing import PROBE, probe, probe_state
from experiments.settings.experiment import Experiment, embed_input, load_data
from experiments.settings.methods import fit, untrained_embed, whole_tuples
from hierjax import data, evaluation, training
from hierjax.errors import DivergedError, MissingDataError, UserError


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
        """Do what is missing of one cell."""
        for fold in range(block.folds):
            tuning = self._once(
                self.tuning_path(block, row, fold),
                self._tuning_settings(block.tuned_on or block, row),
                functools.partial(self._tune, block.tuned_on or block, row, fold),
            )
            for seed in seeds:
                experiment = self._final_experiment(block, row, fold, seed, tuning)
                path = self.result_path(block, row, fold, seed)
                self._once(
                    path,
                    {"experiment": _record(experiment), **self._measured_as(block)},
                    functools.partial(self._final, block, experiment, tuning, path),
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

    def _tuning_settings(self, block: Block, row: Row) -> dict:
        return {
            "grid": trials(block, row, self.scale),
            "base": _record(self._experiment(block, row, 0)),
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
        changes = _settable(chosen["overrides"]) | {"seed": seed, "refit": block.refit}
        if block.refit and "best_step" in chosen:
            changes["num_steps"] = max(chosen["best_step"], 1)
        return self._experiment(block, row, fold, **changes)

    def _tune(self, block: Block, row: Row, fold: int) -> dict:
        """Try the grid with seed 0; keep the best on validation."""
        grid = trials(block, row, self.scale)
        if len(grid) == 1:
            return {"trials": [], "chosen": {"overrides": grid[0]}, "neighbors": None}
        tried, best = [], None
        for overrides in grid:
            experiment = self._experiment(block, row, fold, **_settable(overrides))
            trial = {"overrides": overrides}
            try:
                obtained = _obtain(experiment, overrides.get("distance", "cosine"))
            except DivergedError as error:
                tried.append(trial | {"value": -np.inf, "failed": str(error)})
                continue
            trial["value"] = obtained.validation_value()
            if experiment.loss != "none":
                trial["best_step"] = obtained.steps
            if all(trial["value"] > other["value"] for other in tried):
                best = obtained
            tried.append(trial)
        if best is None:
            raise UserError(
                f"{block.name}/{row.name}: every trial of the tuning failed"
            )
        chosen = max(tried, key=lambda trial: trial["value"])
        counted = self.measured == "neighbors"
        return {
            "trials": tried,
            "chosen": chosen,
            "neighbors": best.neighbors() if counted else None,
        }

    def _final(
        self, block: Block, experiment: Experiment, tuning: dict, path: pathlib.Path
    ) -> dict:
        """Train and measure on the test split; arrays go beside ``path``."""
        distance = tuning["chosen"]["overrides"].get("distance", "cosine")
        obtained = _obtain(experiment, distance)
        if self.measured == "classes":
            result, arrays = _measure_classes(obtained)
        elif self.measured == "probes":
            result, arrays = _measure_probes(obtained, block.targets)
        else:
            result, arrays = _measure_neighbors(obtained, tuning["neighbors"])
        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        return {"steps": obtained.steps, **result}


@dataclasses.dataclass(frozen=True)
class _Obtained:
    """An embedding and where it is from.

    Attributes:
      experiment: what was run.
      dataset: its data.
      embed: the embedding.
      distance: in which its neighbours are searched.
      steps: of the best state, 0 without training.
      best_value: on validation, NaN without training.
      classifier: where the experiment has one.
      state: that was trained, if any was.
      guarded: mean share of rows whose masks had to be mended, over the training; NaN
        where none can be.
    """

    experiment: Experiment
    dataset: data.Dataset
    embed: evaluation.Embed
    distance: str
    steps: int = 0
    best_value: float = float("nan")
    classifier: evaluation.Classifier | None = None
    state: training.State | None = None
    guarded: float = float("nan")

    def neighbors(self) -> tuple[int, ...]:
        """Numbers of neighbours that are best on validation."""
        return evaluation.choose_neighbors(
            self.embed, self.dataset, distance=self.distance
        )

    def validation_value(self) -> float:
        """What trials are compared by."""
        if self.experiment.loss != "none":
            return self.best_value
        measured = evaluation.evaluate(
            self.embed,
            self.dataset,
            split="validation",
            neighbors=self.neighbors(),
            distance=self.distance,
        )
        return measured.measures["knn/average"]


def _obtain(experiment: Experiment, distance: str) -> _Obtained:
    dataset = load_data(experiment)
    experiment = whole_tuples(experiment, dataset)
    if experiment.loss == "none":
        return _Obtained(experiment, dataset, embed_input(dataset), distance)
    if experiment.loss == "untrained":
        embed = untrained_embed(experiment, dataset)
        return _Obtained(experiment, dataset, embed, "cosine")
    fitted = fit(experiment, dataset, num_devices=1)
    return _Obtained(
        experiment,
        dataset,
        fitted.embed,
        "cosine",
        fitted.best_step,
        fitted.best_value,
        fitted.classifier,
        fitted.state,
        float(np.mean([r.get("guarded", np.nan) for r in fitted.records])),
    )


def _measure_neighbors(
    obtained: _Obtained, neighbors: tuple[int, ...]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Measures of the embedding, on the true tree too where it was shuffled."""
    options = {"neighbors": neighbors, "distance": obtained.distance}
    measured = evaluation.evaluate(obtained.embed, obtained.dataset, **options)
    arrays = {"rows": measured.rows}
    arrays |= {f"value/{k}": v for k, v in measured.per_query.items()}
    result = {"neighbors": measured.neighbors, "measures": measured.measures}
    experiment = obtained.experiment
    if experiment.shuffle_hierarchy:
        plain = dataclasses.replace(experiment, shuffle_hierarchy=False)
        true_data = load_data(plain)
        on_true = evaluation.evaluate(obtained.embed, true_data, **options)
        result["measures_true_tree"] = on_true.measures
        arrays |= {f"true_tree/{k}": v for k, v in on_true.per_query.items()}
        result["sibling_overlap"] = true_data.hierarchy.sibling_overlap(
            obtained.dataset.hierarchy
        )
    return result, arrays


def _measure_classes(obtained: _Obtained) -> tuple[dict, dict[str, np.ndarray]]:
    """Measures of classes and their representatives."""
    measured = evaluation.evaluate_classes(
        obtained.embed,
        obtained.dataset,
        classifier=obtained.classifier,
        num_permutations=999,
    )
    result = {
        "measures": measured.measures,
        "untrained_classes": measured.untrained_classes,
        "untested_classes": measured.untested_classes,
    }
    arrays = {f"class/{k}": v for k, v in measured.per_class.items()}
    arrays |= {
        f"representatives/{k}": v.astype(np.float32)
        for k, v in measured.representatives.items()
    }
    return result, arrays


def _measure_probes(
    obtained: _Obtained, targets: tuple[str, ...]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Linear and nearest-neighbour probes of the frozen encoder."""
    experiment, dataset = obtained.experiment, obtained.dataset
    if obtained.state is None:
        probed = probe(obtained.embed, dataset, targets=targets)
    else:
        probed = probe_state(experiment, dataset, obtained.state, targets=targets)
    arrays = {"rows": probed.rows}
    arrays |= {f"kept/{k}": v.astype(np.float16) for k, v in probed.kept.items()}
    arrays |= {f"value/{k}": v for k, v in probed.per_query.items()}
    measures = probed.measures | {
        "guarded": obtained.guarded,
        "validation": obtained.best_value,
    }
    result = {"neighbors": [], "measures": measures, "chosen": probed.chosen}
    return result, arrays


def _record(experiment: Experiment) -> dict:
    """What decides a job's result; where the data lie does not."""
    return dataclasses.asdict(experiment) | {"data_dir": ""}


def _settable(overrides: dict) -> dict:
    """Overrides of an experiment; 'distance' of the input row is the measures'."""
    return {key: value for key, value in overrides.items() if key != "distance"}
