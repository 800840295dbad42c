import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hierjax import Hierarchy, losses, models, objectives
from hierjax.errors import UserError
from hierjax.options import changed
from hierjax.training import (
    AXIS,
    Config,
    augmented_embedder,
    create_state,
    embedder,
    make_optimizer,
    make_train_step,
    replicate,
)
from hierjax.training.step import make_embed

ROWS, BATCH = 64, 16
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 4, 5)).astype(np.float32)
LABELS = np.array([[i % 2, i % 4] for i in range(ROWS)], np.int32)
# No row twice in a batch: which of two tied pairs is a target may differ by rounding.
BATCHES = np.argsort(np.random.default_rng(1).random((50, ROWS)), 1)[:, :BATCH]
BATCHES = BATCHES.astype(np.int32)


def user_loss(embeddings, labels):
    """Ten lines of a user's, without where or axis_name."""
    same = labels[:, None, -1] == labels[None, :, -1]
    similarity = embeddings @ embeddings.T
    return jnp.mean(jnp.square(similarity - same))


TRIPLETS = objectives.from_loss(losses.hierarchical_triplet_loss, margins=(0.5, 0.2))
RANKS = objectives.from_loss(losses.rank_based_loss)
EDGES = objectives.from_loss(losses.rank_based_loss, target="block_edge")
CONVNET = models.ConvNet(3, channels=(3,), axis_name=AXIS)


def jitter(key, example):
    """Two views that depend on the key."""
    noise = jax.random.normal(key, (2, *example.shape))
    return example[None] + 0.3 * noise


MLP = models.MLP(3, hidden_sizes=(8,))
TREE = Hierarchy.from_level_labels(LABELS)


def classify(**chosen):
    method = changed(objectives.Classification(), chosen)
    return method.build(TREE, (16, 16, 16, 16))


METHODS = {
    "linear ranks": (models.Linear(3), RANKS, None),
    "linear user": (models.Linear(3), objectives.from_loss(user_loss), None),
    "mlp sum": (
        MLP,
        objectives.weighted_sum([(1.0, TRIPLETS), (2.0, EDGES)]),
        None,
    ),
    "mlp tuples": (MLP, objectives.from_tuple_loss((0.3, 0.3)), None),
    "convnet views": (CONVNET, TRIPLETS, jitter),
    "softmax": (
        models.Linear(3, normalize=False),
        classify(score="softmax", class_priors=True),
        None,
    ),
    "learned": (MLP, classify(score="normface", value=3.0), None),
    "ema dynamic": (
        MLP,
        classify(score="normface", representatives="ema", decay=0.1, scale="dynamic"),
        None,
    ),
    "mds dynamic": (
        models.Linear(3),
        classify(representatives="mds", scale="dynamic"),
        None,
    ),
}


@functools.lru_cache(maxsize=None)
def step_of(method, num_devices, mapping="pmap"):
    """The step, a fresh start, and the placing of arrays, on so many devices."""
    model, objective, augment = METHODS[method]
    devices = tuple(jax.devices()[:num_devices])
    optimizer = make_optimizer(Config(learning_rate=0.05, momentum=0.5))
    step = make_train_step(
        model,
        objective,
        optimizer.update,
        augment=augment,
        devices=devices,
        mapping=mapping,
    )
    place = functools.partial(replicate, devices=devices)
    state = create_state(model, objective, optimizer, FEATURES[:1], seed=0)
    data = place((FEATURES, LABELS, jax.random.key(3)))
    return step, jax.device_get(state), place, data


def run(method, num_devices, num_steps, steps_per_call=1, mapping="pmap"):
    step, state, place, data = step_of(method, num_devices, mapping)
    state, all_metrics = place(state), []
    for first in range(0, num_steps, steps_per_call):
        rows = BATCHES[first : first + steps_per_call]
        rows = rows.reshape(len(rows), num_devices, -1)
        state, metrics = step(state, *data, rows)
        # Fake devices must not run ahead: reading waits for them.
        all_metrics.append({k: np.asarray(v) for k, v in metrics.items()})
    metrics = {
        name: np.concatenate([m[name] for m in all_metrics]) for name in all_metrics[0]
    }
    return state, metrics


