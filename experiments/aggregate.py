"""From finished jobs to the numbers of a table: means, spread, intervals, gains."""

import dataclasses

import numpy as np

from experiments.jobs import Jobs
from experiments.runs import read_json
from experiments.tables import Block, Row, Table
from hierjax import data, metrics


@dataclasses.dataclass(frozen=True)
class _Cell:
    """All finished runs of one row on one block; queries of all folds joined."""

    tunings: list[dict]  # [fold]
    results: list[list[dict]]  # [seed][fold]
    values: dict[str, np.ndarray]  # measure -> [seeds, queries]
    on_true_tree: dict[str, np.ndarray]  # the same where the tree was shuffled
    rows: np.ndarray
    units: np.ndarray


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
        loaded = [dict(np.load(path.with_suffix(".npz"))) for path in folds]
        joined = {k: np.concatenate([x[k] for x in loaded]) for k in loaded[0]}
        arrays.append(joined)

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
        arrays[0]["units"],
    )


def _interval(values: np.ndarray, units: np.ndarray) -> dict:
    mean, low, high = metrics.bootstrap_interval(
        values, units=units, num_resamples=2000
    )
    return {"value": mean, "low": low, "high": high}


def _mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """Per-query mean over seeds; NaN where no seed has a value."""
    known = ~np.isnan(values)
    totals = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), totals / np.maximum(known.sum(0), 1), np.nan)


def _summary(cell: _Cell) -> dict:
    first = cell.results[0][0]
    measures = {}
    for name, values in cell.values.items():
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(values)
            per_seed = np.where(known, values, 0).sum(1) / known.sum(1)
        measures[name] = _spread(per_seed) | _interval(
            _mean_over_seeds(values), cell.units
        )
    for name in first["measures"]:
        if name not in measures:
            measures[name] = _spread(_over_folds(cell, "measures", name))
    summary = {
        "seeds": len(cell.results),
        "folds": len(cell.results[0]),
        "neighbors": [run["neighbors"] for run in cell.results[0]],
        "steps": [[run["steps"] for run in folds] for folds in cell.results],
        "measures": measures,
        "seconds": sum(run["seconds"] for folds in cell.results for run in folds)
        + sum(tuning["seconds"] for tuning in cell.tunings),
        "chosen": [tuning["chosen"]["overrides"] for tuning in cell.tunings],
    }
    if "measures_true_tree" in first:
        summary["true_tree"] = {
            name: _spread(_over_folds(cell, "measures_true_tree", name))
            for name in first["measures_true_tree"]
        }
        overlaps = [
            np.mean([run["sibling_overlap"] for run in folds]) for folds in cell.results
        ]
        summary["sibling_overlap"] = _spread(np.array(overlaps))
    return summary


def _queries(cell: _Cell, dataset: data.Dataset) -> dict:
    """What the rows of a block were tested on."""
    present = [len(set(ids[ids >= 0])) for ids in dataset.labels[cell.rows].T]
    return {
        "queries": len(cell.rows),
        "units": len(np.unique(cell.units)),
        "unit": dataset.unit_name,
        "levels": dataset.hierarchy.level_names,
        "nodes": dataset.hierarchy.nodes_per_level,
        "nodes_present": present,
    }


def _by_stratum(cell: _Cell, strata: np.ndarray, measure: str) -> dict:
    """Mean of a measure over seeds for each stratum of the queries."""
    values, strata = _mean_over_seeds(cell.values[measure]), strata[cell.rows]
    return {
        str(stratum): float(np.nanmean(values[strata == stratum]))
        for stratum in np.unique(strata)
    }


def _over_folds(cell: _Cell, key: str, name: str) -> np.ndarray:
    """Mean over folds for every seed; folds where it is undefined are left out."""
    values = np.array(
        [[run[key][name] for run in folds] for folds in cell.results], dtype=float
    )
    return _mean_over_seeds(values.T)


def _spread(per_seed: np.ndarray) -> dict:
    deviation = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else float("nan")
    return {"mean": float(per_seed.mean()), "sd": deviation}


def _gains(cell: _Cell, baseline: _Cell) -> dict:
    """Per-query differences to a baseline on the same queries, averaged over seeds.

    A row trained on a shuffled tree is compared on the true one.
    """
    order, other = np.argsort(cell.rows), np.argsort(baseline.rows)
    if not np.array_equal(cell.rows[order], baseline.rows[other]):
        raise ValueError("the two cells were not tested on the same queries")
    return {
        name: _interval(
            _mean_over_seeds(values)[order]
            - _mean_over_seeds(baseline.values[name])[other],
            cell.units[order],
        )
        for name, values in (cell.on_true_tree or cell.values).items()
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
        seeds = seed_list or list(range(block.seeds))
        cells = {row.name: _load_cell(jobs, block, row, seeds) for row in table.rows}
        finished = {name: cell for name, cell in cells.items() if cell is not None}
        rows = {name: _summary(cell) for name, cell in finished.items()}
        for name, cell in finished.items():
            rows[name]["gain"] = {
                baseline: _gains(cell, finished[baseline])
                for baseline in table.baselines
                if baseline in finished and baseline != name
            }
        content = {
            "name": block.name,
            "note": block.note,
            "published": block.published,
            "absent": jobs.data_problem(block, table.rows[0]) is not None,
            "rows": rows,
        }
        if finished:
            dataset = jobs.load(block, table.rows[0])
            content |= _queries(next(iter(finished.values())), dataset)
            finest = f"knn/{dataset.hierarchy.level_names[-1]}"
            if block.strata is not None:
                content["by_stratum"] = {
                    name: _by_stratum(cell, block.strata(), finest)
                    for name, cell in finished.items()
                }
        blocks.append(content)
    return {
        "table": table.name,
        "title": table.title,
        "note": table.note,
        "baselines": table.baselines,
        "row_names": [row.name for row in table.rows],
        "trials": {row.name: len(row.grid) for row in table.rows},
        "blocks": blocks,
    }
