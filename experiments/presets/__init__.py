"""Named experiments: every row of every table, and the quick start."""

import dataclasses

from experiments.experiment import Experiment
from experiments.presets import class_hierarchies, rank_based


@dataclasses.dataclass(frozen=True)
class Preset:
    """An experiment with the line that describes it in ``--list``."""

    experiment: Experiment
    summary: str


QUICKSTART = "quickstart"

PRESETS: dict[str, Preset] = {
    QUICKSTART: Preset(
        rank_based.quickstart(), "RbL on the shipped gm_notes, in under a minute"
    )
}
for _name, _experiment, _summary in (
    *rank_based.presets(),
    *class_hierarchies.presets(),
):
    PRESETS[_name] = Preset(_experiment, _summary)