def assert_close(a, b, tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_all_devices_hold_the_same_state(method):
    state, metrics = run(method, 4, 5)
    assert state.step == 5
    start = step_of(method, 4)[1]
    for name in ("params", "objective_params"):
        before, after = getattr(start, name), getattr(state, name)
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after, before)
        assert all(change > 0 for change in jax.tree.leaves(moved))
    held = state.objective_state
    if isinstance(held, dict) and "log_scale" in held:
        assert abs(held["log_scale"] - start.objective_state["log_scale"]) > 1e-4
    for leaf in jax.tree.leaves(state):
        shards = {np.asarray(s.data).tobytes() for s in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 4 and len(shards) == 1
    assert all(value.shape == (5,) for value in metrics.values())


@pytest.mark.parametrize("method", METHODS)
def test_one_and_four_devices_train_alike(method):
    # Views of a ConvNet are slow on fake devices; the others go all the way.
    far = 10 if method == "convnet views" else 50
    # On one processor the first step of a dynamic scale parts by 1.25e-5.
    for num_steps, tolerance in ((1, 2e-5), (far, 1e-4)):
        one, one_metrics = run(method, 1, num_steps)
        four, four_metrics = run(method, 4, num_steps)
        assert_close(jax.device_get(one), jax.device_get(four), tolerance)
        assert_close(one_metrics, four_metrics, tolerance)
    assert one_metrics["loss"][-5:].mean() < one_metrics["loss"][:5].mean()


# Rows and pairs, BatchNorm and views, an average and a scale without gradient.
@pytest.mark.parametrize("method", ["linear ranks", "convnet views", "ema dynamic"])
def test_both_mappings_give_the_same_bits(method):
    one, one_metrics = run(method, 4, 3)
    other, other_metrics = run(method, 4, 3, mapping="shard_map")
    pairs = zip(
        jax.tree.leaves((one, one_metrics)),
        jax.tree.leaves((other, other_metrics)),
        strict=True,
    )
    for x, y in pairs:
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    for leaf in jax.tree.leaves(other):
        assert leaf.sharding.is_fully_replicated and len(leaf.addressable_shards) == 4


def test_many_steps_and_embeddings_have_both_mappings_too():
    results = []
    for mapping in ("pmap", "shard_map"):
        state, metrics = run("linear ranks", 4, 5, steps_per_call=5, mapping=mapping)
        model, devices = METHODS["linear ranks"][0], tuple(jax.devices()[:4])
        embed = make_embed(model, devices=devices, mapping=mapping)
        place = functools.partial(replicate, devices=devices)
        arguments = place((state.variables, FEATURES, jax.random.key(0)))
        found = embed(*arguments, np.arange(12, dtype=np.int32).reshape(4, 3))
        assert found.shape == (4, 3, 3)
        results.append(jax.device_get((state, metrics, found)))
    assert_close(*results, 0)
    with pytest.raises(UserError, match="mapping must be one of pmap, shard_map, got"):
        make_embed(model, mapping="vmap")


def test_steps_in_one_call_equal_single_calls():
    many, many_metrics = run("linear ranks", 4, 10, steps_per_call=5)
    single, single_metrics = run("linear ranks", 4, 10)
    assert many_metrics["loss"].shape == (10,)
    assert_close(jax.device_get(many), jax.device_get(single), 1e-6)
    np.testing.assert_allclose(many_metrics["loss"], single_metrics["loss"], rtol=1e-5)


def test_the_first_step_equals_one_written_out():
    """Linear model, the user's loss, plain gradient descent."""
    model = METHODS["linear user"][0]
    state = step_of("linear user", 1)[1]
    rows = BATCHES[0]

    def loss_fn(params):
        z = model.apply({"params": params}, FEATURES[rows])
        return user_loss(z, LABELS[rows])

    value, gradient = jax.value_and_grad(loss_fn)(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.05 * g, state.params, gradient)
    found, metrics = run("linear user", 1, 1)
    assert_close(jax.device_get(found.params), expected, 1e-6)
    np.testing.assert_allclose(metrics["loss"], [value], rtol=1e-5)


def test_views_depend_on_seed_step_and_place():
    step, start, place, (features, labels, _) = step_of("convnet views", 1)

    def loss(seed, rows, at_step=0):
        state = place(start.replace(step=jnp.int32(at_step)))
        key = place(jax.random.key(seed))
        return float(step(state, features, labels, key, rows[None, None])[1]["loss"][0])

    rows = BATCHES[0]
    values = [
        loss(3, rows),
        loss(4, rows),
        loss(3, rows, at_step=1),
        loss(3, rows[::-1].copy()),
    ]
    assert len(set(values)) == 4
    assert values[0] == loss(3, rows)


def test_equal_arguments_give_the_same_function():
    model, objective, _ = METHODS["linear ranks"]
    devices = tuple(jax.devices()[:4])
    steps = {
        make_train_step(
            models.Linear(3),
            objective,
            make_optimizer(Config(learning_rate=rate, momentum=0.5)).update,
            augment=None,
            devices=devices,
            mapping="pmap",
        )
        for rate in (0.05, 0.05, 0.7)
    }
    assert steps == {step_of("linear ranks", 4)[0]}
    other = make_optimizer(Config(momentum=0.6)).update
    changed = make_train_step(model, objective, other, augment=None, devices=devices)
    assert changed not in steps


def test_learning_rates_and_batches_share_one_compilation():
    traces = []

    def counting_loss(embeddings, labels):
        traces.append(embeddings.shape)
        return user_loss(embeddings, labels)

    model, objective = models.Linear(3), objectives.from_loss(counting_loss)
    _, start, place, data = step_of("linear user", 1)
    moves, traced = [], []
    for rate, rows in ((0.1, BATCHES[0]), (0.2, BATCHES[0]), (0.2, BATCHES[1])):
        optimizer = make_optimizer(Config(learning_rate=rate))
        step = make_train_step(
            model, objective, optimizer.update, devices=tuple(jax.devices()[:1])
        )
        state = create_state(model, objective, optimizer, FEATURES[:1], seed=0)
        state, metrics = step(place(state), *data, rows[None, None])
        np.asarray(metrics["loss"])
        traced.append(len(traces))
        moves.append(
            jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, start.params)
        )
    assert traced[0] == traced[1] == traced[2] > 0
    assert_close(jax.tree.map(lambda move: 2 * move, moves[0]), moves[1], 1e-6)
    with pytest.raises(AssertionError):
        assert_close(moves[1], moves[2], 1e-6)


