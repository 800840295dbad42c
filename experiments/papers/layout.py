"""What every table is made of: blocks of data, rows of methods, grids of trials."""

import dataclasses
import itertools
from collections.abc import Callable, Collection

import numpy as np

from experiments.settings.experiment import Experiment
from experiments.settings.presets import make_experiment
from hierjax.errors import UserError

SCALES = ("cpu", "paper")


@dataclasses.dataclass(frozen=True)
class Published:
    """What others report for the rows of one block.

    Attributes:
      source: where the numbers are from, as printed under the table.
      measures: what they are of, as in `columns.Column`.
      rows: the numbers of each row, in the order of the measures.
    """

    source: str = ""
    measures: tuple[str, ...] = ()
    rows: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Block:
    """A data set under one protocol: the rows of a table that may be compared.

    Attributes:
      name: such as 'tut2016/location'.
      fields: fields of the experiment that name the data and change the input.
      folds: folds of the protocol; every query is tested in one of them.
      seeds: number of seeds by default.
      refit: train the final runs on training and validation rows together, for the
        tuned number of steps. Otherwise they stop early on validation.
      tuned_on: block whose tuning is used, where this one has no validation of its
        own kind.
      published: the published numbers for it, with their source.
      note: printed under the block.
      strata: gives a number for every row of the data, such as its pitch; the finest
        k-NN accuracy is then also reported by it.
      scales: fields of the experiment that a scale sets.
      rows: names of the rows that a scale runs, all where it names none.
      row_fields: further fields of single rows on these data, by name.
      targets: what linear probes are asked for, in tables of probes; empty: every level
        whose test classes are all in training.
    """

    name: str
    fields: dict
    folds: int = 1
    seeds: int = 5
    refit: bool = True
    tuned_on: "Block | None" = None
    published: Published = Published()
    note: str = ""
    strata: Callable[[], np.ndarray] | None = None
    scales: dict[str, dict] = dataclasses.field(default_factory=dict)
    rows: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    row_fields: dict[str, dict] = dataclasses.field(default_factory=dict)
    targets: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A method: what it changes, and the trials among which validation chooses.

    Attributes:
      name: as printed.
      fields: fields of the experiment.
      grid: the trials, each a dict of fields; of an untrained row a single empty one.
      against: rows that it is compared with seed by seed, in tables of classes.
      seeds: number of seeds by data set, where it is not the block's.
      selections: further measures on validation that its trials and steps are selected
        by, each a row of the table too: the end of that row's name to the measure, such
        as ``{'nn': 'nn/average'}``.
    """

    name: str
    fields: dict
    grid: tuple[dict, ...]
    against: tuple[str, ...] = ()
    seeds: dict[str, int] = dataclasses.field(default_factory=dict)
    selections: dict[str, str] = dataclasses.field(default_factory=dict)

    def selected(self) -> tuple["Row", ...]:
        """The row, and one for each of its further selections."""
        alone = dataclasses.replace(self, selections={})
        others = (
            dataclasses.replace(
                alone,
                name=f"{self.name}_{end}",
                fields=self.fields | {"selection": measure},
                against=(),
            )
            for end, measure in self.selections.items()
        )
        return (alone, *others)

    def narrowed(self, names: Collection[str]) -> tuple["Row", ...]:
        """What some of the rows in `selected` are selected from.

        Args:
          names: of those that are wanted, others are of no effect.

        Returns:
          The row with the selections that are wanted; without it those that are, each a
          row; nothing if none is.
        """
        if self.name not in names:
            return tuple(row for row in self.selected() if row.name in names)
        kept = {
            end: measure
            for end, measure in self.selections.items()
            if f"{self.name}_{end}" in names
        }
        return (dataclasses.replace(self, selections=kept),)


@dataclasses.dataclass(frozen=True)
class Table:
    """Blocks times rows, and the rows that the others are compared with.

    Attributes:
      name: of the table and its files.
      title: its heading.
      blocks: data.
      rows: methods.
      measured: 'neighbors': measures of embeddings, `evaluation.evaluate`; 'classes':
        of classes and their representatives, `evaluation.evaluate_classes`; 'probes':
        of a frozen encoder, `experiments.runs.probing`.
      baselines: rows that all others are compared with query by query, in tables of
        neighbours and of probes.
      needed_accuracy: in tables of classes, the top-1 accuracy below which rows are
        not said to be comparable; 0 says nothing of the kind.
      note: printed above the blocks.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    rows: tuple[Row, ...]
    measured: str = "neighbors"
    baselines: tuple[str, ...] = ("init",)
    needed_accuracy: float = 0.0
    note: str = ""

    def shown_rows(self) -> tuple[Row, ...]:
        """The rows with all their selections, each a row of its own."""
        return tuple(shown for row in self.rows for shown in row.selected())


def make_grid(**choices: tuple) -> tuple[dict, ...]:
    """All combinations of the choices; trained rows must have the same number."""
    combinations = itertools.product(*choices.values())
    return tuple(dict(zip(choices, values, strict=True)) for values in combinations)


def scaled_experiment(block: Block, row: Row, scale: str, data_dir: str) -> Experiment:
    """The experiment of a cell before tuning."""
    try:
        return make_experiment(
            {"data_dir": data_dir},
            block.scales[scale],
            row.fields,
            block.fields,
            block.row_fields.get(row.name, {}),
        )
    except UserError as error:
        raise UserError(f"{block.name}/{row.name}: {error}") from None


def trials(block: Block, row: Row, scale: str) -> tuple[dict, ...]:
    """The grid of a cell, without the learning rate where the scale sets it."""
    if "learning_rate" not in block.scales[scale]:
        return row.grid
    kept = [
        {key: value for key, value in trial.items() if key != "learning_rate"}
        for trial in row.grid
    ]
    return tuple(trial for i, trial in enumerate(kept) if trial not in kept[:i])


def cell_seeds(block: Block, row: Row) -> list[int]:
    """Seeds of a cell by default."""
    return list(range(row.seeds.get(block.fields["dataset"], block.seeds)))


def cell_rows(block: Block, table: Table, scale: str) -> list[Row]:
    """The rows of a table that are run on a block."""
    names = block.rows.get(scale)
    return [row for row in table.shown_rows() if names is None or row.name in names]
