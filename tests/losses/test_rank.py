import functools
import math
from fractions import Fraction

import jax
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hierjax import Hierarchy
from hierjax.losses import rank_based_loss

ROWS, DIM = 12, 3
# The draws are seeds, which nothing is gained by shrinking.
RANDOM = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    phases=(Phase.explicit, Phase.generate),
)
TARGETS = ("rank_index", "block_edge")
BOTH = [(t, d) for t in TARGETS for d in ("cosine", "euclidean")]

# A ragged tree with odd hops between classes: 2, 3, 4, 5 and 6.
RAGGED = Hierarchy.from_paths(
    [
        ["a", "p", "x"],
        ["a", "p", "y"],
        ["a", "q"],
        ["b"],
        ["c", "r", "z"],
        ["c", "s"],
    ]
)


# ---- The oracle: the loss read off the specification, in float64, with loops.


def known_prefix(path):
    return [node for node in path if node >= 0]


def rank_interval(a, b, hops):
    """Smallest and largest possible rank, None if the pair could have any."""
    num_levels = len(a)
    known_a, known_b = known_prefix(a), known_prefix(b)
    if hops is not None and len(known_a) == len(known_b) == num_levels:
        return (int(hops[a[-1]][b[-1]]),) * 2
    agree = 0
    for x, y in zip(known_a, known_b, strict=False):
        if x != y:
            return (2 * (num_levels - agree),) * 2
        agree += 1
    if agree == num_levels:
        return 0, 0
    return (0, 2 * (num_levels - agree)) if agree else None


def loop_distance(x, y, distance):
    if distance == "cosine":
        return 1 - sum(a * b for a, b in zip(x, y, strict=True))
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def block_positions(intervals, num_levels, hops):
    """Start and end of every rank's block in the sorted distances."""
    if hops is None:
        ranks = possible = list(range(0, 2 * num_levels + 1, 2))
    else:
        ranks = list(range(2 * num_levels + 1))
        possible = [r for r in ranks if r in set(np.ravel(hops).tolist())]
    sizes = dict.fromkeys(ranks, Fraction(0))
    for low, high in intervals:
        shared_by = [r for r in possible if low <= r <= high] if low < high else [low]
        for r in shared_by:
            sizes[r] += Fraction(1, len(shared_by))
    starts, ends, total = {}, {}, Fraction(0)
    for r in ranks:
        starts[r] = math.floor(total + Fraction(1, 2))
        total += sizes[r]
        ends[r] = math.floor(total + Fraction(1, 2))
    assert ends[ranks[-1]] == len(intervals)
    return starts, ends


def oracle(z, labels, where, *, distance, target, hops=None, fixed_targets=None):
    """Loss and the target of every pair (None for a pair inside its block)."""
    pairs = []
    for i in range(len(z)):
        for j in range(i + 1, len(z)):
            interval = rank_interval(labels[i], labels[j], hops)
            if where[i] and where[j] and interval is not None:
                pairs.append((loop_distance(z[i], z[j], distance), interval))
    if not pairs:
        return 0.0, []
    values = sorted(d for d, _ in pairs)
    num_levels = len(labels[0])
    starts, ends = block_positions([i for _, i in pairs], num_levels, hops)
    total, targets = 0.0, []
    for p, (d, (low, high)) in enumerate(pairs):
        first, last = values[starts[low]], values[ends[high] - 1]
        if fixed_targets is not None:
            t = fixed_targets[p]
        elif first <= d <= last:
            t = None
        elif target == "block_edge":
            t = first if d < first else last
        else:
            ends_of_interval = [values[min(r, len(pairs) - 1)] for r in (low, high)]
            t = min(ends_of_interval, key=lambda v: abs(d - v))
        targets.append(t)
        total += 0.0 if t is None else (d - t) ** 2
    return total / len(pairs), targets


def numeric_gradient(function, z, step=1e-6):
    gradient = np.zeros_like(z)
    for index in np.ndindex(z.shape):
        shift = np.zeros_like(z)
        shift[index] = step
        gradient[index] = (function(z + shift) - function(z - shift)) / (2 * step)
    return gradient


# ---- Compiled once for all tests of the same options; labels and masks are arguments.