@pytest.mark.parametrize(
    "config",
    [
        Config(optimizer="sgd", momentum=0.9, weight_decay=0.1),
        Config(optimizer="adam", learning_rate=0.01),
        Config(optimizer="adamw", learning_rate=0.01, weight_decay=0.1),
        Config(schedule="cosine", num_steps=7, warmup_steps=2),
        Config(warmup_steps=3),
    ],
    ids=lambda config: f"{config.optimizer} {config.schedule} {config.warmup_steps}",
)
def test_optimizers_equal_optax_with_the_rate_inside(config):
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(0.0, rate, 2, 7)
    elif config.warmup_steps:
        rate = optax.linear_schedule(0.0, rate, config.warmup_steps)
    if config.optimizer == "adamw":
        expected = optax.adamw(rate, weight_decay=config.weight_decay)
    else:
        core = optax.adam(rate)
        if config.optimizer == "sgd":
            core = optax.sgd(rate, config.momentum or None)
        expected = optax.chain(optax.add_decayed_weights(config.weight_decay), core)

    @functools.partial(jax.jit, static_argnums=0)
    def walk(index, params):
        optimizer = (expected, make_optimizer(config))[index]
        state, path = optimizer.init(params), []
        for step in range(4):
            gradients = jax.tree.map(lambda p, s=step: jnp.sin(3.0 * p + s), params)
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            path.append(params)
        return path

    start = {"w": jnp.array([0.3, -1.0, 2.0])}
    paths = walk(0, start), walk(1, start)
    assert_close(*paths, 1e-6)
    assert np.abs(paths[0][-1]["w"] - start["w"]).min() > 1e-4


