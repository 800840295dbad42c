import functools
import math

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, losses
from hierjax.level_nodes import level_nodes
from tests.compiling import jit

TREE = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
HOPS = TREE.path_length()
ROWS, DIM, QUANTILES = 20, 3, 12
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(ROWS, DIM)).astype(np.float32)
IDS = RNG.integers(-1, 5, ROWS)  # class 5 is not in the batch
WHERE = RNG.random(ROWS) < 0.8
DIRECTIONS = RNG.normal(size=(4, DIM)).astype(np.float32)
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
distances = pytest.mark.parametrize("distance", losses.CLASS_DISTANCES)


def options_of(distance):
    if distance != "sliced":
        return {"distance": distance}
    return {
        "distance": "sliced",
        "directions": DIRECTIONS,
        "num_quantiles": QUANTILES,
    }


def loop_distance(a, b, distance):
    """Of two classes' rows in float64."""
    if distance == "sliced":
        total = 0.0
        for direction in DIRECTIONS.astype(float):
            x, y = (sorted(rows @ direction) for rows in (a, b))
            for level in range(QUANTILES):
                at = (level + 0.5) / QUANTILES
                i, j = (math.floor(at * len(values)) for values in (x, y))
                total += (x[i] - y[j]) ** 2
        return math.sqrt(total / (len(DIRECTIONS) * QUANTILES))
    x, y = a.mean(axis=0), b.mean(axis=0)
    if distance == "euclidean":
        return math.dist(x, y)
    x, y = (m * math.tanh(np.linalg.norm(m)) / np.linalg.norm(m) for m in (x, y))
    return math.acosh(1 + 2 * math.dist(x, y) ** 2 / ((1 - x @ x) * (1 - y @ y)))


def loop_cpcc(z, groups, tree_distance, where, distance):
    members = {}
    for row, ids, valid in zip(z.astype(float), groups, where, strict=True):
        for group in np.atleast_1d(ids):
            if valid and group >= 0:
                members.setdefault(int(group), []).append(row)
    present = sorted(members)
    x, y = [], []
    for i, a in enumerate(present):
        for b in present[i + 1 :]:
            x.append(tree_distance[a, b])
            pair = (np.array(members[c]) for c in (a, b))
            y.append(loop_distance(*pair, distance))
    return np.corrcoef(x, y)[0, 1]


@functools.lru_cache(maxsize=None)
def compiled(distance, name="cpcc_loss", **more):
    function = functools.partial(getattr(losses, name), **options_of(distance), **more)

    def loss(z, ids, where):
        return function(z, ids, HOPS, where=where)

    return jit(jax.value_and_grad(loss))


def quick_cpcc(z, ids, tree_distance, where=WHERE, **options):
    """Compiled as a whole, which is quicker than one operation at a time."""

    def of_arrays(z, ids, where):
        return losses.cpcc(z, ids, tree_distance, where=where, **options)

    return jit(of_arrays)(z, ids, where)


@distances
def test_value_and_gradient(distance):
    found, gradient = compiled(distance)(EMBEDDINGS, IDS, WHERE)
    expected = 1 - loop_cpcc(EMBEDDINGS, IDS, HOPS, WHERE, distance)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    exact = EMBEDDINGS.astype(float)
    for _ in range(2):
        step = 1e-6 * RNG.normal(size=EMBEDDINGS.shape)
        ends = [
            -loop_cpcc(z, IDS, HOPS, WHERE, distance)
            for z in (exact + step, exact - step)
        ]
        np.testing.assert_allclose(
            np.sum(gradient * step), (ends[0] - ends[1]) / 2, rtol=2e-3
        )


@distances
def test_more_classes_than_rows(distance):
    """Then only the classes of the batch are numbered."""
    leaf = np.arange(50)
    many = np.abs(leaf[:, None] - leaf[None, :])
    ids = np.where(IDS >= 0, 9 * IDS + 3, -1)
    found = quick_cpcc(EMBEDDINGS, ids, many, **options_of(distance))
    expected = loop_cpcc(EMBEDDINGS, ids, many, WHERE, distance)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_inner_nodes_have_means_too():
    nodes = level_nodes(TREE.ancestors)
    steps = np.zeros((nodes.num_nodes, nodes.num_nodes))
    for a in range(nodes.num_nodes):
        for b in range(nodes.num_nodes):
            up = []
            for node in (a, b):
                up.append([node])
                while up[-1][-1] >= 0:
                    up[-1].append(int(nodes.parents[up[-1][-1]]))
            shared = set(up[0]) & set(up[1])
            steps[a, b] = sum(len(path) - len(shared) for path in up)
    labels = TREE.labels_of(IDS)
    numbers = np.where(labels >= 0, labels + np.array(nodes.offsets[:-1]), -1)
    found = quick_cpcc(EMBEDDINGS, numbers, steps, distance="poincare")
    expected = loop_cpcc(EMBEDDINGS, numbers, steps, WHERE, "poincare")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sliced_transport_of_single_rows_is_their_projected_distance():
    ids, rows, where = np.arange(6), EMBEDDINGS[:6], np.ones(6, bool)
    whole = {"distance": "sliced", "directions": np.eye(DIM, dtype=np.float32)}
    # Along all axes it is the euclidean distance up to a constant.
    np.testing.assert_allclose(
        quick_cpcc(rows, ids, HOPS, where, **whole),
        quick_cpcc(rows, ids, HOPS, where),
        rtol=1e-5,
    )


