"""What presets are made of: fields of an experiment, merged and checked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.settings.experiment import Experiment
from hierjax import options
from hierjax.objectives import Method

Fields = Mapping[str, Any]
"""Fields of an experiment by key, see `hierjax.options.changed`."""
Rows = dict[str, tuple[Fields, str]]
"""What rows of a table change, and a line about each, by name."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """An experiment with the line that describes it in ``--list``."""

    experiment: Experiment
    summary: str


def make_experiment(*parts: Fields) -> Experiment:
    """An experiment of the defaults and fields, of which later ones take precedence."""
    merged = {}
    for part in parts:
        merged |= part
    return options.changed(Experiment(), merged)


def with_declared(family: str, rows: Rows) -> Rows:
    """Rows of a preset family, and one for every method of it that has none yet."""
    used = {fields["method"] for fields, _ in rows.values()}
    return rows | {
        name: ({"method": name, "sampler": method.sampler}, method.summary())
        for name, method in Method.kinds.items()
        if method.family == family and method.trains and name not in used
    }