def test_embedding_is_the_model_in_evaluation_mode():
    model = CONVNET
    state = step_of("convnet views", 4)[1]
    embed = embedder(model, state.variables, FEATURES)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    for rows in ([3], [5, 5, 0, 63, 1], BATCHES[0]):
        expected = model.apply(variables, FEATURES[np.array(rows)])
        np.testing.assert_allclose(embed(np.array(rows)), expected, atol=1e-6)


def test_the_state_holds_no_device_axis_and_no_key():
    start = step_of("mlp sum", 4)[1]
    state, _ = run("mlp sum", 4, 1)
    for before, after in zip(
        jax.tree.leaves(start), jax.tree.leaves(state), strict=True
    ):
        assert np.shape(before) == after.shape
        assert not jnp.issubdtype(after.dtype, jax.dtypes.prng_key)


def test_features_are_what_comes_before_the_head():
    state = step_of("convnet views", 4)[1]
    embed = embedder(CONVNET, state.variables, FEATURES, method="features")
    expected = CONVNET.apply(state.variables, FEATURES, method="features")
    found = embed(np.arange(ROWS))
    assert found.dtype == np.float32 and found.shape == (ROWS, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="method must be one of embeddings, features"):
        embedder(CONVNET, state.variables, FEATURES, method="logits")


@pytest.mark.parametrize("method", ["features", "embeddings"])
def test_augmented_rows_depend_on_seed_epoch_and_row_alone(method):
    model, variables = MLP, step_of("mlp sum", 1)[1].variables

    def embed(rows, epoch, seed=3, num_devices=1):
        devices = tuple(jax.devices()[:num_devices])
        bound = augmented_embedder(
            model,
            variables,
            FEATURES,
            jitter,
            seed=seed,
            method=method,
            devices=devices,
        )
        return bound(np.array(rows), epoch)

    rows = [5, 63, 5, 0, 17]
    expected = []
    for row in rows:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 2), row)
        view = jitter(key, FEATURES[row])[:1]
        name = {"features": "features", "embeddings": "__call__"}[method]
        expected.append(model.apply(variables, view, method=name)[0])
    found = embed(rows, 2)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(embed(rows, 2, num_devices=4), found, atol=1e-6)
    np.testing.assert_allclose(embed(rows[::-1], 2)[::-1], found, atol=1e-6)
    many = np.arange(1300) % ROWS
    np.testing.assert_allclose(embed(many, 2)[rows], found, atol=1e-6)
    assert np.abs(embed(rows, 1) - found).max(axis=1).min() > 1e-3
    assert np.abs(embed(rows, 2, seed=4) - found).max(axis=1).min() > 1e-3


def test_without_augmentation_every_epoch_is_alike():
    variables = step_of("mlp sum", 1)[1].variables
    plain = embedder(MLP, variables, FEATURES, method="features")
    none = augmented_embedder(MLP, variables, FEATURES, None, seed=0)
    for epoch in (0, 7):
        np.testing.assert_array_equal(none(np.arange(9), epoch), plain(np.arange(9)))


def test_embeddings_are_float32_whatever_the_model_gives():
    class Rounded(models.Linear):
        def __call__(self, inputs, train=False):
            return super().__call__(inputs, train).astype(jnp.bfloat16)

    variables = step_of("linear ranks", 1)[1].variables
    found = embedder(Rounded(3), variables, FEATURES)(np.arange(4))
    assert found.dtype == np.float32
