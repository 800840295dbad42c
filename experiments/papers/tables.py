"""Every table that `experiments.reproduce` can compute, by name."""

from experiments.papers import (
    class_hierarchies_tables,
    hierarchical_contrastive_tables,
    rank_based_tables,
)
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

TABLES = {
    table.name: table
    for table in (
        *rank_based_tables.tables(),
        *class_hierarchies_tables.tables(),
        *hierarchical_contrastive_tables.tables(),
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
