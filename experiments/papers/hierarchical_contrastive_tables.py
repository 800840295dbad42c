"""Tables of hierarchical contrastive learning: frozen encoders and their probes."""

import dataclasses

from experiments.papers import hierarchical_contrastive
from experiments.papers.layout import Block, Row, Table, make_grid

_RATES = make_grid(learning_rate=(1e-3, 4e-3))

# SupContrast's protocol for CIFAR-100 (Khosla et al. 2020) with batch 512; what the
# paper itself used is unknown. The others keep their small networks and train longer.
_PAPER = {
    "cifar100": {
        "model": "resnet50",
        "embed_dim": 128,
        "batch_size": 512,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "learning_rate": 0.25,
        "warmup_steps": 880,
        "warmup_start": 0.04,
        "final_share": 1e-3,
        "num_steps": 44_000,
        "eval_every": 4400,
    },
    "hierarchical_mnist": {
        "model": "resnet18",
        "embed_dim": 128,
        "batch_size": 512,
        "num_steps": 9400,
        "warmup_steps": 470,
        "eval_every": 940,
    },
    "modelnet40": {
        "model": "resnet50",
        "embed_dim": 128,
        "batch_size": 512,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "learning_rate": 0.1,
        "num_steps": 23_000,
        "warmup_steps": 2300,
        "eval_every": 2300,
    },
    "hierarchical_digits": {},
    "psb": {"num_steps": 3800, "warmup_steps": 190, "eval_every": 380},
    "gm_notes": {"num_steps": 3200, "warmup_steps": 160, "eval_every": 400},
}

_NAMED_BY_BLOCK = ("dataset", "protocol", "augment", "num_views")


def _block(
    dataset: str, name: str = "", *, cpu: dict | None = None, fields=None, **details
) -> Block:
    """A data set after its preset; the rate is tuned unless a scale sets it."""
    settings = (
        hierarchical_contrastive.COMMON | hierarchical_contrastive.DATASETS[dataset]
    )
    del settings["learning_rate"]
    placed = {key: settings.pop(key) for key in _NAMED_BY_BLOCK if key in settings}
    return Block(
        name or dataset,
        placed | (fields or {}),
        refit=False,
        scales={
            "cpu": settings | (cpu or {}),
            "paper": settings | _PAPER[dataset],
        },
        **details,
    )


# What a CPU of two cores does in the time that a table may take. One learning rate for
# all rows: 6e-3 of three, by the validation accuracy of SupCon on gm_notes/seen.
_SMALL = {"width": 16, "batch_size": 128, "learning_rate": 6e-3}

_GM_SEEN = _block(
    "gm_notes",
    "gm_notes/seen/probes",
    seeds=5,
    cpu=_SMALL | {"num_steps": 500, "warmup_steps": 30, "eval_every": 250},
    note="Test pitches 51 and 67 of instruments heard in training at other pitches.",
)
_GM_UNSEEN = _block(
    "gm_notes",
    "gm_notes/unseen/probes",
    seeds=5,
    folds=4,
    fields={"protocol": "unseen"},
    cpu=_SMALL
    | {
        "num_steps": 100,
        "warmup_steps": 5,
        "eval_every": 25,
        "selection": "nn/family",
    },
    note="Four folds of instruments never heard in training, stopped on further unseen "
    "ones: only the family can be told.",
)
_MNIST = _block(
    "hierarchical_mnist",
    seeds=3,
    cpu=_SMALL
    | {
        "batch_size": 64,
        "width": 8,
        "num_steps": 400,
        "warmup_steps": 20,
        "eval_every": 400,
        "num_train": 8_000,
        "num_evaluated": 2000,
    },
    note="category: the small digit at the border; class: the path, both digits; "
    "class_name: the central digit alone. Images of 48 x 48 pixels.",
)
_SMALL_POINTS = {
    "width": 16,
    "batch_size": 64,
    "learning_rate": 6e-3,
    "num_steps": 120,
    "warmup_steps": 6,
    "eval_every": 120,
}
_PSB = _block(
    "psb",
    "psb/official/probes",
    seeds=3,
    cpu=_SMALL_POINTS,
    targets=("coarse3", "coarse2"),
    row_fields={"input": {"protocol": "official"}},
    note="The benchmark's halves, whose base classes are mostly disjoint: linear "
    "probes of the two coarsest levels only. The input is the share of points in the "
    "cells of a grid: points have no order.",
)
_PSB_WITHIN = _block(
    "psb",
    "psb/within/probes",
    seeds=3,
    fields={"protocol": "points_within"},
    cpu=_SMALL_POINTS,
    targets=("coarse3", "coarse2", "coarse1", "base"),
    row_fields={"input": {"protocol": "within"}},
    note="A stratified split within the classes, ours, not the benchmark's. The input "
    "is the share of points in the cells of a grid.",
)
_CIFAR = _block(
    "cifar100",
    "cifar100/probes",
    seeds=3,
    cpu=_SMALL
    | {
        "num_steps": 350,
        "warmup_steps": 20,
        "eval_every": 350,
        "num_train": 10_000,
        "num_evaluated": 2000,
    },
    rows={
        "cpu": (
            "supcon_fine",
            "hmce",
            "unmasked",
            "fixed",
            "ghmlc_mean",
            "ahmlc",
        )
    },
    note="20 superclasses and 100 classes. At --scale=cpu a small network, a fraction "
    "of the images and few epochs.",
)
_DIGITS = _block(
    "hierarchical_digits",
    seeds=3,
    cpu=_SMALL
    | {"batch_size": 64, "num_steps": 300, "warmup_steps": 15, "eval_every": 300},
)
_MODELNET = _block(
    "modelnet40",
    seeds=3,
    note="12 rendered views a model; super-categories are ours.",
)

