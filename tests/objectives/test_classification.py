import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, losses, models, objectives, proxies
from hierjax.data import Dataset
from hierjax.errors import DivergedError, UserError
from hierjax.options import changed
from hierjax.training import Config, fit

TREE = Hierarchy.from_paths(
    [["air", "flute"], ["air", "horn"], ["string", "harp"], ["string", "viola"]]
)
CLASSES, ROWS, VIEWS, DIM = 4, 6, 2, 4
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(ROWS, VIEWS, DIM)).astype(np.float32)
IDS = np.array([1, 0, -1, 3, 0, 2])
LABELS = TREE.labels_of(IDS)
WHERE = np.array([True, True, True, True, False, True])
KEY = jax.random.key(0)
COUNTS = (10, 0, 25, 5)
# As the views lie behind each other.
FLAT = EMBEDDINGS.reshape(-1, DIM)
FLAT_IDS = np.repeat(IDS, VIEWS).astype(np.int32)
FLAT_WHERE = np.repeat(WHERE, VIEWS)

cross_entropy = jax.jit(losses.cross_entropy_loss)
corr = jax.jit(losses.corr_loss, static_argnames="official")
OPTIONS = {
    "softmax": {"score": "softmax"},
    "proxydr": {"score": "proxydr", "distance": "arccos", "scale.value": 4.0},
    "dynamic": {"score": "normface", "scale": "dynamic"},
    "ema dynamic": {"representatives": "ema", "decay": 0.3, "scale": "dynamic"},
    "mds": {"score": "normface", "representatives": "mds", "class_priors": True},
    "mds dynamic": {"representatives": "mds", "scale": "dynamic", "official": True},
    "corr": {"criterion": "corr", "representatives": "mds"},
    "corr official": {
        "criterion": "corr",
        "representatives": "mds",
        "official": True,
    },
}


def make(tree=TREE, counts=COUNTS, **chosen):
    chosen = {key.replace("__", "."): value for key, value in chosen.items()}
    return changed(objectives.Classification(), chosen).build(tree, counts)


every_objective = pytest.mark.parametrize("name", OPTIONS)


@functools.lru_cache(maxsize=None)
def made(name):
    """An objective with its first variables and its compiled step."""
    objective = make(**OPTIONS[name])
    params, state = objective.init(KEY, jnp.zeros((1, 1, DIM)))

    def loss_fn(params, state, embeddings, labels, where):
        return objective.apply(
            params, state, embeddings, labels, key=KEY, where=where, axis_name=None
        )

    return objective, params, state, jax.jit(jax.value_and_grad(loss_fn, has_aux=True))


def run(name, embeddings=EMBEDDINGS, where=WHERE, state=None):
    """Loss, new state, metrics, gradient of the parameters."""
    _, params, first_state, step = made(name)
    state = first_state if state is None else state
    (loss, (new_state, measures)), gradient = step(
        params, state, embeddings, LABELS, where
    )
    return loss, new_state, measures, gradient


