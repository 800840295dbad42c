import functools
import math

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, losses
from tests.compiling import jit

TREE = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
EXAMPLES, VIEWS, DIM, LEVELS = 8, 2, 3, 3
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(EXAMPLES, VIEWS, DIM))
Z = (Z / np.linalg.norm(Z, axis=-1, keepdims=True)).astype(np.float32)
LABELS = TREE.labels_of([0, 2, 0, 3, 4, 5, 1, 3]).copy()
PARTLY = LABELS.copy()
PARTLY[1, 2:] = -1
PARTLY[5, 1:] = -1
WHERE = np.arange(EXAMPLES) != 2
TEMPERATURE = 0.3


def relation(a, b, level):
    """Whether two paths agree down to a level; None where that is not known."""
    for x, y in zip(a[: level + 1], b[: level + 1], strict=True):
        if x < 0 or y < 0:
            return None
        if x != y:
            return False
    return True


def rows_of(z, labels, where):
    rows = z.astype(float).reshape(-1, DIM)
    paths = labels.repeat(VIEWS, axis=0).tolist()
    valid = [i for i in range(len(rows)) if where.repeat(VIEWS)[i]]
    return rows @ rows.T / TEMPERATURE, paths, valid


def loop_tree_similarity(z, labels, where, softness, similarities):
    """Of complete labels, from the target of every pair."""
    s, paths, valid = rows_of(z, labels, where)
    total, count = 0.0, 0
    for i in valid:
        others = [a for a in valid if a != i]
        same = {a: float(relation(paths[i], paths[a], LEVELS - 1)) for a in others}
        near = {}
        for a in others:
            shared = sum(relation(paths[i], paths[a], lv) for lv in range(LEVELS))
            near[a] = similarities[shared - 1] if shared else 0.0
        target = dict.fromkeys(others, 0.0)
        for weight, part in ((1 - softness, same), (softness, near)):
            if sum(part.values()):
                for a in others:
                    target[a] += weight * part[a] / sum(part.values())
        mass = sum(target.values())
        if mass:
            lse = math.log(sum(math.exp(s[i, a]) for a in others))
            total -= sum(q / mass * (s[i, a] - lse) for a, q in target.items())
            count += 1
    return total / count


@pytest.mark.parametrize("softness", [0.0, 0.4, 1.0])
def test_tree_similarity(softness):
    similarities = [0.1, 0.5, 0.8]
    loss = functools.partial(
        losses.tree_similarity_loss,
        softness=softness,
        similarities=similarities,
        temperature=TEMPERATURE,
        where=WHERE,
    )
    expected = loop_tree_similarity(Z, LABELS, WHERE, softness, similarities)
    np.testing.assert_allclose(jit(loss)(Z, LABELS), expected, rtol=1e-5)


def test_without_softness_it_is_supcon_on_the_finest_level():
    def both(z):
        return (
            losses.tree_similarity_loss(z, LABELS, softness=0.0, where=WHERE),
            losses.supcon_loss(z, LABELS[:, -1], where=WHERE),
        )

    found, expected = jit(both)(Z)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def loop_level_restricted(z, labels, where, weights):
    s, paths, valid = rows_of(z, labels, where)
    total = 0.0
    for level, weight in enumerate(weights):
        values = []
        for i in valid:
            if paths[i][level] < 0:
                continue
            compete = [
                a
                for a in valid
                if a != i
                and paths[a][level] >= 0
                and (not level or relation(paths[i], paths[a], level - 1))
            ]
            positive = [a for a in compete if relation(paths[i], paths[a], level)]
            if positive and len(positive) < len(compete):
                lse = math.log(sum(math.exp(s[i, a]) for a in compete))
                values.append(lse - sum(s[i, a] for a in positive) / len(positive))
        if values:
            total += weight * sum(values) / len(values)
    return total


@pytest.mark.parametrize("labels", [LABELS, PARTLY], ids=["complete", "partly"])
@pytest.mark.parametrize("block_size", [None, 5])
def test_level_restricted(labels, block_size):
    weights = [0.5, 1.0, 0.2]
    loss = functools.partial(
        losses.level_restricted_loss,
        level_weights=weights,
        temperature=TEMPERATURE,
        where=WHERE,
        block_size=block_size,
    )
    expected = loop_level_restricted(Z, labels, WHERE, weights)
    np.testing.assert_allclose(jit(loss)(Z, labels), expected, rtol=1e-5)


ALL = {
    "tree similarity": losses.tree_similarity_loss,
    "level restricted": losses.level_restricted_loss,
}
both_losses = pytest.mark.parametrize("name", ALL)


@functools.lru_cache(maxsize=None)
def compiled(name):
    loss = functools.partial(ALL[name], temperature=TEMPERATURE)
    return jit(jax.value_and_grad(lambda z, y, where: loss(z, y, where=where)))


@both_losses
def test_padding_and_degenerate_batches(name):
    step = compiled(name)
    value, gradient = step(Z, PARTLY, WHERE)
    assert value > 0.1 and np.abs(gradient).max() > 1e-3
    for rubbish in (np.nan, np.inf):
        spoilt = np.where(WHERE[:, None, None], Z, np.float32(rubbish))
        again, new = step(spoilt, PARTLY, WHERE)
        assert again == value
        np.testing.assert_array_equal(new, gradient)
    kept, _ = step(Z[WHERE], PARTLY[WHERE], WHERE[WHERE])
    np.testing.assert_allclose(kept, value, rtol=1e-5)
    unknown, nobody = np.full_like(LABELS, -1), np.zeros_like(WHERE)
    for labels, where in ((unknown, WHERE), (LABELS, nobody)):
        value, gradient = step(Z, labels, where)
        assert value == 0 and not np.asarray(gradient).any()
    same = np.tile(Z[:1], (EXAMPLES, 1, 1))
    alike = np.zeros_like(LABELS)
    for z, labels in ((same, LABELS), (0 * Z, PARTLY), (Z, alike), (30 * Z, LABELS)):
        value, gradient = step(z, labels, WHERE)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@both_losses
def test_sharded_equals_single(name):
    weights = RNG.normal(size=(DIM, DIM)).astype(np.float32)
    where = WHERE.copy()
    where[:2] = False

    def of_weights(weights, x, labels, where, **options):
        z = x @ weights
        z /= np.float32(1e-6) + (z**2).sum(axis=-1, keepdims=True) ** 0.5
        return ALL[name](z, labels, where=where, temperature=TEMPERATURE, **options)

    def local(weights, *batch):
        value, gradient = jax.value_and_grad(of_weights)(
            weights, *batch, axis_name="d", block_size=3
        )
        return value, jax.lax.pmean(gradient, "d")

    batch = (Z, PARTLY, where)
    value, gradient = jit(jax.value_and_grad(of_weights))(weights, *batch)
    mapped = jit(jax.vmap(local, in_axes=(None, 0, 0, 0), axis_name="d"))
    split = (x.reshape(4, 2, *x.shape[1:]) for x in batch)
    values, gradients = mapped(weights, *split)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    for found in gradients:
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one value a level"):
        losses.tree_similarity_loss(Z, LABELS, similarities=[1.0])
    with pytest.raises(ValueError, match="one value a level"):
        losses.level_restricted_loss(Z, LABELS, level_weights=[1.0])