_IN_TABLE = (
    "input",
    "cross_entropy",
    "simclr",
    "supcon_fine",
    "supcon_coarse",
    "hmc",
    "hce",
    "hmce",
    "hmce_official",
    "unmasked",
    "fixed",
    "heads",
    "ghmlc_sample",
    "ghmlc_mean",
    "ahmlc",
)


def _row(name: str, like: str = "", **changes) -> Row:
    """A row after a preset; trained rows have the same trials."""
    fields = hierarchical_contrastive.ROWS[like or name][0] | changes
    return Row(name, fields, ({},) if fields["loss"] == "none" else _RATES)


def _swapped(block: Block) -> Block:
    return dataclasses.replace(
        block,
        name=f"{block.name}/swapped",
        fields=block.fields | {"protocol": "swapped"},
        note="The same images with the central digit as the coarse level: category and "
        "class change places in the tree, and in the names of the columns.",
    )


def _long_tailed(block: Block, ratio: float) -> Block:
    return dataclasses.replace(
        block,
        name=f"{block.name}/long_tail_{ratio:g}",
        fields=block.fields | {"long_tail": ratio},
        note=f"Training rows a class fall exponentially from {ratio:g} to 1.",
    )


_UNKNOWN = (
    "The numbers of Ott et al. 2025 are not available to us, nor are its networks and "
    "steps; G-HMLC and A-HMLC are our design where the paper is silent. "
)
_RATE_NOTE = (
    "At --scale=cpu all rows have one learning rate, chosen among three by the "
    "validation accuracy of SupCon on gm_notes; that may favour rows like it."
)


def tables() -> tuple[Table, ...]:
    """All tables of this paper."""
    return (
        Table(
            "hierarchical_contrastive",
            "Hierarchical contrastive learning, linear evaluation",
            (_GM_SEEN, _GM_UNSEEN, _MNIST, _PSB, _PSB_WITHIN, _CIFAR, _MODELNET),
            tuple(map(_row, _IN_TABLE)),
            measured="probes",
            baselines=("input", "unmasked", "fixed"),
            note=_UNKNOWN + "unmasked, fixed and heads are the controls: a gain of "
            "masks is one over those. " + _RATE_NOTE,
        ),
        Table(
            "level_order",
            "Which level comes first: the same images under the swapped tree",
            (_DIGITS, _swapped(_DIGITS)),
            (
                _row("hmce"),
                _row("unmasked"),
                _row("unmasked_column", "unmasked", label_scope="column"),
                _row("ghmlc_mean"),
                _row("ghmlc_mean_column", "ghmlc_mean", label_scope="column"),
            ),
            measured="probes",
            baselines=("unmasked",),
            note=_UNKNOWN + "Rows ending in _column look at each level's own name, the "
            "others at the path down to it. " + _RATE_NOTE,
        ),
        Table(
            "imbalance",
            "Averages over classes and over anchors",
            (_PSB_WITHIN, _long_tailed(_DIGITS, 10.0)),
            tuple(
                _row(f"{name}{suffix}", name, balance=balance)
                for name in ("unmasked", "ghmlc_mean", "ahmlc")
                for suffix, balance in (("", "class"), ("_anchors", "none"))
            ),
            measured="probes",
            baselines=("unmasked_anchors",),
            note=_UNKNOWN + "Rows ending in _anchors average over anchors, the others "
            "first over the anchors of every class. " + _RATE_NOTE,
        ),
    )
