"""Hierarchical contrastive learning, Ott et al. 2025 and what it builds on.

A preset is ``hierarchical_contrastive/<dataset>/<method>``. All methods of a data set
share network, views, augmentation, batch and steps; what is measured are the features
before the projection head. The settings here are for a CPU;
``experiments.reproduce --scale=paper`` has those for accelerators. The paper's own
networks, steps and augmentations are not known to us.
"""

import dataclasses
from collections.abc import Iterator

from experiments.papers import own_data
from experiments.papers.columns import Column, Style
from experiments.papers.layout import Block, Row, Table, make_grid
from experiments.settings.experiment import Experiment
from experiments.settings.presets import (
    Fields,
    Rows,
    make_experiment,
    with_declared,
)
from hierjax.objectives import Method

_COMMON = {
    "num_views": 2,
    "sampler": "uniform",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "embed_dim": 64,
    "head_layers": 2,
    "measured": "features",
    "standardize": False,
    "selection": "nn/average",
    "patience": 0,
}

_DIGIT_IMAGES = {"model": "convnet", "augment": "shift_jitter_noise"}

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
        **_DIGIT_IMAGES,
    },
    "hierarchical_digits": {
        "dataset": "hierarchical_digits",
        "batch_size": 128,
        "num_steps": 400,
        "warmup_steps": 20,
        "eval_every": 100,
        **_DIGIT_IMAGES,
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
_OF_THE_DATA = ("protocol", "model", "init", "augment", "num_views", "standardize")


def _masked(masks: str, **options) -> dict:
    return {"method": "level_contrastive", "masks": masks, **options}


_ROWS = {
    "input": ({"method": "input"}, "the input itself, nothing trained"),
    "cross_entropy": (
        {"method": "classifier", "score": "softmax"},
        "softmax classifier of the leaves",
    ),
    "simclr": ({"method": "simclr"}, "SimCLR, no labels"),
    "supcon_fine": ({"method": "supcon"}, "SupCon on the leaves"),
    "supcon_coarse": (
        {"method": "supcon", "label_level": 0},
        "SupCon on the coarsest level",
    ),
    "hmc": ({"method": "hmc"}, "SupCon at every level, finer ones weighing more"),
    "hce": ({"method": "hce"}, "hierarchical constraint between the levels"),
    "hmce": ({"method": "hmce"}, "HMC with the hierarchical constraint"),
    "hmce_pairwise": (
        {"method": "hmce", "pairwise_max": True},
        "HMCE with the constraint on pairs, as its paper writes it",
    ),
    "hmce_official": (
        {"method": "hmce", "official": True},
        "HMCE as its published code computes it",
    ),
    "unmasked": (_masked("none"), "control: SupCon at every level, no masks"),
    "fixed": (_masked("fixed"), "control: an equal part of the embedding a level"),
    "heads": (_masked("heads"), "control: a projection head a level"),
    "ghmlc_sample": (
        _masked("gaussian", mode="sample"),
        "G-HMLC, masks from a Gaussian mixture in every row",
    ),
    "ghmlc_mean": (
        _masked("gaussian", mode="mean"),
        "G-HMLC, masks from a Gaussian mixture on the mean embedding",
    ),
    "ahmlc": (_masked("attention"), "A-HMLC, attention masks"),
}


def rows() -> Rows:
    """Rows of the tables of this paper, those of further methods behind its own."""
    return with_declared("hierarchical_contrastive", _ROWS)


def experiment(dataset: str, fields: Fields) -> Experiment:
    """The preset of one row on one data set."""
    return make_experiment(_COMMON, DATASETS[dataset], fields)


def fields_of_data(dataset: str) -> dict:
    """Fields that every preset takes from its data set; few for an unknown one."""
    if dataset not in DATASETS:
        return {"protocol": ""}
    settings, default = _COMMON | DATASETS[dataset], Experiment()
    return {key: settings.get(key, getattr(default, key)) for key in _OF_THE_DATA}


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of every preset of this paper."""
    for dataset in DATASETS:
        for row, (fields, summary) in rows().items():
            yield (
                f"hierarchical_contrastive/{dataset}/{row}",
                experiment(dataset, fields),
                f"{summary}, on {dataset}",
            )


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
    settings = _COMMON | DATASETS[dataset]
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

_PRESETS_ONLY = ("hmce_pairwise",)


def _row(name: str, like: str = "", **changes) -> Row:
    """A row after a preset; trained rows have the same trials."""
    fields = rows()[like or name][0] | changes
    method = Method.kinds[fields["method"]]
    if not method.trains:
        return Row(name, fields, ({},))
    return Row(
        name,
        fields,
        tuple(rate | dict(tuned) for rate in _RATES for tuned in method.tuned or ({},)),
    )


def _main_rows() -> tuple[Row, ...]:
    names = rows()
    return tuple(_row(name) for name in names if name not in _PRESETS_ONLY)


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
            _main_rows(),
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


_PROBE = Column("probe {target}", "probe/{target}/features")
_NEAREST = Column("1-NN {target}", "nn/{target}/features")

STYLE = Style(
    columns=(
        _PROBE,
        _NEAREST,
        Column("MAP@R {target}", "map_at_r/{target}/features"),
        Column("sil {target}", "silhouette/{target}/features"),
        Column("val", "validation/all"),
        Column("rank", "effective_rank/all/features", digits=1),
        Column("var 2", "explained_variance/all/features"),
        Column("DP", "inferred_levels/all/projections"),
        Column("guard", "guarded/all"),
    ),
    compared=(_PROBE, _NEAREST),
    introduction=(
        "Scale {scale}. Frozen features before the projection head. probe: linear "
        "classifier, last epoch, its learning rate chosen on validation; 1-NN: nearest "
        "training row by cosine; MAP@R: retrieval among the test rows; sil: silhouette "
        "of the test rows; rank: effective rank of their features; var 2: share of "
        "variance in two principal components; DP: number of groups that a "
        "Dirichlet-process mixture finds among the dimensions of the mean projection; "
        "guard: share of rows whose mixture left a level too few dimensions; val: the "
        "selection measure, nearest training row on validation. Mean ± standard "
        "deviation over seeds. Trials a row, chosen on validation: {trials}.",
        "Differences are paired on the same queries; brackets: 95 % bootstrap interval "
        "over seeds and units, given the test set (↑ better, ↓ worse, = the interval "
        "includes 0). Many comparisons stand side by side: single arrows are weak "
        "evidence.",
    ),
    differences="each baseline",
    settings="The same for all rows: {settings}.",
    chosen="Learning rate chosen on validation (fold 0): {chosen}.",
    chosen_field="learning_rate",
    shares=("Mean mask a level", "mask_share/{level}/projections"),
)
