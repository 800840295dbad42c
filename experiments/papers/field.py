"""What the field has besides the three papers: presets on every data set.

A preset is ``field/<dataset>/<row>``; settings are those of `class_hierarchies`, whose
classifiers these rows stand beside.
"""

from collections.abc import Iterator

from experiments.papers import class_hierarchies
from experiments.settings.experiment import Experiment
from experiments.settings.presets import Rows, with_declared

_SOFTMAX = {"method": "classifier", "score": "softmax"}
_NORMFACE = {"method": "classifier", "score": "normface"}

ROWS: Rows = {
    "cross_entropy": (_SOFTMAX, "linear classifier, cross entropy of the leaves"),
    "marginal": (
        {**_SOFTMAX, "criterion": "marginal"},
        "cross entropy of the deepest known node",
    ),
    "hxe": (
        {**_SOFTMAX, "criterion": "hxe"},
        "hierarchical cross entropy (Bertinetto et al. 2020)",
    ),
    "soft_labels": (
        {**_SOFTMAX, "criterion": "soft_labels"},
        "targets that follow the tree (Bertinetto et al. 2020)",
    ),
    "hace": (
        {**_SOFTMAX, "criterion": "hace"},
        "targets spread to ancestors (Chan 2026)",
    ),
    "haframe": (
        {**_SOFTMAX, "criterion": "haframe", "representatives": "haframe"},
        "classifier fixed by the tree (Liang & Davis 2023)",
    ),
    "hier_cos": ({"method": "hier_cos"}, "an axis a node (Sani & Anand 2026)"),
    "conditional_softmax": (
        {"method": "conditional_softmax"},
        "a choice among siblings at every node (Redmon & Farhadi 2017)",
    ),
    "arcface": (
        {"method": "classifier", "score": "arcface", "scale.value": 16.0},
        "angular margin (Deng et al. 2019), at scale 16",
    ),
    "proxy_anchor": (
        {**_NORMFACE, "criterion": "proxy_anchor"},
        "proxies draw their class (Kim et al. 2020)",
    ),
    "proxy_anchor+levels": (
        {**_NORMFACE, "criterion": "proxy_anchor", "criterion.levels": True},
        "proxies draw their class at every level (after Yang et al. 2022)",
    ),
    "cross_entropy+cpcc": (
        {**_SOFTMAX, "regularizer": "cpcc"},
        "distances of a batch's classes follow the tree (Zeng et al. 2023)",
    ),
}


def fields_of_data(dataset: str) -> dict:
    """Fields that every preset takes from its data set; few for an unknown one."""
    return class_hierarchies.fields_of_data(dataset)


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of every preset."""
    for dataset in class_hierarchies.DATASETS:
        for row, (fields, summary) in with_declared("field", ROWS).items():
            yield (
                f"field/{dataset}/{row}",
                class_hierarchies.experiment(dataset, fields),
                f"{summary}, on {dataset}",
            )