def proxies_of(name):
    _, params, state, _ = made(name)
    return np.asarray((params | state)["proxies"])


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "SD"}, "no score 'SD'; there are softmax, normface, proxydr"),
        ({"representatives": "fixed"}, "'fixed'; there are learned, ema, mds"),
        ({"distance": "cosine"}, "must be one of euclidean, arccos, got 'cosine'"),
        ({"score": "softmax", "representatives": "ema"}, "neither proxies nor a scale"),
        ({"score": "softmax", "scale": "dynamic"}, "neither proxies nor a scale"),
        ({"criterion": "corr"}, "corr needs the representatives 'mds', got 'learned'"),
        ({**OPTIONS["corr"], "scale": "dynamic"}, "corr has no dynamic scale"),
        ({"scale.value": 0.0}, r"value must be above 0, got 0\.0"),
        ({"scale.value": math.inf}, "value must be finite, got inf"),
        ({"scale.value": math.nan}, "value must be finite, got nan"),
        ({"representatives": "ema", "decay": 0.0}, r"decay must be above 0, got 0\.0"),
        (
            {"representatives": "ema", "decay": 1.5},
            r"at most 1, got 1\.5",
        ),
        ({"class_priors": True, "counts": (1, 2, 3)}, "rows of 4 classes, got 3"),
        ({"decay": 0.1}, "no field 'decay' of classifier"),
        ({"official": True}, "no field 'official' of classifier"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_one_class_is_too_few_where_there_is_something_to_solve():
    one = Hierarchy.from_paths([("animal", "cat")])
    with pytest.raises(UserError, match="a scale needs at least two classes, got 1"):
        make(one, scale="dynamic").init(KEY, jnp.zeros((1, 1, DIM)))
    objective = make(one, representatives="mds")
    with pytest.raises(UserError, match="proxies from the tree need at least two"):
        objective.init(KEY, jnp.zeros((1, 1, DIM)))
    objective = make(one)
    params, state = objective.init(KEY, jnp.zeros((1, 1, DIM)))
    assert objective.scores(params, state, FLAT).shape == (ROWS * VIEWS, 1)


def test_every_option_is_there_under_its_name():
    assert list(objectives.Score.kinds) == [
        "softmax",
        "normface",
        "proxydr",
        "arcface",
    ]
    assert list(objectives.Representatives.kinds) == [
        "learned",
        "ema",
        "mds",
        "haframe",
    ]
    assert list(objectives.Scale.kinds) == ["constant", "dynamic"]
    assert list(objectives.Criterion.kinds)[:2] == ["cross_entropy", "corr"]


def test_equal_methods_share_an_objective():
    method = objectives.Classification()
    assert method.build(TREE) is objectives.Classification().build(TREE, (1, 2, 3, 4))
    assert method.build(TREE) is not changed(method, {"value": 2.0}).build(TREE)
    again = changed(method, {"class_priors": True})
    assert again.build(TREE, COUNTS) is not again.build(TREE, (1, 1, 1, 1))


# What is learned and what is held.


def shapes(tree):
    return jax.tree.map(np.shape, tree)


@every_objective
def test_what_is_learned_and_what_is_held(name):
    objective, params, state, _ = made(name)
    assert objective.num_classes == CLASSES and objective.tuple_size == 1
    options = OPTIONS[name]
    state = dict(state)
    if name == "softmax":
        assert shapes(params) == {"weights": (CLASSES, DIM), "biases": (CLASSES,)}
        assert not np.any(params["biases"]) and state == {}
        return
    kind = options.get("representatives", "learned")
    if options.get("scale") == "dynamic":
        log_scale, opt_state = state.pop("log_scale"), state.pop("scale_opt_state")
        method = options.get("score", "proxydr")
        scale = proxies.initial_scale(CLASSES, method)
        np.testing.assert_allclose(np.exp(log_scale), scale, rtol=1e-6)
        assert all(np.shape(leaf) == () for leaf in jax.tree.leaves(opt_state))
    if kind == "ema":
        assert not np.any(state.pop("seen"))
    held = params if kind == "learned" else state
    assert shapes(held) == {"proxies": (CLASSES, DIM)}
    assert (state if kind == "learned" else params) == {}
    lengths = np.linalg.norm(held["proxies"], axis=1)
    np.testing.assert_allclose(lengths, np.ones(CLASSES), rtol=1e-5)


def test_first_values_depend_on_the_key():
    for name in ("softmax", "proxydr", "ema dynamic", "mds"):
        objective, params, state, _ = made(name)
        other, again = (
            objective.init(jax.random.key(seed), jnp.zeros((5, 2, DIM)))
            for seed in (1, 0)
        )
        jax.tree.map(np.testing.assert_array_equal, again, (params, state))
        own = objective.representatives(params, state)
        assert np.abs(objective.representatives(*other) - own).max() > 0.1


def test_mds_proxies_follow_the_tree():
    held = proxies_of("mds")
    apart = np.linalg.norm(held[:, None] - held[None], axis=-1)
    targets = proxies.tree_targets(TREE.path_length())
    np.testing.assert_allclose(apart, targets, atol=0.05)


@every_objective
def test_representatives_are_unit_vectors(name):
    objective, params, state, _ = made(name)
    held = {k: 3 * v for k, v in params.items()}
    found = objective.representatives(held, state)
    assert found.shape == (CLASSES, DIM)
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1), np.ones(CLASSES), rtol=1e-5
    )
    rows = params["weights"] if name == "softmax" else proxies_of(name)
    cosines = np.sum(found * rows, 1) / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(cosines, np.ones(CLASSES), rtol=1e-5)


