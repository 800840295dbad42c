"""Named experiments and tables: a module a paper, every row of every table a preset."""

from experiments.papers import (
    class_hierarchies,
    hierarchical_contrastive,
    own_data,
    rank_based,
)
from experiments.settings.presets import Preset

QUICKSTART = "quickstart"
OWN_DATA_DEFAULT = "class_hierarchies/{kind}/proxydr"
"""Where only own data are named; `BUILD_NOTES.md` has the measurements."""

_PAPERS = {
    "rank_based": rank_based,
    "class_hierarchies": class_hierarchies,
    "hierarchical_contrastive": hierarchical_contrastive,
}

PRESETS: dict[str, Preset] = {}
"""All presets by name: those of the papers, for every method that is declared."""


def refresh() -> None:
    """Give presets to methods that were declared since this module was loaded."""
    summary = "RbL on the shipped gm_notes, in under a minute"
    PRESETS.setdefault(QUICKSTART, Preset(rank_based.quickstart(), summary))
    for paper in _PAPERS.values():
        for name, experiment, summary in paper.presets():
            PRESETS.setdefault(name, Preset(experiment, summary))


refresh()


def fields_on_other_data(name: str, dataset: str) -> dict:
    """Fields of a preset that change with the data set it is moved to."""
    family = name.partition("/")[0]
    if family not in _PAPERS:
        family = PRESETS[name].experiment.method.family
    return _PAPERS[family].fields_of_data(own_data.kind_of(dataset))