def test_far_from_the_origin():
    near = compiled("euclidean")(EMBEDDINGS, IDS, WHERE)[0]
    far = compiled("euclidean")(EMBEDDINGS + np.float32(1000), IDS, WHERE)[0]
    np.testing.assert_allclose(far, near, atol=1e-3)


def test_centering_adds_the_length_of_the_mean():
    plain = compiled("euclidean")(EMBEDDINGS, IDS, WHERE)[0]
    found = compiled("euclidean", centering=0.5)(EMBEDDINGS, IDS, WHERE)[0]
    length = np.linalg.norm(EMBEDDINGS[WHERE].mean(axis=0))
    np.testing.assert_allclose(found, plain + 0.5 * length, rtol=1e-5)


@distances
def test_padding_may_hold_anything(distance):
    value, gradient = compiled(distance)(EMBEDDINGS, IDS, WHERE)
    assert value > 0.1 and np.abs(gradient).max() > 1e-3
    for rubbish in (np.nan, np.inf, 1e30):
        spoilt = np.where(WHERE[:, None], EMBEDDINGS, np.float32(rubbish))
        again, new = compiled(distance)(spoilt, IDS, WHERE)
        assert again == value
        np.testing.assert_array_equal(new, gradient)


@distances
def test_degenerate_batches(distance):
    step = compiled(distance)
    two = np.where(IDS > 0, 1, 0)
    for rows, ids, where in (
        (EMBEDDINGS, np.full_like(IDS, -1), WHERE),
        (EMBEDDINGS, IDS, np.zeros_like(WHERE)),
        (EMBEDDINGS, np.zeros_like(IDS), WHERE),
        (EMBEDDINGS, two, WHERE),  # one pair has no correlation
        (np.zeros_like(EMBEDDINGS), IDS, WHERE),
        (np.ones_like(EMBEDDINGS) / 3, IDS, WHERE),
    ):
        value, gradient = step(rows, ids, where)
        assert value == 0 and not np.asarray(gradient).any()
    for size in (1e-4, 1e3, 1e8):
        value, gradient = step(np.float32(size) * EMBEDDINGS, IDS, WHERE)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@distances
def test_sharded_equals_single(distance):
    weights = RNG.normal(size=(DIM, DIM)).astype(np.float32)
    where = WHERE.copy()
    where[:5] = False
    function = functools.partial(losses.cpcc_loss, **options_of(distance))

    def of_weights(weights, x, ids, where, axis_name=None):
        return function(
            x @ weights, ids, HOPS, centering=0.1, where=where, axis_name=axis_name
        )

    def local(weights, *batch):
        value, gradient = jax.value_and_grad(of_weights)(weights, *batch, axis_name="d")
        return value, jax.lax.pmean(gradient, "d")

    batch = (EMBEDDINGS, IDS, where)
    value, gradient = jit(jax.value_and_grad(of_weights))(weights, *batch)
    mapped = jit(jax.vmap(local, in_axes=(None, 0, 0, 0), axis_name="d"))
    split = (x.reshape(4, 5, *x.shape[1:]) for x in batch)
    values, gradients = mapped(weights, *split)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    for found in gradients:
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"tree_distance must be \[C, C\]"):
        losses.cpcc(EMBEDDINGS, IDS, HOPS[:3])
    with pytest.raises(ValueError, match="needs directions"):
        losses.cpcc(EMBEDDINGS, IDS, HOPS, distance="sliced")
    with pytest.raises(ValueError, match="differ in dimension"):
        losses.cpcc(
            EMBEDDINGS, IDS, HOPS, distance="sliced", directions=DIRECTIONS[:, :2]
        )
    with pytest.raises(ValueError, match="accepted are"):
        losses.cpcc(EMBEDDINGS, IDS, HOPS, distance="cosine")