# One step.


def expected_logits(name, representatives=None):
    _, params, state, _ = made(name)
    options = OPTIONS[name]
    if name == "softmax":
        return losses.softmax_logits(FLAT, params["weights"], params["biases"])
    normface = options.get("score") == "normface"
    compute = losses.normface_logits if normface else losses.proxydr_logits
    scale = options.get("scale.value", 10.0)
    if options.get("scale") == "dynamic":
        scale = np.exp(state["log_scale"])
    logits = compute(
        FLAT,
        proxies_of(name) if representatives is None else representatives,
        scale=scale,
        distance=options.get("distance", "euclidean"),
    )
    if "class_priors" in options:
        # A class without rows counts for half a row.
        logits = logits + np.log(np.array([10, 0.5, 25, 5]) / 40.5)[None]
    return logits


@every_objective
def test_scores(name):
    objective, params, state, _ = made(name)
    found = objective.scores(params, state, FLAT)
    expected = expected_logits(name)
    assert found.shape == (ROWS * VIEWS, CLASSES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    # By class means, say, of any length.
    others = 2 * RNG.normal(size=(CLASSES, DIM)).astype(np.float32)
    found = objective.scores(params, state, FLAT, others)
    if name == "softmax":
        expected = losses.softmax_logits(FLAT, others, np.zeros(CLASSES))
    else:
        expected = expected_logits(name, others)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every_objective
def test_loss_and_accuracy_over_all_views(name):
    loss, _, measures, _ = run(name)
    logits = expected_logits(name)
    if name.startswith("corr"):
        official = name == "corr official"
        expected = corr(
            FLAT, proxies_of(name), FLAT_IDS, official=official, where=FLAT_WHERE
        )
    else:
        expected = cross_entropy(logits, FLAT_IDS, where=FLAT_WHERE)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    right = [
        int(np.argmax(row)) == c
        for row, c, valid in zip(logits, FLAT_IDS, FLAT_WHERE, strict=True)
        if valid and c >= 0
    ]
    assert len(right) == 8
    np.testing.assert_allclose(measures["accuracy"], np.mean(right), rtol=1e-6)
    dynamic = OPTIONS[name].get("scale") == "dynamic"
    assert set(measures) == {"accuracy"} | ({"scale"} if dynamic else set())


@every_objective
def test_all_parameters_have_a_gradient(name):
    _, _, _, gradient = run(name)
    kind = OPTIONS[name].get("representatives", "learned")
    assert (gradient == {}) == (kind != "learned")
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", ["ema dynamic", "mds dynamic"])
def test_state_moves_without_a_gradient(name):
    _, params, state, _ = made(name)
    assert params == {}
    _, new_state, measures, _ = run(name)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    moved = np.abs(np.asarray(new_state["proxies"]) - state["proxies"]).max(1)
    # Class 2 has row 5 alone; class 0 row 1, since row 4 is masked.
    assert (moved > 0).all() if name == "ema dynamic" else not moved.any()
    np.testing.assert_allclose(measures["scale"], np.exp(new_state["log_scale"]))


def test_the_moving_average_takes_every_view():
    _, new_state, _, _ = run("ema dynamic")
    start = proxies_of("ema dynamic")
    unseen = np.zeros(CLASSES, bool)
    expected, seen = proxies.ema_update(
        start, unseen, FLAT, FLAT_IDS, decay=0.3, where=FLAT_WHERE
    )
    np.testing.assert_allclose(new_state["proxies"], expected, atol=1e-6)
    np.testing.assert_array_equal(new_state["seen"], seen)
    assert seen.all()
    # A first sight replaces the proxy, a second one moves it.
    sight = np.asarray(new_state["proxies"])
    where = np.arange(ROWS) == 3
    _, later, _, _ = run("ema dynamic", where=where, state=new_state)
    expected, _ = proxies.ema_update(
        sight, seen, FLAT, FLAT_IDS, decay=0.3, where=np.repeat(where, VIEWS)
    )
    np.testing.assert_allclose(later["proxies"], expected, atol=1e-6)
    np.testing.assert_array_equal(later["proxies"][:3], sight[:3])

    _, state, _, _ = run("ema dynamic", where=where)
    np.testing.assert_array_equal(state["seen"], [False, False, False, True])
    units = FLAT[6:8] / np.linalg.norm(FLAT[6:8], axis=1, keepdims=True)
    mean = units.sum(0) / np.linalg.norm(units.sum(0))
    np.testing.assert_allclose(state["proxies"][3], mean, atol=1e-6)


@pytest.mark.parametrize("name", ["dynamic", "ema dynamic", "mds dynamic"])
def test_the_scale_follows_the_batch_as_it_was_before_the_step(name):
    _, params, state, _ = made(name)
    options = OPTIONS[name]
    # Proxies before their own move.
    cosines = losses.class_cosines(FLAT, proxies_of(name))
    update = functools.partial(
        proxies.dynamic_scale_update,
        method=options.get("score", "proxydr"),
        official=options.get("official", False),
        where=FLAT_WHERE,
    )
    expected, _ = jax.jit(update)(
        state["log_scale"], state["scale_opt_state"], cosines, FLAT_IDS
    )
    _, new_state, _, _ = run(name)
    np.testing.assert_allclose(new_state["log_scale"], expected, atol=1e-7)
    assert abs(new_state["log_scale"] - state["log_scale"]) > 5e-5


def test_the_official_scale_differs():
    _, params, state, _ = made("mds dynamic")
    second_moments = []
    for official in (False, True):
        objective = make(
            representatives="mds", scale="dynamic", scale__official=official
        )
        apply = functools.partial(objective.apply, key=KEY, axis_name=None)
        _, (new_state, _) = jax.jit(apply)(
            params, state, EMBEDDINGS, LABELS, where=WHERE
        )
        second_moments.append(float(new_state["scale_opt_state"][0].nu))
    assert second_moments[0] != pytest.approx(second_moments[1], rel=0.01)


@every_objective
def test_rows_that_do_not_count_may_hold_anything(name):
    clean = run(name)
    dirty = EMBEDDINGS.copy()
    dirty[4] = np.nan
    jax.tree.map(np.testing.assert_array_equal, run(name, dirty), clean)


@every_objective
def test_nothing_valid_changes_nothing(name):
    _, _, state, _ = made(name)
    loss, new_state, measures, gradient = run(name, where=np.zeros(ROWS, bool))
    assert loss == 0 and measures["accuracy"] == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    for key in ("proxies", "seen", "log_scale"):
        if key in state:
            np.testing.assert_array_equal(new_state[key], state[key])


def test_added_to_another_objective():
    classes, params, state, _ = made("ema dynamic")
    other = objectives.from_loss(losses.rank_based_loss)
    total = objectives.weighted_sum([(2.0, other), (0.5, classes)])
    assert total.num_classes == CLASSES
    variables = total.init(KEY, jnp.zeros((1, 1, DIM)))
    assert jax.tree.structure(variables) == jax.tree.structure(
        ([{}, params], [{}, state])
    )
    units = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=-1, keepdims=True)
    apply = functools.partial(total.apply, key=KEY, axis_name=None)
    loss, ((_, new_state), measures) = jax.jit(apply)(
        [{}, params], [{}, state], units, LABELS, where=WHERE
    )
    rank = jax.jit(losses.rank_based_loss)(
        units.reshape(-1, DIM), np.repeat(LABELS, VIEWS, 0), where=FLAT_WHERE
    )
    alone, alone_state, alone_measures, _ = run("ema dynamic", units)
    np.testing.assert_allclose(loss, 2 * rank + 0.5 * alone, rtol=1e-5)
    for key in ("proxies", "seen", "log_scale"):
        np.testing.assert_allclose(new_state[key], alone_state[key], atol=1e-6)
    np.testing.assert_allclose(measures["term_1/accuracy"], alone_measures["accuracy"])
    np.testing.assert_allclose(
        total.scores([{}, params], [{}, state], FLAT),
        expected_logits("ema dynamic"),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        total.representatives([{}, params], [{}, state]),
        proxies_of("ema dynamic"),
        atol=1e-6,
    )


