"""Named experiments: every row of every table, and the quick start."""

import dataclasses

from experiments.papers import (
    class_hierarchies,
    hierarchical_contrastive,
    own_data,
    rank_based,
)
from experiments.settings.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Preset:
    """An experiment with the line that describes it in ``--list``."""

    experiment: Experiment
    summary: str


QUICKSTART = "quickstart"
OWN_DATA_DEFAULT = "class_hierarchies/{kind}/proxydr"
"""Where only own data are named; `BUILD_NOTES.md` has the measurements."""


def fields_on_other_data(name: str, dataset: str) -> dict:
    """Fields of a preset that change with the data set it is moved to."""
    kind = own_data.kind_of(dataset)
    if name.startswith("class_hierarchies/"):
        return class_hierarchies.fields_of_data(kind)
    if name.startswith("hierarchical_contrastive/"):
        return hierarchical_contrastive.fields_of_data(kind)
    return rank_based.fields_of_data(kind)


PRESETS: dict[str, Preset] = {
    QUICKSTART: Preset(
        rank_based.quickstart(), "RbL on the shipped gm_notes, in under a minute"
    )
}
for _name, _experiment, _summary in (
    *rank_based.presets(),
    *class_hierarchies.presets(),
    *hierarchical_contrastive.presets(),
):
    PRESETS[_name] = Preset(_experiment, _summary)
