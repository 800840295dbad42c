"""From finished jobs to the numbers of a table: means, spread, intervals, differences.

What is drawn anew for an interval is the unit: the queries' units together with the
seeds (a two-way bootstrap), the seeds alone (Student's t), or the classes (a
permutation test, which gives p instead of an interval).
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np

from experiments.papers.layout import Block, Row, Table, cell_rows, cell_seeds, trials
from experiments.runs.files import read_json
from experiments.runs.former_names import current_names
from experiments.tables.formats import FORMAT
from experiments.tables.jobs import Jobs
from experiments.tables.stored import code_of, failure_of
from hierjax import data, metrics
from hierjax.errors import MissingDataError, UserError

QUERY, CLASS, SEED = "value", "class", "seed"
UNITS = {"neighbors": (QUERY,), "probes": (QUERY,), "classes": (SEED, CLASS)}
"""What is drawn in tables of each kind; the first gives the rows their intervals."""

_TRUE_TREE = "true_tree"
_ARRAYS = (QUERY, CLASS, _TRUE_TREE)
"""Beginnings of the names of a job's arrays; the others are kept for pictures."""

_Rename = Callable[[dict], dict]


@dataclasses.dataclass(frozen=True)
class _Cell:
    """All finished seeds of one row on one block; queries of all folds joined.

    Queries are in the order of their rows, so that cells of a block are paired. Under
    `_TRUE_TREE` are their values where training had seen a shuffled tree.
    """

    seeds: list[int]
    tunings: list[dict]  # [fold]
    results: list[list[dict]]  # [seed][fold]
    values: dict[str, dict[str, np.ndarray]]  # unit -> measure -> [seeds, of the unit]
    rows: np.ndarray | None  # of the queries, where they were kept


def _load_cell(
    jobs: Jobs, block: Block, row: Row, seeds: list[int], rename: _Rename
) -> _Cell | None:
    """The seeds of a cell that are finished in every fold, None if there are none."""
    folds = range(block.folds)
    paths = {
        seed: [jobs.result_path(block, row, fold, seed) for fold in folds]
        for seed in seeds
    }
    paths = {s: files for s, files in paths.items() if all(f.exists() for f in files)}
    tuning_paths = [jobs.tuning_path(block, row, fold) for fold in folds]
    if not paths or not all(path.exists() for path in tuning_paths):
        return None
    results = [[read_json(path) for path in files] for files in paths.values()]
    for run in (run for of_seed in results for run in of_seed):
        run |= {key: rename(run[key]) for key in run if key.startswith("measures")}
    arrays, rows = zip(*(_arrays(files) for files in paths.values()), strict=True)
    values = {
        prefix: rename(
            {
                name.removeprefix(f"{prefix}/"): np.stack([one[name] for one in arrays])
                for name in arrays[0]
                if name.startswith(f"{prefix}/")
            }
        )
        for prefix in _ARRAYS
    }
    values[SEED] = {
        name: _per_seed(results, "measures", name)[:, None]
        for name in results[0][0]["measures"]
    }
    tunings = [read_json(path) for path in tuning_paths]
    return _Cell(list(paths), tunings, results, values, rows[0])


