"""Contrastive objectives: the right loss on the right labels, on any devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import (
    Hierarchy,
    data,
    distances,
    level_masks,
    losses,
    models,
    objectives,
    training,
)
from hierjax.errors import UserError
from hierjax.options import changed, from_plain

TREE = Hierarchy.from_paths(
    [(a, b) for a in ("x", "y", "z") for b in ("0", "1")], level_names=("top", "leaf")
)
EXAMPLES, VIEWS, DIM = 12, 2, 8


def contrastive(method, **chosen):
    kind = objectives.Method.kinds[method]
    return kind(**chosen).build(TREE)


def level_contrastive(**chosen):
    return changed(objectives.LevelContrastive(), chosen).build(TREE)


@functools.cache
def batch():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(EXAMPLES, VIEWS, DIM)).astype(np.float32)
    labels = TREE.labels_of(rng.integers(0, TREE.num_classes, EXAMPLES))
    return distances.unit_normalize(jnp.asarray(z)), labels, np.ones(EXAMPLES, bool)


def value(objective, labels=None, seed=0):
    z, own, where = batch()
    labels = own if labels is None else labels
    params, state = objective.init(jax.random.key(seed), z)
    loss, (state, metrics) = objective.apply(
        params,
        state,
        z,
        jnp.asarray(labels),
        key=jax.random.key(1),
        where=jnp.asarray(where),
        axis_name=None,
    )
    return float(loss), metrics


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("simclr", {}, lambda z, y: losses.simclr_loss(z, temperature=0.2)),
        ("supcon", {}, lambda z, y: losses.supcon_loss(z, y[:, 1], temperature=0.2)),
        (
            "supcon",
            {"label_level": 0},
            lambda z, y: losses.supcon_loss(z, y[:, 0], temperature=0.2),
        ),
        (
            "supcon",
            {"official": True},
            lambda z, y: losses.supcon_loss(z, y[:, 1], temperature=0.2) * 0.2 / 0.07,
        ),
        ("hmc", {}, lambda z, y: losses.hmc_loss(z, y, temperature=0.2)),
        ("hce", {}, lambda z, y: losses.hce_loss(z, y, temperature=0.2)),
        (
            "hmce",
            {"pairwise_max": True},
            lambda z, y: losses.hmce_loss(z, y, temperature=0.2, pairwise_max=True),
        ),
        (
            "hmce",
            {"official": True},
            lambda z, y: losses.hmce_loss(z, y, temperature=0.2, official=True),
        ),
    ],
)
def test_it_is_the_loss(method, options, expected):
    objective = contrastive(method, temperature=0.2, **options)
    z, labels, _ = batch()
    found, _ = value(objective)
    assert found > 0.1
    np.testing.assert_allclose(found, expected(z, labels), rtol=1e-5)


@pytest.mark.parametrize("activation", level_masks.ACTIVATIONS)
def test_attention_starts_as_the_control_and_learns(activation):
    plain, _ = value(level_contrastive(masks="none"))
    objective = level_contrastive(masks="attention", activation=activation)
    found, metrics = value(objective)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    np.testing.assert_allclose(metrics["mask_share_top"], 1, rtol=1e-5)
    z, labels, where = map(jnp.asarray, batch())
    params, state = objective.init(jax.random.key(0), z)
    fixed = {"key": jax.random.key(0), "where": where, "axis_name": None}

    def loss(params):
        return objective.apply(params, state, z, labels, **fixed)[0]

    assert np.abs(jax.grad(loss)(params)["weights"]).max() > 1e-4


def test_penalties_of_attention_add_up():
    plain, _ = value(level_contrastive(masks="attention"))
    overlapping, _ = value(level_contrastive(masks="attention", overlap_weight=0.5))
    # Two levels of all-one masks overlap by 1 on average over the dimensions.
    np.testing.assert_allclose(overlapping - plain, 0.5, rtol=1e-4)
    spread, _ = value(level_contrastive(masks="attention", entropy_weight=0.5))
    np.testing.assert_allclose(spread - plain, 0.5 * np.log(DIM), rtol=1e-4)


@pytest.mark.parametrize("mode", ["sample", "mean", "fixed"])
def test_disjoint_masks_share_the_embedding(mode):
    mixed = mode != "fixed"
    objective = level_contrastive(
        **{"masks": "gaussian", "mode": mode} if mixed else {"masks": "fixed"}
    )
    _, metrics = value(objective)
    shares = metrics["mask_share_top"], metrics["mask_share_leaf"]
    np.testing.assert_allclose(sum(shares), 1, rtol=1e-5)
    assert ("guarded" in metrics) == mixed
    z, _, _ = batch()
    params, state = objective.init(jax.random.key(0), z)
    made = np.asarray(objective.level_masks(params, state, z))
    assert made.shape[-2:] == (2, DIM) and set(np.unique(made)) == {0, 1}
    np.testing.assert_array_equal(made.sum(-2), 1)


def test_heads_are_parts_of_a_longer_embedding():
    z, labels, _ = batch()
    found, _ = value(level_contrastive(masks="heads", balance="none"))
    parts = [distances.unit_normalize(part) for part in jnp.split(z, 2, axis=-1)]
    alone = [losses.supcon_loss(p, labels[:, i]) for i, p in enumerate(parts)]
    np.testing.assert_allclose(found, np.mean(alone), rtol=1e-5)


def test_a_column_is_the_name_whatever_the_parent():
    z, labels, _ = batch()
    found, _ = value(
        level_contrastive(masks="none", label_scope="column", balance="none")
    )
    names = np.array([int(TREE.paths[c][1]) for c in labels[:, 1]])
    alone = losses.supcon_loss(z, labels[:, 0]), losses.supcon_loss(z, names)
    np.testing.assert_allclose(found, np.mean(alone), rtol=1e-5)
    path, _ = value(level_contrastive(masks="none", balance="none"))
    assert abs(path - found) > 1e-3


def test_unknown_leaves_stay_unknown_in_columns():
    _, labels, _ = batch()
    hidden = labels.copy()
    hidden[::2, 1] = -1
    objective = level_contrastive(masks="none", label_scope="column")
    found, _ = value(objective, hidden)
    assert np.isfinite(found) and found != value(objective)[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: from_plain(objectives.Method, {"name": "clip"}), "no method 'clip'"),
        (lambda: contrastive("hmc", temperature=0.0), "temperature"),
        (lambda: changed(objectives.HMC(), {"pairwise_max": True}), "pairwise_max"),
        (lambda: objectives.HCE(pairwise_max=True, official=True), "pairwise_max"),
        (lambda: value(contrastive("supcon", label_level=2)), "label_level"),
        (lambda: level_contrastive(masks="hard"), "no masks 'hard'"),
        (lambda: level_contrastive(temperature=-1.0), "temperature"),
        (lambda: level_contrastive(balance="all"), "balance"),
    ],
)
def test_wrong_options_say_so(make, words):
    with pytest.raises(UserError, match=words):
        make()


@functools.cache
def small_set():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, TREE.num_classes, 48)
    centres = rng.normal(size=(TREE.num_classes, 6))
    features = centres[ids] + 0.3 * rng.normal(size=(48, 6))
    return data.Dataset(
        name="toy",
        features=features.astype(np.float32),
        labels=TREE.labels_of(ids),
        hierarchy=TREE,
        splits={"train": np.arange(48)},
    )


def noisy_views(key, example):
    return example[None] + 0.1 * jax.random.normal(key, (2, *example.shape))


def test_only_simclr_learns_from_rows_without_labels():
    hidden = small_set().train_labels.copy()
    hidden[::2] = -1
    dataset = dataclasses.replace(small_set(), train_labels=hidden)
    assert not contrastive("simclr").needs_labels
    assert contrastive("supcon").needs_labels
    both = objectives.weighted_sum(
        [
            (1.0, contrastive("simclr")),
            (0.5, contrastive("supcon")),
        ]
    )
    assert not both.needs_labels  # SimCLR learns from every row.
    nothing = dataclasses.replace(dataset, train_labels=np.full_like(hidden, -1))
    config = training.Config(
        num_steps=1, batch_size=8, sampler="uniform", eval_every=1, learning_rate=0.1
    )
    shared = {"augment": noisy_views, "num_devices": 1}
    model = models.Linear(embed_dim=4)
    result = training.fit(model, contrastive("simclr"), nothing, config, **shared)
    assert result.records[-1]["loss"] > 0
    with pytest.raises(UserError, match="no training row has a known label"):
        training.fit(model, contrastive("supcon"), nothing, config, **shared)


# One step of the others is compared in test_sharding.
OBJECTIVES = {
    "heads": lambda: level_contrastive(masks="heads"),
    "gaussian_sample": lambda: level_contrastive(masks="gaussian"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_four_devices_are_one(name):
    objective = OBJECTIVES[name]()
    config = training.Config(
        num_steps=5,
        batch_size=16,
        sampler="uniform",
        learning_rate=0.05,
        steps_per_call=1,
        eval_every=5,
    )

    def trained(num_devices):
        heads = 2 if name == "heads" else 1
        return training.fit(
            models.Linear(embed_dim=8, num_heads=heads),
            objective,
            small_set(),
            config,
            augment=noisy_views,
            num_devices=num_devices,
        )

    one, four = trained(1), trained(4)
    for a, b in zip(
        jax.tree.leaves(one.last_state), jax.tree.leaves(four.last_state), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        one.records[-1]["loss"], four.records[-1]["loss"], rtol=1e-4
    )
