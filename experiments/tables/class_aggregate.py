"""From finished jobs to the numbers of a table of classes: spread and comparisons."""

import dataclasses

import numpy as np

from experiments.papers.tables import Block, Row, Table, cell_rows, cell_seeds
from experiments.runs.files import read_json
from experiments.tables.jobs import Jobs
from hierjax import metrics


@dataclasses.dataclass(frozen=True)
class _Cell:
    """The finished seeds of one row on one block."""

    seeds: list[int]
    tuning: dict
    results: list[dict]
    per_class: dict[str, np.ndarray]  # measure -> [seeds, C]

    def values(self, measure: str) -> np.ndarray:
        """A measure ``[seeds]``, NaN where a run does not have it."""
        return np.array(
            [run["measures"].get(measure) for run in self.results], np.float64
        )


def _load_cell(jobs: Jobs, block: Block, row: Row, seeds: list[int]) -> _Cell | None:
    paths = {seed: jobs.result_path(block, row, 0, seed) for seed in seeds}
    paths = {seed: path for seed, path in paths.items() if path.exists()}
    if not paths:
        return None
    arrays = [dict(np.load(path.with_suffix(".npz"))) for path in paths.values()]
    return _Cell(
        list(paths),
        read_json(jobs.tuning_path(block, row, 0)),
        [read_json(path) for path in paths.values()],
        {
            name.removeprefix("class/"): np.stack([x[name] for x in arrays])
            for name in arrays[0]
            if name.startswith("class/")
        },
    )


def _spread(values: np.ndarray) -> dict:
    """Mean, standard deviation and t interval over seeds."""
    mean, low, high = metrics.seed_interval(values)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": mean, "sd": deviation, "low": low, "high": high}


def _summary(cell: _Cell) -> dict:
    return {
        "seeds": len(cell.seeds),
        "chosen": cell.tuning["chosen"]["overrides"],
        "trials": len(cell.tuning["trials"]),
        "steps": [run["steps"] for run in cell.results],
        "seconds": sum(run["seconds"] for run in [*cell.results, cell.tuning]),
        "untrained_classes": cell.results[0]["untrained_classes"],
        "untested_classes": cell.results[0]["untested_classes"],
        "measures": {
            name: _spread(cell.values(name)) for name in cell.results[0]["measures"]
        },
    }


def _comparison(cell: _Cell, other: _Cell) -> dict:
    """Differences on the seeds both have, and a permutation test over classes."""
    shared = [seed for seed in cell.seeds if seed in other.seeds]
    mine, theirs = ([c.seeds.index(seed) for seed in shared] for c in (cell, other))
    return {
        "seeds": len(shared),
        "differences": {
            name: _spread(cell.values(name)[mine] - other.values(name)[theirs])
            for name in cell.results[0]["measures"]
            if name in other.results[0]["measures"]
        },
        "class_permutation_p": {
            name: metrics.sign_flip_test(
                values[mine].mean(0) - other.per_class[name][theirs].mean(0)
            )
            for name, values in cell.per_class.items()
            if name in other.per_class
        },
    }


def aggregate(table: Table, jobs: Jobs, seed_list: list[int] | None) -> dict:
    """Everything that is finished of a table, as plain numbers.

    Args:
      table: its definition.
      jobs: where the runs lie.
      seed_list: seeds to count; None: those of each cell.
    """
    blocks = []
    for block in table.blocks:
        rows = cell_rows(block, table, jobs.scale)
        cells = {
            row.name: _load_cell(jobs, block, row, seed_list or cell_seeds(block, row))
            for row in rows
        }
        cells = {name: cell for name, cell in cells.items() if cell is not None}
        content = {
            "name": block.name,
            "note": block.note,
            "settings": block.scales[jobs.scale] | block.fields,
            "absent": jobs.data_problem(block, rows[0]) is not None,
            "rows": {name: _summary(cell) for name, cell in cells.items()},
            "comparisons": [
                {"row": row.name, "against": name}
                | _comparison(cells[row.name], cells[name])
                for row in rows
                for name in row.against
                if row.name in cells and name in cells
            ],
        }
        if cells:
            dataset = jobs.load(block, rows[0])
            content["levels"] = dataset.hierarchy.level_names
            content["nodes"] = dataset.hierarchy.nodes_per_level
            content["splits"] = {k: len(rows) for k, rows in dataset.splits.items()}
        blocks.append(content)
    return {
        "table": table.name,
        "measured": table.measured,
        "title": table.title,
        "note": table.note,
        "needed_accuracy": table.needed_accuracy,
        "row_names": [row.name for row in table.rows],
        "blocks": blocks,
    }
