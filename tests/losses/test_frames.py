import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, losses
from hierjax.errors import UserError
from hierjax.level_nodes import level_nodes
from tests.compiling import jit

TREE = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
CLASSES, ROWS, DIM = TREE.num_classes, 8, 7
NODES = level_nodes(TREE.ancestors)
RNG = np.random.default_rng(0)
FRAME = np.asarray(losses.haframe(losses.frame_similarity(TREE.lca_height()), DIM))
IDS = np.array([2, 0, -1, 5, 3, 4, 1, 2])
WHERE = np.array([True, True, True, True, True, False, True, True])
ROWS_OF_FRAME = RNG.normal(size=(ROWS, DIM)).astype(np.float32)
ROWS_OF_AXES = RNG.normal(size=(ROWS, NODES.num_nodes)).astype(np.float32)
LABELS = TREE.labels_of(IDS).copy()
LABELS[0, 2:] = -1
LABELS[3, 1:] = -1


@pytest.mark.parametrize("gamma", [0.3, 2.0, 50.0])
@pytest.mark.parametrize("distance", [TREE.lca_height(), TREE.path_length()])
def test_the_similarity_is_the_lowest_that_directions_can_have(gamma, distance):
    found = losses.frame_similarity(distance, gamma=gamma)
    near = np.array(
        [[math.exp(-gamma * d / distance.max()) for d in r] for r in distance]
    )
    shift = (found[0, 1] - near[0, 1]) / (1 - near[0, 1])
    np.testing.assert_allclose(found, (1 - shift) * near + shift, atol=1e-12)
    assert -1 <= shift < 0
    assert np.linalg.eigvalsh(found)[0] > -1e-9
    lower = shift - 1e-4
    if shift == -1:
        return
    assert np.linalg.eigvalsh((1 - lower) * near + lower)[0] < 0
    # No two classes are nearer in the frame that are farther in the tree.
    pairs = np.triu_indices(CLASSES, 1)
    order = np.argsort(distance[pairs], kind="stable")
    assert (np.diff(found[pairs][order]) <= 1e-12).all()


def test_a_large_gamma_gives_equal_angles():
    found = losses.frame_similarity(TREE.lca_height(), gamma=1e3)
    equal = np.where(np.eye(CLASSES), 1.0, -1 / (CLASSES - 1))
    np.testing.assert_allclose(found, equal, atol=1e-12)


@pytest.mark.parametrize("dim", [CLASSES - 1, CLASSES, 20])
def test_the_frame_has_the_similarity(dim):
    similarity = losses.frame_similarity(TREE.path_length(), gamma=1.5)
    found = np.asarray(losses.haframe(similarity, dim, key=jax.random.key(3)))
    assert found.shape == (CLASSES, dim)
    np.testing.assert_allclose(found @ found.T, similarity, atol=2e-6)
    assert not np.array_equal(found, losses.haframe(similarity, dim))


def test_what_has_no_frame_is_refused():
    similarity = losses.frame_similarity(TREE.path_length())
    with pytest.raises(UserError, match="6 classes need 5 dimensions .* found 4"):
        losses.haframe(similarity, CLASSES - 2)
    with pytest.raises(UserError, match="no vectors have these cosines"):
        losses.haframe(-similarity, DIM)
    with pytest.raises(UserError, match="at least two classes"):
        losses.frame_similarity(np.zeros((1, 1)))
    with pytest.raises(UserError, match="gamma must be positive"):
        losses.frame_similarity(TREE.path_length(), gamma=0.0)
    with pytest.raises(UserError, match="symmetric, and positive"):
        losses.frame_similarity(np.zeros((3, 3)))
    far = np.array([[0, 1, 1, 9], [1, 0, 9, 1], [1, 9, 0, 1], [9, 1, 1, 0]])
    with pytest.raises(UserError, match="no directions follow"):
        losses.frame_similarity(far, gamma=0.5)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def loop_haframe(rows, ids, where, mix):
    total, count = 0.0, 0
    for h, y, valid in zip(rows, ids, where, strict=True):
        if not valid or y < 0:
            continue
        logits = [dot(w, h) for w in FRAME]
        entropy = math.log(sum(math.exp(z - logits[y]) for z in logits))
        length = math.sqrt(dot(h, h))
        off = sum(
            (z / length - dot(w, FRAME[y])) ** 2
            for z, w in zip(logits, FRAME, strict=True)
        )
        total += (1 - mix) * entropy + mix * off
        count += 1
    return total / count


@pytest.mark.parametrize("mix", [0.0, 0.4, 1.0])
def test_haframe(mix):
    found = losses.haframe_loss(ROWS_OF_FRAME, IDS, FRAME, mix=mix, where=WHERE)
    np.testing.assert_allclose(
        found, loop_haframe(ROWS_OF_FRAME, IDS, WHERE, mix), rtol=1e-5
    )


def path_numbers(c):
    return [
        NODES.offsets[level] + int(TREE.ancestors[c, level])
        for level in range(TREE.num_levels)
    ]


