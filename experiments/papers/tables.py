"""Every table that `experiments.reproduce` can compute, by name."""

from experiments.papers import class_hierarchies, hierarchical_contrastive, rank_based
from experiments.papers.layout import (
    SCALES,
    Block,
    Row,
    Table,
    cell_rows,
    cell_seeds,
    scaled_experiment,
    trials,
)

TABLES: dict[str, Table] = {}


def refresh() -> None:
    """Give rows to methods that were declared since this module was loaded."""
    for paper in (rank_based, class_hierarchies, hierarchical_contrastive):
        TABLES.update({table.name: table for table in paper.tables()})


refresh()

__all__ = [
    "SCALES",
    "TABLES",
    "Block",
    "Row",
    "Table",
    "cell_rows",
    "cell_seeds",
    "scaled_experiment",
    "trials",
]