def _arrays(
    files: list[pathlib.Path],
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Arrays of one seed with its folds joined, and the rows of its queries."""
    folds = []
    for path in files:
        with np.load(path.with_suffix(".npz")) as arrays:
            kept = [k for k in arrays.files if k.split("/")[0] in (*_ARRAYS, "rows")]
            folds.append({key: arrays[key] for key in kept})
    joined = {key: np.concatenate([fold[key] for fold in folds]) for key in folds[0]}
    if "rows" not in joined:
        return joined, None
    order = np.argsort(joined["rows"])
    joined = {key: values[order] for key, values in joined.items()}
    return joined, joined.pop("rows")


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of the values that are known; NaN where none is."""
    known = ~np.isnan(values)
    totals, counts = np.where(known, values, 0).sum(axis), known.sum(axis)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _per_seed(results: list[list[dict]], key: str, measure: str) -> np.ndarray:
    """A measure ``[seeds]``, the mean of its folds; NaN where no run has it."""
    folds = [[run[key].get(measure) for run in of_seed] for of_seed in results]
    return _mean(np.array(folds, np.float64), axis=1)


def _spread(per_seed: np.ndarray) -> dict:
    deviation = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else float("nan")
    return {"value": float(per_seed.mean()), "sd": deviation}


def _resampled(unit: str, values: np.ndarray, groups: np.ndarray | None) -> dict:
    """What drawing a unit anew says of values ``[seeds, of the unit]``.

    Args:
      unit: `QUERY`, `CLASS` or `SEED`.
      values: of one row, or differences of two.
      groups: ``[queries]`` what queries are drawn by, such as their instrument.
    """
    if unit == CLASS:
        return {"p": metrics.sign_flip_test(values.mean(0))}
    if unit == SEED:
        _, low, high = metrics.seed_interval(values[:, 0])
        return _spread(values[:, 0]) | {"low": low, "high": high}
    value, low, high = metrics.two_way_interval(values, units=groups)
    return {"value": value, "low": low, "high": high}


def _measures(
    cell: _Cell, unit: str, groups: np.ndarray | None, key: str = "measures"
) -> dict:
    """Mean and deviation over seeds, with an interval where the unit has values."""
    values = cell.values[unit if key == "measures" else _TRUE_TREE]
    found = {}
    for name in cell.results[0][0][key]:
        if name in values:
            spread = _spread(_mean(values[name], axis=1))
            found[name] = _resampled(unit, values[name], groups) | spread
        else:
            found[name] = _spread(_per_seed(cell.results, key, name))
    return found


def _summary(cell: _Cell, unit: str, groups: np.ndarray | None) -> dict:
    runs = [run for folds in cell.results for run in folds]
    summary = {
        "seeds": len(cell.seeds),
        "folds": len(cell.tunings),
        "chosen": [tuning["chosen"]["overrides"] for tuning in cell.tunings],
        "neighbors": [run.get("neighbors", []) for run in cell.results[0]],
        "steps": [[run["steps"] for run in folds] for folds in cell.results],
        "seconds": sum(job["seconds"] for job in [*runs, *cell.tunings]),
        "measures": _measures(cell, unit, groups),
    }
    if cell.values[_TRUE_TREE]:
        summary[_TRUE_TREE] = _measures(cell, unit, groups, "measures_true_tree")
        overlaps = [[run["sibling_overlap"] for run in folds] for folds in cell.results]
        summary["sibling_overlap"] = _spread(np.mean(overlaps, axis=1))
    return summary


def _comparison(
    cell: _Cell, other: _Cell, units: tuple[str, ...], groups: np.ndarray | None
) -> dict:
    """Differences on the same queries, on the seeds that both cells have.

    A row trained on a shuffled tree is compared on the true one.
    """
    if not np.array_equal(cell.rows, other.rows):
        raise UserError("the two cells were not tested on the same queries")
    shared = [seed for seed in cell.seeds if seed in other.seeds]
    mine, theirs = ([c.seeds.index(seed) for seed in shared] for c in (cell, other))
    differences: dict[str, dict] = {}
    for unit in units if shared else ():
        compared, baseline = cell.values[unit], other.values[unit]
        if unit == QUERY:
            compared = cell.values[_TRUE_TREE] or compared
        for name in (name for name in compared if name in baseline):
            difference = compared[name][mine] - baseline[name][theirs]
            found = _resampled(unit, difference, groups)
            differences[name] = differences.get(name, {}) | found
    return {"seeds": len(shared), "differences": differences}


def _codes(cell: _Cell) -> list[str]:
    """The code that computed the jobs of a cell."""
    runs = [*cell.tunings, *(run for folds in cell.results for run in folds)]
    return sorted({code_of(run) for run in runs})


def _tested_on(cell: _Cell, dataset: data.Dataset) -> dict:
    """What the rows of a block were tested on."""
    content = {
        "levels": dataset.hierarchy.level_names,
        "nodes": dataset.hierarchy.nodes_per_level,
        "splits": {name: len(rows) for name, rows in dataset.splits.items()},
    }
    for key in ("untrained_classes", "untested_classes"):
        content[key] = cell.results[0][0].get(key, [])
    if cell.rows is not None:
        labels = dataset.labels[cell.rows]
        content |= {
            "queries": len(cell.rows),
            "units": len(np.unique(dataset.units[cell.rows])),
            "unit": dataset.unit_name,
            "nodes_present": [len(set(ids[ids >= 0])) for ids in labels.T],
        }
    return content


def _by_stratum(cell: _Cell, strata: np.ndarray, measure: str) -> dict:
    """Mean of a measure over seeds for each stratum of the queries."""
    values, strata = cell.values[QUERY][measure], strata[cell.rows]
    return {
        str(stratum): float(_mean(values[:, strata == stratum]))
        for stratum in np.unique(strata)
    }


def _failures(jobs: Jobs, block: Block, row: Row, seeds: list[int]) -> dict[str, str]:
    """Why jobs of a row have no result, by their places in its folder."""
    found = {}
    for fold in range(block.folds):
        paths = [jobs.tuning_path(block, row, fold)]
        paths += [jobs.result_path(block, row, fold, seed) for seed in seeds]
        found |= {f"fold{fold}/{path.stem}": failure_of(path) for path in paths}
    return {place: why for place, why in found.items() if why is not None}


def _block(table: Table, block: Block, jobs: Jobs, seed_list: list[int] | None) -> dict:
    rows = cell_rows(block, table, jobs.scale)
    content = {
        "name": block.name,
        "note": block.note,
        "settings": block.scales[jobs.scale] | block.fields,
        "published": dataclasses.asdict(block.published),
        "absent": False,
        "rows": {},
        "comparisons": [],
        "failed": {},
        "codes": {},
    }
    try:
        dataset = jobs.load(block, rows[0])
    except MissingDataError:
        return content | {"absent": True}
    levels = dataset.hierarchy.level_names
    rename = functools.partial(current_names, levels=levels, source=jobs.measured)
    seeds = {row.name: seed_list or cell_seeds(block, row) for row in rows}
    failed = {row.name: _failures(jobs, block, row, seeds[row.name]) for row in rows}
    content["failed"] = {name: found for name, found in failed.items() if found}
    cells = {
        row.name: _load_cell(jobs, block, row, seeds[row.name], rename) for row in rows
    }
    cells = {name: cell for name, cell in cells.items() if cell is not None}
    content["codes"] = {name: _codes(cell) for name, cell in cells.items()}
    if not cells:
        return content
    units, one = UNITS[table.measured], next(iter(cells.values()))
    groups = None if one.rows is None else dataset.units[one.rows]
    content |= _tested_on(one, dataset)
    content["rows"] = {
        name: _summary(cell, units[0], groups) for name, cell in cells.items()
    }
    content["comparisons"] = [
        {"row": row.name, "against": name}
        | _comparison(cells[row.name], cells[name], units, groups)
        for row in rows
        for name in dict.fromkeys((*table.baselines, *row.against))
        if name != row.name and row.name in cells and name in cells
    ]
    if block.strata is not None:
        content["by_stratum"] = {
            name: _by_stratum(cell, block.strata(), f"knn/{levels[-1]}")
            for name, cell in cells.items()
        }
    return content


def aggregate(table: Table, jobs: Jobs, seed_list: list[int] | None) -> dict:
    """Everything that is finished of a table, as plain numbers.

    Args:
      table: its definition.
      jobs: where the runs lie.
      seed_list: seeds to count; None: those of each cell.
    """
    blocks = [_block(table, block, jobs, seed_list) for block in table.blocks]
    return {
        "format": FORMAT,
        "table": table.name,
        "measured": table.measured,
        "title": table.title,
        "note": table.note,
        "needed_accuracy": table.needed_accuracy,
        "baselines": table.baselines,
        "row_names": [row.name for row in table.shown_rows()],
        "trials": {
            row.name: max(
                (
                    len(trials(block, row, jobs.scale))
                    for block, content in zip(table.blocks, blocks, strict=True)
                    if row.name in content["rows"]
                ),
                default=len(row.grid),
            )
            for row in table.shown_rows()
        },
        "blocks": blocks,
    }
