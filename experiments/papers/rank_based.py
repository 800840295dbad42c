"""Rank-based loss, Nolasco & Stowell 2021: rows of its tables as presets.

A preset is ``rank_based/<dataset>/<row>``. All rows of a data set share the number of
clips a step, the number of steps and the selection; learning rate, output dimension
and margins here are starting values, `experiments.reproduce` tunes them on validation.
"""

import dataclasses
from collections.abc import Iterator

from experiments.papers import own_data
from experiments.settings.experiment import Experiment

BATCH_SIZE = 48

DATASETS = {
    "gm_notes": {"dataset": "gm_notes", "protocol": "seen"},
    "tut2016": {"dataset": "tut2016", "protocol": "authors"},
    "psb": {"dataset": "psb"},
    "nsynth": {"dataset": "nsynth"},
    "birds": {"dataset": "birds"},
    **{
        kind: {
            "dataset": kind,
            "embed_dim": 64,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "num_steps": 1000,
            "eval_every": 100,
            "patience": 0,
            **own_data.FIELDS,
        }
        for kind in own_data.KINDS
    },
}

ROWS = {
    "init": ({"loss": "none"}, "the input itself, nothing trained"),
    "quadruplet": (
        {
            "loss": "tuplet",
            "distance": "sqeuclidean",
            "sampler": "tuples",
        },
        "hierarchical quadruplet loss (Jati et al. 2019)",
    ),
    "rbl": (
        {"loss": "rank_based", "target": "rank_index", "sampler": "balanced"},
        "rank-based loss as the published code computes it",
    ),
    "rbl_block_edge": (
        {"loss": "rank_based", "target": "block_edge", "sampler": "balanced"},
        "rank-based loss with the block edge as target (ours)",
    ),
    "rbl_unconstrained": (
        {"loss": "rank_based", "target": "rank_index", "sampler": "uniform"},
        "rank-based loss on unconstrained random batches",
    ),
    "rbl_random_hierarchy": (
        {
            "loss": "rank_based",
            "target": "rank_index",
            "sampler": "balanced",
            "shuffle_hierarchy": True,
        },
        "control: rank-based loss with the classes shuffled over the tree",
    ),
    "triplet": (
        {"loss": "triplet", "distance": "euclidean", "sampler": "balanced"},
        "all triplets that the tree orders",
    ),
}


def experiment(dataset: str, row: str) -> Experiment:
    """The preset of one row on one data set."""
    common = Experiment(
        batch_size=BATCH_SIZE,
        num_steps=3000,
        eval_every=50,
        patience=20,
        learning_rate=0.3,
        embed_dim=3,
    )
    return dataclasses.replace(common, **DATASETS[dataset], **ROWS[row][0])


def fields_of_data(dataset: str) -> dict:
    """Fields that every preset takes from its data set."""
    # The protocol of one data set means nothing to another.
    return {"protocol": ""} | (own_data.FIELDS if dataset in own_data.KINDS else {})


def quickstart() -> Experiment:
    """The default experiment of ``experiments.train``."""
    return dataclasses.replace(
        experiment("gm_notes", "rbl_block_edge"),
        embed_dim=64,
        learning_rate=0.1,
        num_steps=2000,
        eval_every=100,
        patience=0,
    )


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of every preset of this paper."""
    for dataset in DATASETS:
        for row, (_, summary) in ROWS.items():
            yield (
                f"rank_based/{dataset}/{row}",
                experiment(dataset, row),
                f"{summary}, on {dataset}",
            )
