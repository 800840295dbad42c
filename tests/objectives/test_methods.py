"""Every method that is declared builds, learns and documents itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, distances, losses, objectives
from hierjax.errors import UserError
from hierjax.objectives.batch import Batch
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
        "field",
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


def test_arcface_trains_with_a_margin_and_scores_without():
    method = changed(
        objectives.Classification(), {"score": "arcface", "margin": 0.3, "value": 7.0}
    )
    objective, (params, state), (loss, _) = value_and_grad(method)
    rows, proxies = EMBEDDINGS.reshape(-1, DIM), params["proxies"]
    ids = FLAT[:, -1]
    harder = losses.arcface_logits(rows, proxies, ids, scale=7.0, margin=0.3)
    np.testing.assert_allclose(loss, losses.cross_entropy_loss(harder, ids), rtol=1e-5)
    scores = objective.scores(params, state, rows)
    np.testing.assert_allclose(scores, 7 * losses.class_cosines(rows, proxies))
    assert (np.asarray(scores) >= np.asarray(harder) - 1e-5).all()


def test_a_frame_keeps_its_cosines_and_is_the_criterion_s_own():
    method = changed(
        objectives.Classification(),
        {
            "score": "softmax",
            "representatives": "haframe",
            "criterion": "haframe",
            "gamma": 1.5,
            "mix": 0.3,
        },
    )
    objective, (params, state), (loss, _) = value_and_grad(method)
    frame = np.asarray(objective.representatives(params, state))
    cosines = losses.frame_similarity(TREE.lca_height(), gamma=1.5)
    np.testing.assert_allclose(frame @ frame.T, cosines, atol=1e-6)
    expected = losses.haframe_loss(
        EMBEDDINGS.reshape(-1, DIM), FLAT[:, -1], frame, mix=0.3
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    with pytest.raises(UserError, match="5 classes need .* dimensions"):
        objective.init(jax.random.key(0), jnp.zeros((2, 1, 3)))


@pytest.mark.parametrize("levels", [False, True])
def test_proxy_anchor_is_its_loss(levels):
    method = changed(
        objectives.Classification(),
        {"score": "normface", "criterion": "proxy_anchor", "criterion.levels": levels},
    )
    _, (params, _), (loss, _) = value_and_grad(method)
    rows, proxies = EMBEDDINGS.reshape(-1, DIM), params["proxies"]
    expected = losses.proxy_anchor_loss(rows, proxies, FLAT[:, -1])
    if levels:
        units = np.asarray(distances.unit_normalize(proxies))
        means = [
            np.stack([units[TREE.ancestors[:, level] == n].mean(0) for n in range(k)])
            for level, k in enumerate(TREE.ancestors.max(0) + 1)
        ]
        expected = losses.hierarchical_proxy_anchor_loss(rows, means, FLAT)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def node_values(params):
    rows = EMBEDDINGS.reshape(-1, DIM)
    return rows @ np.asarray(params["weights"]).T + np.asarray(params["biases"])


def test_conditional_softmax_is_its_loss_with_and_without_priors():
    for tau in (0.0, 0.7):
        method = objectives.ConditionalSoftmax(tau=tau)
        objective, (params, state), (loss, _) = value_and_grad(method)
        values = node_values(params)
        priors = losses.sibling_log_priors((3, 3, 2, 2, 2), TREE.ancestors)
        expected = losses.conditional_softmax_loss(
            values, FLAT, TREE.ancestors, log_priors=priors, tau=tau
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        scores = objective.scores(params, state, EMBEDDINGS.reshape(-1, DIM))
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)


def test_hier_cos_is_its_loss():
    objective, (params, state), (loss, _) = value_and_grad(objectives.HierCOS(0.2))
    values = node_values(params)
    expected = losses.hier_cos_loss(values, FLAT, TREE.ancestors, alpha=0.2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    rows = EMBEDDINGS.reshape(-1, DIM)
    np.testing.assert_allclose(
        objective.scores(params, state, rows),
        losses.hier_cos_scores(values, TREE.ancestors),
        rtol=1e-5,
    )
    others = objective.representatives(params, state)
    cosines = objective.scores(params, state, others, others)
    np.testing.assert_allclose(np.diag(cosines), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_distance": "poincare", "centering": 0.1, "weight": 0.25},
        {"class_distance": "sliced"},
        {"inner_nodes": True},
    ],
)
def test_cpcc_adds_to_any_objective(options):
    regularizer = objectives.CPCC(**options)
    plain = objectives.Classification().build(TREE)
    both = objectives.regularized(plain, regularizer, TREE)
    params, state = both.init(jax.random.key(0), EMBEDDINGS)
    keywords = {"key": jax.random.key(1), "where": WHERE, "axis_name": None}
    arguments = (params, state, EMBEDDINGS, LABELS)
    loss, (_, metrics) = both.apply(*arguments, **keywords)
    alone, _ = plain.apply(*arguments, **keywords)
    np.testing.assert_allclose(
        loss, alone + regularizer.weight * metrics["cpcc"], rtol=1e-5
    )
    if not options:
        rows = EMBEDDINGS.reshape(-1, DIM)
        expected = losses.cpcc_loss(rows, FLAT[:, -1], TREE.path_length())
        np.testing.assert_allclose(metrics["cpcc"], expected, rtol=1e-5)
    assert both is objectives.regularized(plain, objectives.CPCC(**options), TREE)
    assert objectives.regularized(plain, objectives.NoRegularizer(), TREE) is plain


def test_cpcc_counts_real_inner_nodes_once_by_their_hops():
    """Means of all nodes, 'c' once though it repeats below: pairs in a loop."""
    term = objectives.CPCC(inner_nodes=True).term(
        TREE,
        Batch(EMBEDDINGS.reshape(-1, DIM), FLAT, np.ones(len(FLAT), bool), None),
        jax.random.key(0),
    )
    rows = EMBEDDINGS.reshape(-1, DIM)
    names = TREE.decode(FLAT)
    paths = sorted({path[: k + 1] for path in names for k in range(len(path))})
    means = [
        np.mean([r for r, n in zip(rows, names, strict=True) if n[: len(p)] == p], 0)
        for p in paths
    ]
    far, hops = [], []
    for i, a in enumerate(paths):
        for j, b in enumerate(paths[:i]):
            shared = sum(x == y for x, y in zip(a, b, strict=False))
            if a[:1] != b[:1]:
                shared = 0
            hops.append(len(a) + len(b) - 2 * shared)
            far.append(np.linalg.norm(means[i] - means[j]))
    np.testing.assert_allclose(term, 1 - np.corrcoef(far, hops)[0, 1], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"criterion": "haframe"}, "haframe needs the representatives 'haframe'"),
        (
            {"criterion": "haframe", "representatives": "haframe"},
            "haframe needs the score 'softmax'",
        ),
        ({"score": "softmax", "scale": "dynamic"}, "neither proxies nor a scale"),
        ({"score": "softmax", "representatives": "ema"}, "neither proxies nor"),
        ({"score": "arcface", "scale": "dynamic"}, "a dynamic scale is known for"),
        ({"criterion": "proxy_anchor", "scale": "dynamic"}, "has no dynamic scale"),
        ({"criterion": "corr"}, "corr needs the representatives 'mds'"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(objectives.Classification(), options)


def test_options_have_a_line_each():
    families = (
        objectives.Method,
        objectives.Score,
        objectives.Representatives,
        objectives.Scale,
        objectives.Criterion,
        objectives.Masks,
        objectives.Regularizer,
    )
    for family in families:
        for kind in family.kinds.values():
            for field in dataclasses.fields(kind):
                assert limits_of(field).help.endswith("."), (kind, field.name)
