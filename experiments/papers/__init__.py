"""Named experiments and tables: a module a paper, every row of every table a preset."""

from experiments.papers import (
    class_hierarchies,
    field,
    hierarchical_contrastive,
    own_data,
    quickstart,
    rank_based,
)
from experiments.settings.experiment import Experiment
from experiments.settings.presets import Preset

QUICKSTART = quickstart.DEFAULT
OWN_DATA_DEFAULT = "class_hierarchies/{kind}/proxydr"
"""Where only own data are named; `BUILD_NOTES.md` has the measurements."""

_PAPERS = {
    "rank_based": rank_based,
    "class_hierarchies": class_hierarchies,
    "hierarchical_contrastive": hierarchical_contrastive,
    "field": field,
}

PRESETS: dict[str, Preset] = {}
"""All presets by name: those of the papers, for every method that is declared."""


def refresh() -> None:
    """Give presets to methods that were declared since this module was loaded."""
    for paper in (quickstart, *_PAPERS.values()):
        for name, experiment, summary in paper.presets():
            PRESETS.setdefault(name, Preset(experiment, summary))


refresh()


def default_preset(dataset: str) -> str:
    """The preset where none is named."""
    kind = own_data.kind_of(dataset)
    return OWN_DATA_DEFAULT.format(kind=kind) if kind in own_data.KINDS else QUICKSTART


def fields_on_other_data(name: str, dataset: str) -> dict:
    """Fields of a preset that change with the data set it is moved to."""
    family = name.partition("/")[0]
    if family not in _PAPERS:
        family = PRESETS[name].experiment.method.family
    # The fold and the size of one data set mean nothing to another.
    default, preset = Experiment(), PRESETS[name].experiment
    reset = {
        key: getattr(default, key)
        for key in ("fold", "image_size")
        if getattr(preset, key) != getattr(default, key)
    }
    return reset | _PAPERS[family].fields_of_data(own_data.kind_of(dataset))
