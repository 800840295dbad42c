"""Class hierarchies, Kim et al. 2023: the 14 configurations of its tables as presets.

A preset is ``class_hierarchies/<dataset>/<method>[+option...]``. The settings here are
for a CPU: a small network and few steps; ``experiments.reproduce --scale=paper`` has
the published protocol.
"""

import dataclasses
from collections.abc import Iterator

from experiments.papers import own_data
from experiments.settings.experiment import Experiment

BATCH_SIZE = 32
EMBED_DIM = 128

_IMAGES = {
    "model": "small_resnet",
    "standardize": False,
    "num_steps": 2000,
    "eval_every": 250,
}

DATASETS = {
    "gm_notes": {
        "dataset": "gm_notes",
        "protocol": "seen",
        "model": "convnet",
        "standardize": False,
        "augment": "random_shift_noise",
        "num_steps": 1200,
        "eval_every": 100,
    },
    "cifar100": {"dataset": "cifar100", "augment": "random_affine_flip", **_IMAGES},
    "nabirds": {"dataset": "nabirds", "augment": "random_affine_flip", **_IMAGES},
    **{
        name: {"dataset": name, "size_inform": True, **_IMAGES}
        for name in ("micro_s", "micro_l", "meso_z")
    },
    **{
        name: {"dataset": name, "model": "mlp", "num_steps": 1000, "eval_every": 50}
        for name in ("tut2016", "psb", "digits")
    },
    **{
        kind: {"dataset": kind, "num_steps": 1000, "eval_every": 50, **own_data.FIELDS}
        for kind in own_data.KINDS
    },
}

# What a data set asks for; a preset keeps its method on another data set, not these.
_OF_THE_DATA = ("protocol", "model", "standardize", "augment", "size_inform")

_METHODS = {"normface": "NormFace", "proxydr": "ProxyDR"}
_OPTIONS = {
    "": ({}, "learned proxies, scale 10"),
    "+ema": ({"proxies": "ema"}, "moving-average proxies"),
    "+dynamic": ({"dynamic_scale": True}, "dynamic scale"),
    "+ema+dynamic": (
        {"proxies": "ema", "dynamic_scale": True},
        "moving-average proxies, dynamic scale",
    ),
    "+mds": ({"proxies": "mds"}, "proxies fixed by the tree"),
    "+mds+dynamic": (
        {"proxies": "mds", "dynamic_scale": True},
        "proxies fixed by the tree, dynamic scale",
    ),
}

ROWS = {
    "softmax": ({"loss": "softmax"}, "linear classifier on embeddings of any length"),
    **{
        f"{method}{option}": ({"loss": method, **fields}, f"{title}, {summary}")
        for method, title in _METHODS.items()
        for option, (fields, summary) in _OPTIONS.items()
    },
    "corr": (
        {"loss": "corr", "proxies": "mds"},
        "CORR (Barz & Denzler 2019) on proxies fixed by the tree",
    ),
}

COMMON = {
    "batch_size": BATCH_SIZE,
    "embed_dim": EMBED_DIM,
    "sampler": "uniform",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "distance": "euclidean",
    "scale": 10.0,
    "selection": "accuracy",
    "patience": 0,
}


def experiment(dataset: str, row: str) -> Experiment:
    """The preset of one row on one data set."""
    return Experiment(**COMMON | DATASETS[dataset] | ROWS[row][0])


def fields_of_data(dataset: str) -> dict:
    """Fields that every preset takes from its data set; few for an unknown one."""
    if dataset not in DATASETS:
        return {"protocol": ""}
    default = Experiment()
    return {
        key: DATASETS[dataset].get(key, getattr(default, key)) for key in _OF_THE_DATA
    }


def untrained(dataset: str) -> Experiment:
    """The network of a data set as it is initialised."""
    return dataclasses.replace(experiment(dataset, "normface"), loss="untrained")


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of every preset of this paper."""
    for dataset in DATASETS:
        prefix = f"class_hierarchies/{dataset}"
        for row, (_, summary) in ROWS.items():
            yield (
                f"{prefix}/{row}",
                experiment(dataset, row),
                f"{summary}, on {dataset}",
            )
        yield (
            f"{prefix}/untrained",
            untrained(dataset),
            f"control: the network with random weights, on {dataset}",
        )