def test_hier_cos_scores():
    found = losses.hier_cos_scores(ROWS_OF_AXES, TREE.ancestors)
    # As published: the norm of the projection onto the axes of the path.
    for c in range(CLASSES):
        projection = np.zeros((NODES.num_nodes, NODES.num_nodes))
        for number in path_numbers(c):
            projection[number, number] = 1
        expected = np.linalg.norm(ROWS_OF_AXES @ projection, axis=1)
        np.testing.assert_allclose(found[:, c], expected, rtol=1e-6)
    nothing = np.zeros((1, NODES.num_nodes), np.float32)
    total = lambda x: jnp.sum(losses.hier_cos_scores(x, TREE.ancestors))  # noqa: E731
    assert not jit(jax.grad(total))(nothing).any()


def loop_hier_cos(rows, labels, where, alpha):
    total, count = 0.0, 0
    levels = TREE.num_levels
    for x, row, valid in zip(np.abs(rows.astype(float)), labels, where, strict=True):
        known = [level for level in range(levels) if row[level] >= 0]
        if not valid or not known:
            continue
        masses = {level: math.exp(1 / (levels - level)) ** 2 for level in known}
        log_total = math.log(sum(map(math.exp, x)))
        for level in known:
            p = masses[level] / sum(masses.values())
            number = NODES.offsets[level] + row[level]
            total += p * (math.log(p) - (x[number] - log_total))
            axes = x[NODES.offsets[level] : NODES.offsets[level + 1]]
            length = math.sqrt(dot(axes, axes))
            total += alpha * sum(
                abs((node == row[level]) - value / length)
                for node, value in enumerate(axes)
            )
        count += 1
    return total / count


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_hier_cos(alpha):
    found = losses.hier_cos_loss(
        ROWS_OF_AXES, LABELS, TREE.ancestors, alpha=alpha, where=WHERE
    )
    expected = loop_hier_cos(ROWS_OF_AXES, LABELS, WHERE, alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_projection_is_made():
    jaxpr = str(
        jax.make_jaxpr(lambda x: losses.hier_cos_scores(x, TREE.ancestors))(
            ROWS_OF_AXES
        )
    )
    assert "dot_general" not in jaxpr


def haframe(x, labels, **options):
    return losses.haframe_loss(x, labels[:, -1], FRAME, **options)


def hier_cos(x, labels, **options):
    return losses.hier_cos_loss(x, labels, TREE.ancestors, **options)


ALL = {"haframe": (haframe, ROWS_OF_FRAME), "hier_cos": (hier_cos, ROWS_OF_AXES)}
both = pytest.mark.parametrize("name", ALL)


@functools.lru_cache(maxsize=None)
def compiled(name):
    loss = ALL[name][0]
    return jit(jax.value_and_grad(lambda x, y, where: loss(x, y, where=where)))


@both
def test_padding_may_hold_anything(name):
    rows = ALL[name][1]
    value, gradient = compiled(name)(rows, LABELS, WHERE)
    assert value > 0.1 and np.abs(gradient[WHERE]).max() > 0.01
    for rubbish in (np.nan, np.inf, 1e30):
        spoilt = np.where(WHERE[:, None], rows, np.float32(rubbish))
        again, new = compiled(name)(spoilt, LABELS, WHERE)
        assert again == value
        np.testing.assert_array_equal(new, gradient)
    kept, _ = compiled(name)(rows[WHERE], LABELS[WHERE], WHERE[WHERE])
    np.testing.assert_allclose(kept, value, rtol=1e-6)


@both
def test_degenerate_batches(name):
    rows = ALL[name][1]
    for labels, where in ((np.full_like(LABELS, -1), WHERE), (LABELS, ~WHERE & False)):
        value, gradient = compiled(name)(rows, labels, where)
        assert value == 0 and not np.asarray(gradient).any()
    for size in (0.0, 1e3, 1e8):
        value, gradient = compiled(name)(np.float32(size) * rows, LABELS, WHERE)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@both
def test_sharded_equals_single(name):
    loss, rows = ALL[name]
    weights = RNG.normal(size=(DIM, rows.shape[1])).astype(np.float32)
    where = WHERE.copy()
    where[:2] = False

    def of_weights(weights, x, labels, where, axis_name=None):
        return loss(x @ weights, labels, where=where, axis_name=axis_name)

    def local(weights, *batch):
        value, gradient = jax.value_and_grad(of_weights)(weights, *batch, axis_name="d")
        return value, jax.lax.pmean(gradient, "d")

    batch = (ROWS_OF_FRAME, LABELS, where)
    value, gradient = jit(jax.value_and_grad(of_weights))(weights, *batch)
    mapped = jit(jax.vmap(local, in_axes=(None, 0, 0, 0), axis_name="d"))
    split = (x.reshape(4, 2, *x.shape[1:]) for x in batch)
    values, gradients = mapped(weights, *split)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    for found in gradients:
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in dimension"):
        losses.haframe_loss(ROWS_OF_FRAME[:, 1:], IDS, FRAME)
    with pytest.raises(ValueError, match="columns"):
        losses.hier_cos_loss(ROWS_OF_AXES[:, 1:], LABELS, TREE.ancestors)