@functools.lru_cache(maxsize=None)
def compiled(**options):
    def loss(z, labels, where, hops=None):
        return rank_based_loss(z, labels, where=where, tree_distance=hops, **options)

    return jax.jit(jax.value_and_grad(loss))


def loss_of_few(z, labels, **options):
    """Value and gradient of up to 12 rows on a line, padded to share a compilation."""
    few = len(z)
    rows = np.zeros((ROWS, DIM), np.float32)
    rows[:few, 0] = z
    paths = np.zeros((ROWS, 2), np.int32)
    paths[:few] = labels
    value, gradient = compiled(**options)(rows, paths, np.arange(ROWS) < few)
    np.testing.assert_array_equal(gradient[few:], 0)
    return value, gradient[:few, 0]


def check_against_oracle(z, labels, where, hops=None, gradient=True, **options):
    stop = options.get("stop_gradient_target", False)
    keywords = {k: options[k] for k in ("distance", "target")}
    z64 = np.asarray(z, np.float64)
    expected, targets = oracle(z64, labels, where, hops=hops, **keywords)
    value, found = compiled(**options)(z, labels, where, hops)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-7)
    if gradient:
        fixed = targets if stop else None
        numeric = numeric_gradient(
            lambda x: oracle(
                x, labels, where, hops=hops, fixed_targets=fixed, **keywords
            )[0],
            z64,
        )
        np.testing.assert_allclose(found, numeric, rtol=2e-4, atol=2e-6)
    return float(value)


