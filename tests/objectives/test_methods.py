"""Every method that is declared builds, learns and documents itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, losses, objectives
from hierjax.options import changed, from_plain, limits_of, to_plain

TREE = Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("c",)])
RNG = np.random.default_rng(0)
ROWS, VIEWS, DIM = 12, 2, 6
EMBEDDINGS = RNG.normal(size=(ROWS, VIEWS, DIM)).astype(np.float32)
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=-1, keepdims=True)
LABELS = TREE.labels_of(np.arange(ROWS) % TREE.num_classes)
WHERE = np.ones(ROWS, bool)

CRITERIA = {
    "marginal": lambda logits: losses.marginal_loss(logits, FLAT, TREE.ancestors),
    "hxe": lambda logits: losses.hxe_loss(logits, FLAT, TREE.ancestors, alpha=0.1),
    "hace": lambda logits: losses.hace_loss(
        logits, FLAT, TREE.ancestors, decay=0.5, depths=TREE.depths
    ),
    "soft_labels": lambda logits: losses.soft_label_loss(
        logits, FLAT[:, -1], TREE.lca_height(), beta=10.0
    ),
}
FLAT = np.repeat(LABELS, VIEWS, axis=0)


def value_and_grad(method):
    objective = method.build(TREE, (3, 3, 2, 2, 2))
    tuples = method.tuple_size(TREE.num_levels)
    views = 1 if method.max_views == 1 else VIEWS
    rows = jnp.asarray(EMBEDDINGS[: ROWS // tuples * tuples, :views])
    params, state = objective.init(jax.random.key(0), rows)

    def loss_fn(rows):
        return objective.apply(
            params,
            state,
            rows,
            jnp.asarray(LABELS[: len(rows)]),
            key=jax.random.key(1),
            where=jnp.asarray(WHERE[: len(rows)]),
            axis_name=None,
        )[0]

    return objective, (params, state), jax.jit(jax.value_and_grad(loss_fn))(rows)


@pytest.mark.parametrize("name", objectives.Method.kinds)
def test_it_declares_itself_and_learns(name):
    kind = objectives.Method.kinds[name]
    method = kind()
    assert kind.summary() and kind.family in (
        "rank_based",
        "class_hierarchies",
        "hierarchical_contrastive",
    )
    assert from_plain(objectives.Method, to_plain(method)) == method
    for tuned in kind.tuned:
        assert changed(method, tuned) is not None
    if not method.trains:
        return
    _, _, (loss, gradient) = value_and_grad(method)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-5
    assert method.build(TREE, (3, 3, 2, 2, 2)) is kind().build(TREE, (3, 3, 2, 2, 2))


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_is_its_loss(name):
    method = changed(objectives.Classification(), {"criterion": name})
    objective, (params, state), (loss, _) = value_and_grad(method)
    logits = objective.scores(params, state, EMBEDDINGS.reshape(-1, DIM))
    np.testing.assert_allclose(loss, CRITERIA[name](logits), rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (
            objectives.MultiSimilarity(threshold=0.3),
            lambda z: losses.multi_similarity_loss(z, FLAT[:, -1], threshold=0.3),
        ),
        (objectives.HAP(alpha=2.0), lambda z: losses.hap_loss(z, FLAT, alpha=2.0)),
        (
            objectives.TreeSimilarity(softness=0.2),
            lambda z: losses.tree_similarity_loss(EMBEDDINGS, LABELS, softness=0.2),
        ),
        (
            objectives.LevelRestricted(temperature=0.3),
            lambda z: losses.level_restricted_loss(EMBEDDINGS, LABELS, temperature=0.3),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_method_is_its_loss(method, expected):
    _, _, (loss, _) = value_and_grad(method)
    np.testing.assert_allclose(
        loss, jax.jit(expected)(EMBEDDINGS.reshape(-1, DIM)), rtol=1e-5
    )


def test_options_have_a_line_each():
    families = (
        objectives.Method,
        objectives.Score,
        objectives.Representatives,
        objectives.Scale,
        objectives.Criterion,
        objectives.Masks,
    )
    for family in families:
        for kind in family.kinds.values():
            for field in dataclasses.fields(kind):
                assert limits_of(field).help.endswith("."), (kind, field.name)
