"""Every table that `experiments.reproduce` can compute, by name."""

from experiments.tables import (
    class_hierarchies,
    hierarchical_contrastive,
    rank_based,
)
from experiments.tables.layout import (
    SCALES,
    Block,
    Row,
    Table,
    cell_rows,
    cell_seeds,
    scaled_experiment,
    trials,
)

TABLES = {
    table.name: table
    for table in (
        *rank_based.tables(),
        *class_hierarchies.tables(),
        *hierarchical_contrastive.tables(),
    )
}

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