# Training.


def make_data(tree):
    classes = np.arange(32) % tree.num_classes
    rng = np.random.default_rng(0)
    features = 2 * rng.normal(size=(tree.num_classes, 5))[classes]
    features = features + 0.3 * rng.normal(size=(32, 5))
    splits = {"train": np.arange(24), "test": np.arange(24, 32)}
    return Dataset("toy", features, tree.labels_of(classes), tree, splits)


CONFIG = Config(
    num_steps=40,
    batch_size=8,
    learning_rate=0.1,
    momentum=0.5,
    eval_every=20,
    patience=0,
    steps_per_call=5,
)


def train(objective, tree=TREE, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return fit(models.Linear(DIM), objective, make_data(tree), config, num_devices=1)


@pytest.mark.parametrize("name", ["proxydr", "ema dynamic"])
def test_training_learns_the_classes(name):
    result = train(made(name)[0])
    if name == "proxydr":  # Moving averages begin where the classes are.
        assert result.records[-1]["loss"] < result.records[0]["loss"]
    assert result.records[-1]["accuracy"] > 0.9
    data = make_data(TREE)
    rows = data.rows("test")
    scores = result.classifier.scores(result.embed(rows))
    assert np.mean(np.argmax(scores, 1) == data.labels[rows, -1]) > 0.9
    lengths = np.linalg.norm(result.classifier.representatives, axis=1)
    np.testing.assert_allclose(lengths, np.ones(CLASSES), rtol=1e-5)


def test_another_number_of_classes_is_refused():
    other = Hierarchy.from_paths([["a", "x"], ["a", "y"], ["b", "z"]])
    for objective in (
        make(),
        objectives.weighted_sum([(1.0, make(score="softmax"))]),
    ):
        with pytest.raises(UserError, match="toy has 3 classes, the objective has 4"):
            train(objective, tree=other)


def test_a_scale_that_overflows_ends_training():
    steady = make(representatives="ema", scale="dynamic")

    def init(key, example_embeddings):
        params, state = steady.init(key, example_embeddings)
        return params, state | {"log_scale": jnp.float32(100)}

    with pytest.raises(DivergedError, match="the loss is nan at step 1; a smaller"):
        train(dataclasses.replace(steady, init=init))


def test_an_absurd_learning_rate_ends_training():
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step \d+; a sm"):
        train(make(score="softmax"), learning_rate=1e38)


# Unknown leaves.


def test_a_row_known_to_an_inner_node_teaches_that_node():
    objective = make(score="normface", scale__value=5.0)
    params, state = objective.init(KEY, jnp.zeros((1, 1, DIM)))
    labels = LABELS.copy()
    labels[0] = [TREE.labels_of(IDS[:1])[0, 0], -1]
    loss, _ = jax.jit(
        lambda labels: objective.apply(
            params, state, EMBEDDINGS, labels, key=KEY, where=WHERE, axis_name=None
        )
    )(labels)
    scores = np.asarray(objective.scores(params, state, FLAT), np.float64)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    counted = [
        shares[row, :2].sum() if row < VIEWS else shares[row, FLAT_IDS[row]]
        for row in np.flatnonzero(FLAT_WHERE & (FLAT_IDS >= 0))
    ]
    np.testing.assert_allclose(loss, -np.mean(np.log(counted)), rtol=1e-5)
