"""Finished runs side by side: what differs, and what the differences are worth."""

import dataclasses
import functools
import pathlib

import numpy as np

from experiments.report.glossary import HIGHER, TERMS, term_of
from experiments.report.values import side_of_zero
from experiments.runs.files import PER_QUERY, check_entries, read_json
from experiments.runs.former_names import (
    CLASSES,
    NEIGHBORS,
    PROBES,
    current_name,
    current_results,
)
from experiments.runs.workdir import read_experiment
from hierjax import evaluation, metrics, options, stored, training
from hierjax.data.reading.archives import read_arrays
from hierjax.errors import UserError

_OF_THE_RUN = ("learned", "untrained", "input")
_OTHER_PARTS = (PROBES, CLASSES)
_DATA_FIELDS = ("dataset", "data_path", "hierarchy", "protocol", "fold")
_SAME_QUERIES = ("rows", "units", "labels")
_NUM_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
      name: what it is called in tables.
      config: every field of its experiment, see `hierjax.options.flat`.
      results: content of ``results.json``.
      measures: name to value and interval: those of the learned embedding, or of the
        input where nothing was learned, of the frozen encoder and of the classes.
      per_query: names of `measures` to ``[Q]``, and ``rows``, ``units`` and ``labels``
        of the queries; empty where the run kept none.
      records: of the training, possibly none.
    """

    name: str
    config: dict
    results: dict
    measures: dict[str, dict]
    per_query: dict[str, np.ndarray]
    records: list[dict]


def load_run(workdir: pathlib.Path, name: str) -> Run:
    """Read a run from its workdir.

    Raises:
      UserError: it holds no evaluated run, or one of its files is damaged.
    """
    for file in ("config.json", "results.json"):
        if not (workdir / file).exists():
            raise UserError(
                f"{workdir} holds no evaluated run: {file} is missing; run "
                f"python -m experiments.evaluate --workdir={workdir}"
            )
    config = dict(options.flat(read_experiment(workdir)))
    try:
        results, main, measures = _read_results(workdir / "results.json")
        levels = list(results["most_frequent"])
        per_query = _read_per_query(workdir / PER_QUERY, main, levels)
    except UserError as error:
        raise UserError(f"{error}; evaluate the run again") from None
    curves = workdir / "metrics.jsonl"
    records = training.read_records(curves) if curves.exists() else []
    if "records" in results:
        with stored.refused(workdir / "results.json"):
            written = training.Written(**results["records"])
            training.check_written(curves, records, written)
    return Run(name, config, results, measures, per_query, records)


def _read_results(path: pathlib.Path) -> tuple[dict, str, dict[str, dict]]:
    """All results, the part that is the run's own, and its measures."""
    content = read_json(path)
    with stored.refused(path):
        results = current_results(content)
        if type(results["split"]) is not str:
            raise UserError(f"{path} is damaged: it names no split")
        if not isinstance(results["most_frequent"], dict):
            raise UserError(f"{path} is damaged: it names no levels")
        main = next((part for part in _OF_THE_RUN if part in results), None)
        if main is None:
            raise UserError(f"{path} holds no measures")
        measures = dict(check_entries(path, results[main]["measures"]))
        for part in _OTHER_PARTS:
            measures |= check_entries(path, results.get(part, {}).get("measures", {}))
    return results, main, measures


def _read_per_query(
    path: pathlib.Path, main: str, levels: list[str]
) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    arrays = read_arrays(path)
    sources = {main: NEIGHBORS} | {part: part for part in _OTHER_PARTS}
    with stored.refused(path):
        found = {key: arrays.pop(key) for key in _SAME_QUERIES}
        count = len(found["rows"])
        for key, values in (*found.items(), *arrays.items()):
            needed = "iuf" if key in arrays else "iu"
            if values.shape[:1] != (count,) or values.dtype.kind not in needed + "b":
                raise UserError(
                    f"{path} is damaged: array {key!r} is {values.dtype} "
                    f"{list(values.shape)}, and there are {count} queries"
                )
        for key, values in arrays.items():
            part, _, name = key.partition("/")
            if part in sources:
                found[current_name(name, levels, sources[part])] = values
    return found


def same_queries(first: Run, second: Run) -> bool:
    """Whether both runs kept values of the same rows of the same data set."""
    if not (first.per_query and second.per_query):
        return False
    return all(
        first.config.get(field) == second.config.get(field) for field in _DATA_FIELDS
    ) and all(
        np.array_equal(first.per_query[key], second.per_query[key])
        for key in _SAME_QUERIES
    )


def differing_fields(runs: list[Run]) -> dict[str, list]:
    """The fields of the configuration that differ, with the value in every run."""
    fields = dict.fromkeys(field for run in runs for field in run.config)
    found = {field: [run.config.get(field) for run in runs] for field in fields}
    return {
        field: values
        for field, values in found.items()
        if any(value != values[0] for value in values)
    }


def warnings(runs: list[Run]) -> list[str]:
    """What keeps runs from being compared query by query, a sentence each."""
    first, found = runs[0], []
    for run in runs[1:]:
        about = f"{run.name} and {first.name}"
        fields = [f for f in _DATA_FIELDS if run.config.get(f) != first.config.get(f)]
        if fields:
            found.append(f"{about} differ in {', '.join(fields)}")
        elif run.results["split"] != first.results["split"]:
            found.append(f"{about} are measured on different splits")
        elif not (run.per_query and first.per_query):
            missing = run.name if first.per_query else first.name
            found.append(f"{missing} kept no values of single queries: evaluate again")
        elif not same_queries(first, run):
            found.append(f"{about} have different queries")
    return [f"{text}; no paired test." for text in dict.fromkeys(found)]


@functools.lru_cache(maxsize=4096)
def difference(first: Run, second: Run, measure: str) -> dict | None:
    """Mean of ``second - first`` over queries, an entry with its bootstrap interval.

    Paired: the same queries, drawn together, by units. None where the queries are not
    the same or the measure is no mean over them.
    """
    if not same_queries(first, second):
        return None
    if measure not in first.per_query or measure not in second.per_query:
        return None
    value, low, high = metrics.bootstrap_interval(
        _values_of(second, measure) - _values_of(first, measure),
        units=first.per_query["units"],
        num_resamples=_NUM_RESAMPLES,
    )
    return {"value": value, "low": low, "high": high}


def _values_of(run: Run, measure: str) -> np.ndarray:
    """Values of the queries by which a measure's interval is drawn."""
    named = {k: v for k, v in run.per_query.items() if k not in _SAME_QUERIES}
    return evaluation.values_of(named, measure)


def best(runs: list[Run], measure: str) -> int | None:
    """The run that is better than every other one by the paired intervals.

    Returns:
      Its place, or None where no direction is better, or any interval between it and
      another run is missing or includes 0.
    """
    term = TERMS.get(term_of(measure)[0])
    if term is None or not term.better or len(runs) < 2:
        return None
    values = [run.measures.get(measure, {}).get("value") for run in runs]
    if any(value is None for value in values):
        return None
    sign = 1 if term.better == HIGHER else -1
    leader = max(range(len(runs)), key=lambda k: sign * values[k])
    for k, run in enumerate(runs):
        if k != leader:
            if side_of_zero(difference(run, runs[leader], measure)) != sign:
                return None
    return leader