def draw_unit_rows(seed, rows=ROWS):
    z = np.random.default_rng(seed).normal(size=(rows, DIM))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def draw_labels(seed, num_levels, unknown=0.0, rows=ROWS):
    """Random paths of a tree with two or three children a node, ids unique a level."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((rows, num_levels), np.int32)
    node = rng.integers(0, 3, rows)
    for level in range(num_levels):
        labels[:, level] = node
        node = 2 * node + rng.integers(0, 2, rows)
    hide = rng.random(rows) < unknown
    first_unknown = rng.integers(0, num_levels, rows)
    labels[hide[:, None] & (np.arange(num_levels) >= first_unknown[:, None])] = -1
    return labels


def draw_ragged_labels(seed, unknown):
    rng = np.random.default_rng(seed)
    labels = RAGGED.labels_of(rng.integers(0, RAGGED.num_classes, ROWS)).copy()
    for row in labels:
        if rng.random() < unknown:
            row[rng.integers(0, 3) :] = -1
    return labels


ALL = np.ones(ROWS, bool)
SOME = np.arange(ROWS) % 5 != 3


@pytest.mark.parametrize(("target", "distance"), BOTH)
def test_complete_labels_equal_the_oracle(target, distance):
    values = [
        check_against_oracle(
            draw_unit_rows(seed),
            draw_labels(seed, 2),
            where,
            distance=distance,
            target=target,
            gradient=seed == 0,
        )
        for seed in range(3)
        for where in (ALL, SOME)
    ]
    assert len(set(values)) == len(values) and min(values) > 1e-3


@pytest.mark.parametrize(
    ("num_levels", "target", "distance"),
    [
        (1, "block_edge", "euclidean"),
        (4, "rank_index", "euclidean"),
        (4, "block_edge", "cosine"),
    ],
)
def test_any_number_of_levels_equals_the_oracle(num_levels, target, distance):
    for seed, unknown in ((0, 0), (1, 0.6), (2, 0.9)):
        check_against_oracle(
            draw_unit_rows(seed),
            draw_labels(seed, num_levels, unknown),
            SOME,
            distance=distance,
            target=target,
            gradient=seed == 1,
        )


@pytest.mark.parametrize(("target", "distance"), BOTH)
def test_incomplete_labels_equal_the_oracle(target, distance):
    for seed in range(4):
        labels = draw_labels(seed, 2, unknown=0.5)
        assert (labels == -1).any()
        check_against_oracle(
            draw_unit_rows(seed),
            labels,
            (ALL, SOME)[seed % 2],
            distance=distance,
            target=target,
            gradient=seed == 0,
        )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_tree_distance_with_odd_hops_equals_the_oracle(target, unknown):
    hops = RAGGED.path_length()
    assert set(np.ravel(hops)) == {0, 2, 3, 4, 5, 6}
    for seed in range(3):
        check_against_oracle(
            draw_unit_rows(seed),
            draw_ragged_labels(seed, unknown),
            SOME,
            hops=hops,
            distance="cosine",
            target=target,
            gradient=seed == 0,
        )


@RANDOM
@given(
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
    st.sampled_from(TARGETS),
)
def test_random_trees_equal_the_oracle(seed, unknown, where, target):
    check_against_oracle(
        draw_unit_rows(seed),
        draw_labels(seed, 4, unknown),
        np.array(where),
        distance={"rank_index": "euclidean", "block_edge": "cosine"}[target],
        target=target,
        gradient=False,
    )


@RANDOM
@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(TARGETS))
def test_random_ragged_labels_equal_the_oracle(seed, unknown, target):
    check_against_oracle(
        draw_unit_rows(seed),
        draw_ragged_labels(seed, unknown),
        SOME,
        hops=RAGGED.path_length(),
        distance="cosine",
        target=target,
        gradient=False,
    )


@RANDOM
@given(st.integers(0, 10**6), st.floats(0, 0.5), st.sampled_from(TARGETS))
def test_ties_are_inside_by_value(seed, unknown, target):
    # Quarters on a grid: exact in float32, so that ties are ties for both.
    z = np.random.default_rng(seed).integers(-1, 2, (ROWS, DIM)) / 2
    check_against_oracle(
        z.astype(np.float32),
        draw_labels(seed, 2, unknown),
        SOME,
        distance="cosine",
        target=target,
        gradient=False,
    )


def test_a_pair_tied_with_its_edge_is_inside():
    # Three points at equal steps; (1, 2), of rank 2, ties with the block of rank 0.
    options = {"distance": "euclidean", "target": "block_edge"}
    line = [0.0, 1.0, 2.0]
    assert loss_of_few(line, [[0, 0], [0, 0], [0, 1]], **options)[0] == 0
    # Now (0, 2) of rank 0 is at 2 and its block at 1; the others are inside by value.
    value, _ = loss_of_few(line, [[0, 0], [0, 1], [0, 0]], **options)
    np.testing.assert_allclose(value, (2 - 1) ** 2 / 3)


def test_of_tied_targets_the_first_pair_gets_the_gradient():
    # Rank 0 owns the shortest distance, 1, shared by (0, 1) and (2, 3).
    value, gradient = loss_of_few(
        [0.0, 1.0, 5.0, 6.0],
        [[0, 0], [0, 1], [0, 0], [0, 2]],
        distance="euclidean",
        target="block_edge",
    )
    # Only (0, 2) is misplaced, 4 above its target z_1 - z_0.
    np.testing.assert_allclose(value, 16 / 6)
    np.testing.assert_allclose(gradient, np.array([-1 + 1, -1, 1, 0]) * 8 / 6)


def test_stopping_the_target_changes_the_gradient_and_not_the_value():
    z, labels = draw_unit_rows(5), draw_labels(5, 2, 0.3)
    options = {"distance": "cosine", "target": "rank_index"}
    free = compiled(**options)(z, labels, SOME)
    stopped = compiled(stop_gradient_target=True, **options)(z, labels, SOME)
    assert free[0] == stopped[0]
    assert np.abs(free[1] - stopped[1]).max() > 1e-3
    check_against_oracle(z, labels, SOME, stop_gradient_target=True, **options)


def test_hops_of_a_full_tree_give_the_same_as_its_labels():
    labels = draw_labels(3, 2)
    tree = Hierarchy.from_level_labels(labels)
    z, labels = draw_unit_rows(3), tree.encode(labels)
    options = {"distance": "cosine", "target": "block_edge"}
    plain, _ = compiled(**options)(z, labels, SOME)
    hops = check_against_oracle(
        z, labels, SOME, hops=tree.path_length(), gradient=False, **options
    )
    np.testing.assert_allclose(plain, hops, rtol=1e-5)


def test_a_static_tree_distance_is_the_same_as_a_traced_one():
    z, labels = draw_unit_rows(0), draw_ragged_labels(0, 0.5)
    hops = RAGGED.path_length()
    options = {"distance": "cosine", "target": "rank_index"}
    static = jax.jit(
        lambda z: rank_based_loss(z, labels, where=SOME, tree_distance=hops, **options)
    )
    traced, _ = compiled(**options)(z, labels, SOME, hops)
    np.testing.assert_allclose(static(z), traced, rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "rows", "block_size"), [("block_edge", 12, 5), ("rank_index", 96, 20)]
)
def test_blocks_equal_the_oracle(target, rows, block_size):
    z, labels = draw_unit_rows(7, rows), draw_labels(7, 2, 0.3, rows)
    where = np.arange(rows) % 7 != 2
    options = {"distance": "cosine", "target": target}
    blocked = compiled(block_size=block_size, **options)
    value, gradient = blocked(z, labels, where)

    def at(z):
        return oracle(z, labels, where, **options)[0]

    np.testing.assert_allclose(value, at(z.astype(float)), rtol=1e-5)
    for seed in range(3):
        step = 1e-6 * np.random.default_rng(seed).normal(size=z.shape)
        slope = at(z + step) - at(z - step)
        np.testing.assert_allclose(2 * np.sum(gradient * step), slope, rtol=1e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_invariances(target):
    z, labels = draw_unit_rows(9), draw_labels(9, 2, 0.3)
    loss = compiled(distance="cosine", target=target)
    value, gradient = loss(z, labels, SOME)
    rng = np.random.default_rng(0)

    order = rng.permutation(ROWS)
    permuted = loss(z[order], labels[order], SOME[order])
    np.testing.assert_allclose(permuted[0], value, rtol=1e-5)
    np.testing.assert_allclose(permuted[1], gradient[order], rtol=1e-4, atol=1e-6)

    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    rotated = loss((z @ rotation).astype(np.float32), labels, SOME)
    np.testing.assert_allclose(rotated[0], value, rtol=1e-5)
    np.testing.assert_allclose(rotated[1], gradient @ rotation, rtol=1e-4, atol=1e-6)

    names = rng.permutation(100)
    renamed = np.where(labels >= 0, names[labels], -1)
    assert loss(z, renamed.astype(np.int32), SOME)[0] == value

    # Masked rows are as good as absent.
    garbage = np.where(SOME[:, None], z, 1e3).astype(np.float32)
    masked = loss(garbage, np.where(SOME[:, None], labels, 0), SOME)
    np.testing.assert_allclose(masked[0], value, rtol=1e-5)
    np.testing.assert_allclose(masked[1], gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(masked[1][~SOME], 0)
    rest = np.flatnonzero(SOME).tolist()
    front = np.array(rest + [0] * (ROWS - len(rest)))
    deleted, _ = loss(z[front], labels[front], np.arange(ROWS) < len(rest))
    np.testing.assert_allclose(deleted, value, rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_a_perfect_order_costs_nothing(target):
    # Positions on a line: far between coarse nodes, less between leaves.
    labels = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [1, 2], [1, 2], [1, 3]])
    line = [0.0, 0.1, 1.0, 1.2, 10.0, 10.3, 11.0]
    value, gradient = loss_of_few(line, labels, distance="euclidean", target=target)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    line[1], line[5] = line[5], line[1]
    value, _ = loss_of_few(line, labels, distance="euclidean", target=target)
    assert value > 1


@pytest.mark.parametrize(
    "name",
    ["equal rows", "one class", "all masked", "one row", "all unknown"]
    + ["zero vectors", "huge values"],
)
def test_degenerate_batches(name):
    z, labels, where = draw_unit_rows(1), draw_labels(1, 2), ALL
    if name == "equal rows":
        z = np.tile(z[:1], (ROWS, 1))
    elif name == "one class":
        labels = np.tile(labels[:1], (ROWS, 1))
    elif name == "all masked":
        where = ~ALL
    elif name == "one row":
        where = np.arange(ROWS) == 4
    elif name == "all unknown":
        labels = np.full_like(labels, -1)
    elif name == "zero vectors":
        z = z * (np.arange(ROWS) % 2)[:, None].astype(np.float32)
    elif name == "huge values":
        z = z * np.float32(1e4)
    for target, distance in BOTH:
        value, gradient = compiled(distance=distance, target=target)(z, labels, where)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        if name in ("equal rows", "zero vectors", "huge values"):
            expected, _ = oracle(
                z.astype(float), labels, where, distance=distance, target=target
            )
            if name != "equal rows":
                np.testing.assert_allclose(value, expected, rtol=1e-3)
        else:
            assert value == 0
            np.testing.assert_array_equal(gradient, 0)


def test_a_batch_of_one():
    loss = compiled(distance="cosine", target="rank_index")
    value, gradient = loss(np.ones((1, 3), "f"), np.array([[0, 0]]), np.array([True]))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_static_mistakes_are_named():
    z, labels = draw_unit_rows(0), draw_labels(0, 2)
    for arguments, options, message in (
        ((z[0], labels), {}, r"embeddings must be a float array of 2 .*\(3,\)"),
        ((labels, labels), {}, "embeddings must be a float array .* int32"),
        ((z, labels[:, 0]), {}, r"labels must be an integer array \[B, L\].*\(12,\)"),
        ((z, z), {}, "labels must be an integer array .* float32"),
        ((z, labels[:5]), {}, "5 labels for 12 embeddings"),
        ((z, labels), {"where": ALL[:3]}, r"where must have shape \(12,\).*\(3,\)"),
        ((z, labels), {"distance": "sqeuclidean"}, "distance is 'sqeuclidean'"),
        ((z, labels), {"target": "median"}, "target is 'median', accepted .*edge"),
        ((z, labels), {"block_size": 0}, "block_size must be at least 1, got 0"),
        ((z, labels), {"tree_distance": np.full((3, 3), 5)}, r"0\.\.4 for 2 levels"),
        ((z, labels), {"tree_distance": -np.eye(3, dtype=int)}, r"-1\.\.0"),
        ((z, labels), {"tree_distance": np.arange(3)}, r"\[C, C\].*\(3,\)"),
        ((z, labels), {"tree_distance": np.ones((3, 3))}, "integers, got float64"),
    ):
        with pytest.raises(ValueError, match=message):
            rank_based_loss(*arguments, **options)


def test_one_compilation_serves_all_batches_of_a_shape():
    function = compiled(distance="cosine", target="rank_index")
    function(draw_unit_rows(0), draw_labels(0, 2), ALL)
    before = function._cache_size()
    for seed in range(3):
        function(draw_unit_rows(seed), draw_labels(seed, 2, 0.5), SOME)
    assert function._cache_size() == before


def sizes(jaxpr):
    """Number of entries of every array that a jaxpr makes, inner jaxprs included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield math.prod(variable.aval.shape)
        for parameter in jax.tree.leaves(
            tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_bound_the_memory(target):
    rows, block = 2048, 64
    z, labels = draw_unit_rows(0, rows), draw_labels(0, 2, 0, rows)

    def largest(block_size):
        gradient = jax.value_and_grad(
            functools.partial(rank_based_loss, target=target, block_size=block_size)
        )
        return max(sizes(jax.make_jaxpr(gradient)(z, labels).jaxpr))

    assert largest(None) >= rows * rows
    # Codes of ranks by the pairs of one block, or one histogram a block.
    assert largest(block) <= 16 * block * rows < rows * rows


@pytest.mark.parametrize("target", TARGETS)
def test_hops_of_a_balanced_tree_change_nothing(target):
    """Also with unknown levels: what is known of a coarse difference must stay."""
    parents = np.arange(9) // 3
    classes = np.random.default_rng(5).integers(0, 9, 24)
    labels = np.stack([parents[classes], classes], axis=1).astype(np.int32)
    labels[::3, 1] = -1
    hops = np.where(parents[:, None] == parents, 2, 4)
    np.fill_diagonal(hops, 0)
    z = np.random.default_rng(6).normal(size=(24, 4)).astype(np.float32)

    def loss(hops):
        options = {"target": target, "distance": "euclidean", "tree_distance": hops}
        return jax.jit(lambda z: rank_based_loss(z, labels, **options))(z)

    plain, by_hops = loss(None), loss(hops)
    assert plain > 0.01
    np.testing.assert_allclose(by_hops, plain, rtol=1e-6)
