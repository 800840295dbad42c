"""Hierarchical contrastive learning, Ott et al. 2025 and what it builds on, as presets.

A preset is ``hierarchical_contrastive/<dataset>/<method>``. All methods of a data set
share network, views, augmentation, batch and steps; what is measured are the features
before the projection head. The settings here are for a CPU;
``experiments.reproduce --scale=paper`` has those for accelerators. The paper's own
networks, steps and augmentations are not known to us.
"""

from collections.abc import Iterator

from experiments.papers import own_data
from experiments.settings.experiment import Experiment

COMMON = {
    "num_views": 2,
    "sampler": "uniform",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "embed_dim": 64,
    "head_layers": 2,
    "measured": "features",
    "temperature": 0.1,
    "standardize": False,
    "selection": "nn/average",
    "patience": 0,
}

_DIGITS = {"model": "convnet", "augment": "shift_jitter_noise"}

DATASETS = {
    "gm_notes": {
        "dataset": "gm_notes",
        "protocol": "seen",
        "model": "convnet",
        "augment": "random_shift_noise",
        "learning_rate": 6e-3,
        "batch_size": 256,
        "num_steps": 800,
        "warmup_steps": 40,
        "eval_every": 100,
    },
    "cifar100": {
        "dataset": "cifar100",
        "protocol": "superclasses",
        "model": "small_resnet",
        "augment": "simclr",
        "batch_size": 256,
        "num_steps": 1000,
        "warmup_steps": 50,
        "eval_every": 1000,
    },
    "hierarchical_mnist": {
        "dataset": "hierarchical_mnist",
        "protocol": "48",
        "batch_size": 128,
        "num_steps": 600,
        "warmup_steps": 30,
        "eval_every": 600,
        **_DIGITS,
    },
    "hierarchical_digits": {
        "dataset": "hierarchical_digits",
        "batch_size": 128,
        "num_steps": 400,
        "warmup_steps": 20,
        "eval_every": 100,
        **_DIGITS,
    },
    "psb": {
        "dataset": "psb",
        "protocol": "points",
        "model": "pointnet",
        "augment": "points_256",
        "batch_size": 128,
        "num_steps": 190,
        "warmup_steps": 10,
        "eval_every": 38,
    },
    "modelnet40": {
        "dataset": "modelnet40",
        "protocol": "views",
        "model": "resnet18",
        "augment": "simclr",
        "batch_size": 256,
        "num_steps": 2000,
        "warmup_steps": 100,
        "eval_every": 2000,
    },
    **{
        kind: {
            "dataset": kind,
            "batch_size": 128,
            "num_steps": 500,
            "warmup_steps": 25,
            "eval_every": 100,
            **own_data.FIELDS,
        }
        for kind in own_data.KINDS
    },
}

# What a data set asks for; a preset keeps its method on another data set, not these.
_OF_THE_DATA = ("protocol", "model", "augment", "num_views", "standardize")


def _masked(masks: str) -> dict:
    return {"loss": "level_contrastive", "masks": masks}


ROWS = {
    "input": ({"loss": "none"}, "the input itself, nothing trained"),
    "cross_entropy": (
        {"loss": "softmax", "distance": "euclidean"},
        "softmax classifier of the leaves",
    ),
    "simclr": ({"loss": "simclr"}, "SimCLR, no labels"),
    "supcon_fine": ({"loss": "supcon"}, "SupCon on the leaves"),
    "supcon_coarse": (
        {"loss": "supcon", "label_level": 0},
        "SupCon on the coarsest level",
    ),
    "hmc": ({"loss": "hmc"}, "SupCon at every level, finer ones weighing more"),
    "hce": ({"loss": "hce"}, "hierarchical constraint between the levels"),
    "hmce": ({"loss": "hmce"}, "HMC with the hierarchical constraint"),
    "hmce_pairwise": (
        {"loss": "hmce", "pairwise_max": True},
        "HMCE with the constraint on pairs, as its paper writes it",
    ),
    "hmce_official": (
        {"loss": "hmce", "official": True},
        "HMCE as its published code computes it",
    ),
    "unmasked": (_masked("none"), "control: SupCon at every level, no masks"),
    "fixed": (_masked("fixed"), "control: an equal part of the embedding a level"),
    "heads": (_masked("heads"), "control: a projection head a level"),
    "ghmlc_sample": (
        _masked("gaussian_sample"),
        "G-HMLC, masks from a Gaussian mixture in every row",
    ),
    "ghmlc_mean": (
        _masked("gaussian_mean"),
        "G-HMLC, masks from a Gaussian mixture on the mean embedding",
    ),
    "ahmlc": (_masked("attention"), "A-HMLC, attention masks"),
}


def experiment(dataset: str, row: str) -> Experiment:
    """The preset of one row on one data set."""
    return Experiment(**COMMON | DATASETS[dataset] | ROWS[row][0])


def fields_of_data(dataset: str) -> dict:
    """Fields that every preset takes from its data set; few for an unknown one."""
    if dataset not in DATASETS:
        return {"protocol": ""}
    settings, default = COMMON | DATASETS[dataset], Experiment()
    return {key: settings.get(key, getattr(default, key)) for key in _OF_THE_DATA}


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of every preset of this paper."""
    for dataset in DATASETS:
        for row, (_, summary) in ROWS.items():
            yield (
                f"hierarchical_contrastive/{dataset}/{row}",
                experiment(dataset, row),
                f"{summary}, on {dataset}",
            )
