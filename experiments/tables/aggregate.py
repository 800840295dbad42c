"""From finished jobs to the numbers of a table: means, spread, intervals, gains."""

import dataclasses
import pathlib

import numpy as np

from experiments.papers.tables import (
    Block,
    Row,
    Table,
    cell_rows,
    cell_seeds,
    trials,
)
from experiments.runs.files import read_json
from experiments.tables.jobs import Jobs
from hierjax import data, metrics


@dataclasses.dataclass(frozen=True)
class _Cell:
    """All finished runs of one row on one block; queries of all folds joined.

    Queries are in the order of their rows, so that cells of a block are paired.
    """

    tunings: list[dict]  # [fold]
    results: list[list[dict]]  # [seed][fold]
    values: dict[str, np.ndarray]  # measure -> [seeds, queries]
    on_true_tree: dict[str, np.ndarray]  # the same where the tree was shuffled
    rows: np.ndarray


def _load_cell(jobs: Jobs, block: Block, row: Row, seeds: list[int]) -> _Cell | None:
    """The seeds of a cell that are finished in every fold, None if there are none."""
    paths = [
        [jobs.result_path(block, row, fold, seed) for fold in range(block.folds)]
        for seed in seeds
    ]
    paths = [folds for folds in paths if all(path.exists() for path in folds)]
    if not paths:
        return None
    arrays = []
    for folds in paths:
        loaded = [_of_queries(path.with_suffix(".npz")) for path in folds]
        joined = {k: np.concatenate([x[k] for x in loaded]) for k in loaded[0]}
        order = np.argsort(joined["rows"])
        arrays.append({key: values[order] for key, values in joined.items()})

    def stacked(prefix):
        return {
            name.removeprefix(prefix): np.stack([x[name] for x in arrays])
            for name in arrays[0]
            if name.startswith(prefix)
        }

    return _Cell(
        [read_json(jobs.tuning_path(block, row, f)) for f in range(block.folds)],
        [[read_json(path) for path in folds] for folds in paths],
        stacked("value/"),
        stacked("true_tree/"),
        arrays[0]["rows"],
    )


def _of_queries(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays of a job with a row a query, without those kept for pictures."""
    with np.load(path) as arrays:
        return {k: arrays[k] for k in arrays.files if not k.startswith("kept/")}


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of the values that are known; NaN where none is."""
    known = ~np.isnan(values)
    totals, counts = np.where(known, values, 0).sum(axis), known.sum(axis)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _spread(per_seed: np.ndarray) -> dict:
    deviation = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else float("nan")
    return {"mean": float(per_seed.mean()), "sd": deviation}


def _interval(values: np.ndarray, units: np.ndarray) -> dict:
    mean, low, high = metrics.two_way_interval(values, units=units)
    return {"value": mean, "low": low, "high": high}


def _measures(cell: _Cell, key: str, values: dict, units: np.ndarray) -> dict:
    """Mean and deviation over seeds, with the interval where queries have values."""
    measures = {
        name: _spread(_mean(of_queries, axis=1)) | _interval(of_queries, units)
        for name, of_queries in values.items()
    }
    for name in cell.results[0][0][key]:
        if name not in measures:
            folds = [[run[key][name] for run in folds] for folds in cell.results]
            measures[name] = _spread(_mean(np.array(folds, dtype=float), axis=1))
    return measures


def _summary(cell: _Cell, units: np.ndarray) -> dict:
    runs = [run for folds in cell.results for run in folds]
    summary = {
        "seeds": len(cell.results),
        "folds": len(cell.results[0]),
        "chosen": [tuning["chosen"]["overrides"] for tuning in cell.tunings],
        "neighbors": [run["neighbors"] for run in cell.results[0]],
        "steps": [[run["steps"] for run in folds] for folds in cell.results],
        "seconds": sum(job["seconds"] for job in [*runs, *cell.tunings]),
        "measures": _measures(cell, "measures", cell.values, units),
    }
    if cell.on_true_tree:
        summary["true_tree"] = _measures(
            cell, "measures_true_tree", cell.on_true_tree, units
        )
        overlaps = [
            np.mean([run["sibling_overlap"] for run in folds]) for folds in cell.results
        ]
        summary["sibling_overlap"] = _spread(np.array(overlaps))
    return summary


def _gains(cell: _Cell, baseline: _Cell, units: np.ndarray) -> dict:
    """Differences to a baseline on the same queries, seed by seed.

    A row trained on a shuffled tree is compared on the true one.
    """
    if not np.array_equal(cell.rows, baseline.rows):
        raise ValueError("the two cells were not tested on the same queries")
    seeds = min(len(cell.results), len(baseline.results))
    return {
        name: _interval(values[:seeds] - baseline.values[name][:seeds], units)
        for name, values in (cell.on_true_tree or cell.values).items()
    }


def _queries(cell: _Cell, dataset: data.Dataset, units: np.ndarray) -> dict:
    """What the rows of a block were tested on."""
    present = [len(set(ids[ids >= 0])) for ids in dataset.labels[cell.rows].T]
    return {
        "queries": len(cell.rows),
        "units": len(np.unique(units)),
        "unit": dataset.unit_name,
        "levels": dataset.hierarchy.level_names,
        "nodes": dataset.hierarchy.nodes_per_level,
        "nodes_present": present,
    }


def _by_stratum(cell: _Cell, strata: np.ndarray, measure: str) -> dict:
    """Mean of a measure over seeds for each stratum of the queries."""
    values, strata = cell.values[measure], strata[cell.rows]
    return {
        str(stratum): float(_mean(values[:, strata == stratum]))
        for stratum in np.unique(strata)
    }


def aggregate(table: Table, jobs: Jobs, seed_list: list[int] | None) -> dict:
    """Everything that is finished of a table, as plain numbers.

    Args:
      table: its definition.
      jobs: where the runs lie.
      seed_list: seeds to count; None: those of each block.
    """
    blocks = []
    for block in table.blocks:
        cells = {
            row.name: _load_cell(jobs, block, row, seed_list or cell_seeds(block, row))
            for row in cell_rows(block, table, jobs.scale)
        }
        finished = {name: cell for name, cell in cells.items() if cell is not None}
        content = {
            "name": block.name,
            "note": block.note,
            "settings": block.scales[jobs.scale] | block.fields,
            "published": block.published,
            "absent": jobs.data_problem(block, table.rows[0]) is not None,
            "rows": {},
        }
        if finished:
            dataset = jobs.load(block, table.rows[0])
            one = next(iter(finished.values()))
            units = dataset.units[one.rows]
            content |= _queries(one, dataset, units)
            for name, cell in finished.items():
                content["rows"][name] = _summary(cell, units) | {
                    "gain": {
                        baseline: _gains(cell, finished[baseline], units)
                        for baseline in table.baselines
                        if baseline in finished and baseline != name
                    }
                }
            finest = f"knn/{dataset.hierarchy.level_names[-1]}"
            if block.strata is not None:
                content["by_stratum"] = {
                    name: _by_stratum(cell, block.strata(), finest)
                    for name, cell in finished.items()
                }
        blocks.append(content)
    return {
        "table": table.name,
        "measured": table.measured,
        "title": table.title,
        "note": table.note,
        "baselines": table.baselines,
        "row_names": [row.name for row in table.rows],
        "trials": {
            row.name: max(
                (
                    len(trials(block, row, jobs.scale))
                    for block, content in zip(table.blocks, blocks, strict=True)
                    if row.name in content["rows"]
                ),
                default=len(row.grid),
            )
            for row in table.rows
        },
        "blocks": blocks,
    }
