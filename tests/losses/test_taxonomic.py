import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hierjax import Hierarchy, losses
from hierjax.level_nodes import level_nodes
from tests.compiling import jit

RAGGED = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
# A chain of one child each, beside a class at the top.
LONELY = Hierarchy.from_paths([["a", "p", "x"], ["b", "q", "y"], ["b", "q", "z"]])
ONE = Hierarchy.from_paths([["a", "p"]])
INTERNAL = Hierarchy.from_paths(
    [["a", "p"], ["a"], ["a", "q"], ["b", "r"]], allow_internal_classes=True
)
FLAT = Hierarchy.from_paths([["a"], ["b"], ["c"]])
TREES = {
    "ragged": RAGGED,
    "lonely": LONELY,
    "one class": ONE,
    "internal": INTERNAL,
    "flat": FLAT,
}
ROWS = 9
OFFICIAL = {"official": True}
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())


def draw(tree, seed=0, unknown=0.5, spread=2.0):
    """Logits, labels of which some end early, and a mask."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(ROWS, tree.num_classes)).astype(np.float32)
    labels = tree.labels_of(rng.integers(0, tree.num_classes, ROWS)).copy()
    known = np.where(
        rng.random(ROWS) < unknown,
        rng.integers(0, tree.num_levels, ROWS),
        tree.num_levels,
    )
    labels[np.arange(tree.num_levels) >= known[:, None]] = -1
    where = rng.random(ROWS) < 0.8
    where[0] = True
    return logits.astype(np.float32), labels, where


def real_paths(tree):
    """Paths of the classes; one that is an ancestor is a child of its own node."""
    paths = list(tree.paths)
    return [
        (*path, "itself") if any(o[: len(path)] == path != o for o in paths) else path
        for path in paths
    ]


def prefix_of(tree, row):
    """The real node that a row of labels ends at, as a path of names."""
    known = [level for level, node in enumerate(row) if node >= 0]
    if not known:
        return ()
    level = known[-1]
    inside = [
        c for c in range(tree.num_classes) if tree.ancestors[c, level] == row[level]
    ]
    return real_paths(tree)[inside[0]][: level + 1]


def log_probability(tree, logits, prefix):
    """In float64, by a loop over classes."""
    top = max(map(float, logits))
    exponentials = [math.exp(float(z) - top) for z in logits]
    inside = sum(
        e
        for e, path in zip(exponentials, real_paths(tree), strict=True)
        if path[: len(prefix)] == prefix
    )
    return math.log(inside / sum(exponentials))


def mean_over(tree, logits, labels, where, of_row, tells=lambda prefix: True):
    found = []
    for z, row, valid in zip(logits, labels, where, strict=True):
        prefix = prefix_of(tree, row)
        if valid and prefix and tells(prefix):
            found.append(of_row(z, prefix))
    return sum(found) / len(found) if found else 0.0


def loop_hxe(tree, logits, labels, where, alpha):
    def of_row(z, prefix):
        total = 0.0
        for depth in range(1, len(prefix) + 1):
            step = log_probability(tree, z, prefix[:depth])
            step -= log_probability(tree, z, prefix[: depth - 1])
            total -= math.exp(-alpha * depth) * step
        return total

    return mean_over(tree, logits, labels, where, of_row)


def hace_of(tree, z, prefix, decay):
    return -sum(
        decay
        * (1 - decay) ** (len(prefix) - depth)
        * log_probability(tree, z, prefix[:depth])
        for depth in range(1, len(prefix) + 1)
    )


def loop_marginal(tree, logits, labels, where):
    def tells(prefix):
        return not all(path[: len(prefix)] == prefix for path in real_paths(tree))

    return mean_over(
        tree,
        logits,
        labels,
        where,
        lambda z, prefix: -log_probability(tree, z, prefix),
        tells,
    )


@functools.lru_cache(maxsize=None)
def of_arrays(loss, tree, static):
    def of_batch(logits, labels, where, numbers):
        options = dict(static) | numbers
        if "depths" in options:
            options["depths"] = tree.depths
        return loss(logits, labels, tree.ancestors, where=where, **options)

    return jit(of_batch)


def quick(loss, logits, labels, tree, where, static=(), **numbers):
    """The value, compiled as a whole and once for all values of the numbers."""
    return of_arrays(loss, tree, static)(logits, labels, where, numbers)


DEPTHS = (("depths", True),)


def value_and_gradient(loss, logits, *rest, **options):
    function = functools.partial(loss, **options)
    return jit(jax.value_and_grad(lambda z: function(z, *rest)))(logits)


@trees
def test_log_probs_of_all_nodes(tree):
    logits = draw(tree, spread=8.0)[0]
    found = jit(lambda z: losses.ancestor_log_probs(z, tree.ancestors))(logits)
    nodes = level_nodes(tree.ancestors)
    assert found.shape == (ROWS, nodes.num_nodes) and found.dtype == np.float32
    for level in range(tree.num_levels):
        for node in range(tree.nodes_per_level[level]):
            inside = tree.ancestors[:, level] == node
            first = inside.argmax()
            prefix = real_paths(tree)[first][: level + 1]
            for row, z in enumerate(logits):
                np.testing.assert_allclose(
                    found[row, nodes.offsets[level] + node],
                    log_probability(tree, z, prefix),
                    rtol=1e-5,
                    atol=1e-6,
                )


@trees
def test_children_sum_to_their_parent(tree):
    logits = draw(tree, seed=1)[0]
    nodes = level_nodes(tree.ancestors)
    scores = np.random.default_rng(2).normal(size=(ROWS, nodes.num_nodes))
    for function, values in (
        (losses.ancestor_log_probs, logits),
        (losses.conditional_log_probs, scores.astype(np.float32)),
    ):
        log_probs = jit(functools.partial(function, ancestors=tree.ancestors))(values)
        found = np.exp(np.asarray(log_probs, np.float64))
        sums = np.ones((ROWS, nodes.num_nodes + 1))
        sums[:, :-1] = found
        children = np.zeros_like(sums)
        for node, parent in enumerate(nodes.parents):
            children[:, parent] += found[:, node]
        has_children = np.append(np.arange(nodes.num_nodes), 0) < (
            nodes.num_nodes - nodes.num_classes
        )
        has_children[-1] = True
        np.testing.assert_allclose(
            children[:, has_children], sums[:, has_children], rtol=2e-6
        )


def test_unlikely_and_impossible_nodes_keep_their_digits():
    logits = np.array([[0, -300, -299, -400, -310, -np.inf]], np.float32)
    found = jit(lambda z: losses.ancestor_log_probs(z, RAGGED.ancestors))(logits)
    offsets = level_nodes(RAGGED.ancestors).offsets
    # Node c holds -310 and an impossible class; b is the class of -300.
    names = RAGGED.node_names(0)
    np.testing.assert_allclose(found[0, names.index("c")], -310, rtol=1e-6)
    np.testing.assert_allclose(found[0, names.index("b")], -300, rtol=1e-6)
    assert found[0, offsets[-2] + 5] == -np.inf

    def total(z):
        log_probs = losses.ancestor_log_probs(z, RAGGED.ancestors)
        return jnp.sum(jnp.where(log_probs > -np.inf, log_probs, 0.0))

    assert np.isfinite(jit(jax.grad(total))(logits)).all()


@pytest.mark.parametrize("name", ["marginal", "hxe", "hace"])
def test_labels_of_unlikely_and_impossible_nodes(name):
    logits = np.array([[0, -300, -299, -400, -310, -np.inf]] * 2, np.float32)
    labels = RAGGED.encode([["c"], ["b"]])
    where = np.array([True, True])
    loss = functools.partial(ALL[name], where=where)
    value, gradient = value_and_gradient(loss, logits, labels, RAGGED.ancestors)
    assert np.isfinite(gradient).all()
    # As HXE at alpha 0 and HACE at decay 1 all are the mean of 310 and 300.
    np.testing.assert_allclose(value, 305, rtol=1e-6)
    impossible = np.array([[0, 0, 0, 0, -np.inf, -np.inf]] * 2, np.float32)
    assert quick(ALL[name], impossible, labels, RAGGED, where) == np.inf


@trees
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_hxe(tree, alpha):
    logits, labels, where = draw(tree)
    found = quick(losses.hxe_loss, logits, labels, tree, where, alpha=alpha)
    expected = loop_hxe(tree, logits, labels, where, alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@trees
def test_hxe_official_divides_by_the_weights_of_all_real_nodes(tree):
    logits, labels, where = draw(tree, unknown=0)
    prefixes = {p[:k] for p in real_paths(tree) for k in range(len(p) + 1)}
    total = sum(math.exp(-0.7 * len(prefix)) for prefix in prefixes)
    static = (("official", True), *DEPTHS)
    found = quick(losses.hxe_loss, logits, labels, tree, where, static, alpha=0.7)
    expected = loop_hxe(tree, logits, labels, where, 0.7) / total
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@trees
@pytest.mark.parametrize("decay", [0.2, 1.0])
def test_hace(tree, decay):
    logits, labels, where = draw(tree)
    found = quick(losses.hace_loss, logits, labels, tree, where, DEPTHS, decay=decay)
    expected = mean_over(
        tree, logits, labels, where, lambda z, p: hace_of(tree, z, p, decay)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tree", [RAGGED, INTERNAL], ids=["ragged", "internal"])
@pytest.mark.parametrize("variant", ["smoothing", "soft_targets"])
def test_hace_of_smooth_targets(tree, variant):
    logits, labels, where = draw(tree, seed=3)
    if variant == "smoothing":
        option = 0.3
        num_classes = tree.num_classes
        targets = 0.7 * np.eye(num_classes) + 0.3 / num_classes
    else:
        option = targets = np.asarray(losses.soft_labels(tree.path_length(), beta=3))
    options = {"decay": 0.4, variant: option}
    found = quick(losses.hace_loss, logits, labels, tree, where, DEPTHS, **options)
    paths = real_paths(tree)

    def of_row(z, prefix):
        of_classes = [hace_of(tree, z, path, 0.4) for path in paths]
        if prefix in paths:
            return sum(targets[paths.index(prefix)] * of_classes)
        own = hace_of(tree, z, prefix, 0.4)
        if variant == "soft_targets":
            return own
        return 0.7 * own + 0.3 * np.mean(of_classes)

    expected = mean_over(tree, logits, labels, where, of_row)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@trees
def test_marginal(tree):
    logits, labels, where = draw(tree)
    found = quick(losses.marginal_loss, logits, labels, tree, where)
    expected = loop_marginal(tree, logits, labels, where)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def below(tree, labels):
    rows = []
    for row in labels:
        level = int((row >= 0).sum()) - 1
        none = np.zeros(tree.num_classes, bool)
        rows.append(tree.ancestors[:, level] == row[level] if level >= 0 else none)
    return np.array(rows)


def test_marginal_is_the_cross_entropy_of_candidates():
    @jit
    def both(logits, labels, candidates, where):
        return (
            losses.marginal_loss(logits, labels, RAGGED.ancestors, where=where),
            losses.cross_entropy_loss(
                logits, labels[:, -1], candidates=candidates, where=where
            ),
        )

    for seed in range(3):
        logits, labels, where = draw(RAGGED, seed)
        found, expected = both(logits, labels, below(RAGGED, labels), where)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


SAME_AS_CROSS_ENTROPY = {
    "marginal": losses.marginal_loss,
    "hxe": functools.partial(losses.hxe_loss, alpha=0.0),
    "hace": functools.partial(losses.hace_loss, decay=1.0, depths=RAGGED.depths),
}


@pytest.mark.parametrize(
    "loss", SAME_AS_CROSS_ENTROPY.values(), ids=SAME_AS_CROSS_ENTROPY
)
def test_of_leaves_value_and_gradient_are_those_of_optax(loss):
    logits, labels, _ = draw(RAGGED, unknown=0)
    found = value_and_gradient(loss, logits, labels, RAGGED.ancestors)
    flat = optax.losses.softmax_cross_entropy_with_integer_labels
    expected = value_and_gradient(lambda z: flat(z, labels[:, -1]).mean(), logits)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-7)


def loop_soft_labels(distance, beta):
    rows = []
    for row in distance:
        weights = [math.exp(-beta * d / distance.max()) for d in row.tolist()]
        rows.append([w / sum(weights) for w in weights])
    return rows


def test_soft_labels():
    rng = np.random.default_rng(0)
    distance = rng.random((6, 6)) * 3
    np.fill_diagonal(distance, 0)
    targets = loop_soft_labels(distance, 4)
    np.testing.assert_allclose(losses.soft_labels(distance, beta=4), targets, rtol=1e-5)
    logits, _, where = draw(RAGGED)
    class_ids = rng.integers(-1, 6, ROWS)
    found, official = (
        losses.soft_label_loss(
            logits, class_ids, distance, beta=4, where=where, official=official
        )
        for official in (False, True)
    )
    terms = []
    for z, c, valid in zip(logits, class_ids, where, strict=True):
        if valid and c >= 0:
            log_p = [log_probability(RAGGED, z, path) for path in real_paths(RAGGED)]
            terms.append(
                sum(
                    q * (math.log(q) - p)
                    for q, p in zip(targets[c], log_p, strict=True)
                )
            )
    np.testing.assert_allclose(found, np.mean(terms), rtol=1e-5)
    np.testing.assert_allclose(official, found / 6, rtol=1e-6)


def test_soft_labels_become_the_cross_entropy():
    logits, labels, _ = draw(RAGGED, unknown=0)
    distance, ids = RAGGED.lca_height(), labels[:, -1]
    found = value_and_gradient(losses.soft_label_loss, logits, ids, distance, beta=1e4)
    expected = value_and_gradient(losses.cross_entropy_loss, logits, ids)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-7)
    assert losses.soft_label_loss(np.ones((2, 1), np.float32), [0, 0], [[0]]) == 0


def loop_conditional(tree, scores, prefix, priors):
    """Log-probability of a node from scores by prefix."""
    prefixes = {p[:k] for p in real_paths(tree) for k in range(1, len(p) + 1)}
    total = 0.0
    for depth in range(1, len(prefix) + 1):
        siblings = [
            p for p in prefixes if len(p) == depth and p[:-1] == prefix[: depth - 1]
        ]
        exps = {p: math.exp(scores[p] + priors[p]) for p in siblings}
        total += math.log(exps[prefix[:depth]] / sum(exps.values()))
    return total


@trees
@pytest.mark.parametrize("tau", [None, 0.6])
def test_conditional_softmax(tree, tau):
    rng = np.random.default_rng(5)
    nodes = level_nodes(tree.ancestors)
    logits = rng.normal(size=(ROWS, nodes.num_nodes)).astype(np.float32)
    _, labels, where = draw(tree, seed=5)
    counts = rng.integers(0, 9, tree.num_classes)
    rows = np.maximum(counts, 0.5)
    paths = real_paths(tree)
    number = {}
    for c, path in enumerate(paths):
        for level in range(len(path)):
            number[path[: level + 1]] = nodes.paths[c, level]
    size = {
        p: sum(n for n, q in zip(rows, paths, strict=True) if q[: len(p)] == p)
        for p in (*number, ())
    }
    priors = {p: math.log(size[p] / size[p[:-1]]) for p in number}
    options = {}
    if tau is None:
        priors = dict.fromkeys(number, 0.0)
    else:
        given = losses.sibling_log_priors(counts, tree.ancestors)
        for p, value in priors.items():
            np.testing.assert_allclose(given[number[p]], value, rtol=1e-5, atol=1e-6)
            priors[p] = tau * value
        options = {"log_priors": given, "tau": tau}
    loss = losses.conditional_softmax_loss
    found = quick(loss, logits, labels, tree, where, **options)

    def of_row(z, prefix):
        scores = {p: float(z[n]) for p, n in number.items()}
        return -loop_conditional(tree, scores, prefix, priors)

    expected = mean_over(tree, logits, labels, where, of_row)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_conditional_softmax_of_one_level_is_the_cross_entropy():
    logits, labels, where = draw(FLAT, unknown=0)
    found = value_and_gradient(
        losses.conditional_softmax_loss, logits, labels, FLAT.ancestors, where=where
    )
    expected = value_and_gradient(
        losses.cross_entropy_loss, logits, labels[:, -1], where=where
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-7)


def test_a_label_teaches_only_the_choices_on_its_path():
    nodes = level_nodes(RAGGED.ancestors)
    logits = np.zeros((1, nodes.num_nodes), np.float32)
    labels = RAGGED.encode([["a", "p"]])
    gradient = value_and_gradient(
        losses.conditional_softmax_loss, logits, labels, RAGGED.ancestors
    )[1]
    touched = set(np.flatnonzero(gradient[0]))
    top = set(range(nodes.offsets[1]))
    names = RAGGED.node_names(1)
    siblings = {nodes.offsets[1] + names.index(name) for name in ("p", "q")}
    assert touched == top | siblings


def of_leaves(logits, labels, ancestors, **options):
    del ancestors
    distance = RAGGED.lca_height()
    return losses.soft_label_loss(logits, labels[:, -1], distance, **options)


ALL = {
    **SAME_AS_CROSS_ENTROPY,
    "soft targets": functools.partial(
        losses.hace_loss, soft_targets=np.full((6, 6), 1 / 6), depths=RAGGED.depths
    ),
    "smooth": functools.partial(losses.hace_loss, smoothing=0.2, depths=RAGGED.depths),
    "hxe official": functools.partial(
        losses.hxe_loss, official=True, depths=RAGGED.depths
    ),
    "soft labels": of_leaves,
    "conditional": losses.conditional_softmax_loss,
}
WIDTH = {"conditional": level_nodes(RAGGED.ancestors).num_nodes}
all_losses = pytest.mark.parametrize("name", ALL)


@functools.lru_cache(maxsize=None)
def compiled(name):
    def loss(logits, labels, where):
        return ALL[name](logits, labels, RAGGED.ancestors, where=where)

    return jit(jax.value_and_grad(loss))


def batch_for(name, seed=7):
    _, labels, where = draw(RAGGED, seed)
    rng = np.random.default_rng(seed)
    width = WIDTH.get(name, RAGGED.num_classes)
    return rng.normal(size=(ROWS, width)).astype(np.float32), labels, where


@all_losses
def test_padding_may_hold_anything(name):
    logits, labels, where = batch_for(name)
    value, gradient = compiled(name)(logits, labels, where)
    assert value > 0.01 and np.abs(gradient[where]).max() > 0
    for rubbish in (np.nan, np.inf, -np.inf, 1e30):
        spoilt = np.where(where[:, None], logits, np.float32(rubbish))
        again, new = compiled(name)(spoilt, labels, where)
        assert again == value
        np.testing.assert_array_equal(new, gradient)


@all_losses
def test_nothing_known_gives_zero(name):
    logits, labels, where = batch_for(name)
    for batch in (
        (logits, np.full_like(labels, -1), where),
        (logits, labels, np.zeros_like(where)),
        (np.full_like(logits, np.nan), np.full_like(labels, -1), where),
    ):
        value, gradient = compiled(name)(*batch)
        assert value == 0 and not np.asarray(gradient).any()


@all_losses
@pytest.mark.parametrize("size", [0.0, 1e3, 1e6])
def test_gradients_stay_finite(name, size):
    logits, labels, where = batch_for(name)
    value, gradient = compiled(name)(np.float32(size) * logits, labels, where)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@all_losses
def test_sharded_equals_single(name):
    """Ragged masks, one device with nothing."""
    rng = np.random.default_rng(11)
    devices, rows = 4, 5
    labels = RAGGED.labels_of(rng.integers(0, 6, devices * rows)).copy()
    labels[::7, -1] = -1
    where = rng.random(devices * rows) < 0.7
    where[:rows] = False
    features = rng.normal(size=(devices * rows, 3)).astype(np.float32)
    width = WIDTH.get(name, RAGGED.num_classes)
    weights = rng.normal(size=(3, width)).astype(np.float32)

    def loss(weights, features, labels, where, axis_name=None):
        return ALL[name](
            features @ weights,
            labels,
            RAGGED.ancestors,
            where=where,
            axis_name=axis_name,
        )

    def local(weights, *batch):
        value, gradient = jax.value_and_grad(loss)(weights, *batch, axis_name="d")
        return value, jax.lax.pmean(gradient, "d")

    value, gradient = jit(jax.value_and_grad(loss))(weights, features, labels, where)
    split = (x.reshape(devices, rows, *x.shape[1:]) for x in (features, labels, where))
    mapped = jit(jax.vmap(local, in_axes=(None, 0, 0, 0), axis_name="d"))
    values, gradients = mapped(weights, *split)
    np.testing.assert_allclose(values, np.full(devices, value), rtol=1e-5)
    for found in gradients:
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_large_trees_take_no_array_of_classes_by_classes():
    """10,000 classes: nothing larger than a row a node, and fast."""
    num_classes, rows = 10_000, 4
    leaf = np.arange(num_classes)
    tree = np.stack([leaf // 1250, leaf // 50, leaf], 1)
    logits = np.random.default_rng(0).normal(size=(rows, num_classes))
    logits = logits.astype(np.float32)
    labels = tree[[3, 500, 7777, 9999]]

    def loss(logits):
        return losses.hxe_loss(logits, labels, tree)

    text = str(jax.make_jaxpr(jax.grad(loss))(logits))
    assert f"{num_classes},{num_classes}" not in text.replace(" ", "")
    step = jax.jit(jax.value_and_grad(loss))
    jax.block_until_ready(step(logits))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(step(logits))
        seconds.append(time.perf_counter() - start)
    # 0.1 ms a row on a quiet core; ten times that at most.
    assert min(seconds) / rows < 1e-3


@pytest.mark.parametrize(
    ("ancestors", "match"),
    [
        (np.zeros((3,), int), r"integers \[C, L\]"),
        (np.zeros((3, 2)), r"integers \[C, L\]"),
        (np.array([[0, 1], [0, 0]]), "in order"),
        (np.array([[0, 0], [2, 1]]), "each used"),
        (np.array([[0, 0, 0], [1, 0, 1]]), "two parents"),
    ],
)
def test_what_is_no_tree_is_refused(ancestors, match):
    logits = np.zeros((1, len(ancestors)), np.float32)
    with pytest.raises(ValueError, match=match):
        losses.ancestor_log_probs(logits, ancestors)


def test_depths_may_be_left_out_only_where_no_class_can_repeat():
    tree = Hierarchy.from_paths([["a", "x"], ["a", "y"], ["b", "z"], ["b", "w"]])
    logits, labels, where = draw(tree)
    found, expected = (
        quick(losses.hace_loss, logits, labels, tree, where, static)
        for static in ((), DEPTHS)
    )
    assert found == expected
    for tree in (RAGGED, LONELY, ONE):
        logits, labels, where = draw(tree)
        for loss, options in ((losses.hace_loss, {}), (losses.hxe_loss, OFFICIAL)):
            with pytest.raises(ValueError, match="only child .* depths"):
                jax.eval_shape(
                    lambda z: loss(z, labels, tree.ancestors, **options),  # noqa: B023
                    logits,
                )


def test_wrong_shapes_are_refused():
    logits, labels, _ = draw(RAGGED)
    ancestors = RAGGED.ancestors
    with pytest.raises(ValueError, match="6 columns"):
        losses.hxe_loss(logits[:, :5], labels, ancestors)
    with pytest.raises(ValueError, match="3 levels"):
        losses.marginal_loss(logits, labels[:, :2], ancestors)
    with pytest.raises(ValueError, match="depths must be 6 numbers"):
        losses.hace_loss(logits, labels, ancestors, depths=[4] * 6)
    with pytest.raises(ValueError, match="choose one"):
        options = {"smoothing": 0.1, "soft_targets": np.eye(6)}
        losses.hace_loss(logits, labels, ancestors, depths=RAGGED.depths, **options)
    with pytest.raises(ValueError, match=r"\(6, 6\)"):
        losses.soft_label_loss(logits, labels[:, -1], np.eye(5))
    with pytest.raises(ValueError, match="one a node"):
        scores = np.zeros((ROWS, WIDTH["conditional"]), np.float32)
        losses.conditional_softmax_loss(
            scores, labels, ancestors, log_priors=np.zeros(6)
        )
    with pytest.raises(ValueError, match="numbers of rows"):
        losses.sibling_log_priors([1, 2], ancestors)
    with pytest.raises(ValueError, match="itself"):
        jax.jit(losses.ancestor_log_probs)(logits, ancestors)
