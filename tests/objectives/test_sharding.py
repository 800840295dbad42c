"""Every objective is the same on four devices as on one, in every kind of mapping."""

import functools

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, collectives, objectives
from hierjax.options import changed
from tests.compiling import QUICKLY
from tests.sharding import AXIS, MODES, on_devices

TREE = Hierarchy.from_paths(
    [("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("c", "w"), ("c", "v")]
)
ROWS, VIEWS, DIM = 16, 2, 6
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(ROWS, VIEWS, DIM)).astype(np.float32)
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=-1, keepdims=True)
LABELS = TREE.labels_of(RNG.integers(0, TREE.num_classes, ROWS)).astype(np.int32)
LABELS[3] = [LABELS[3, 0], -1]
# Devices with four, three, one and no valid rows.
WHERE = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0], bool)

METHODS = {
    "rank_based": objectives.RankBased(),
    "triplet": objectives.Triplet(),
    "softmax": objectives.Classification(objectives.Softmax()),
    "ema dynamic": changed(
        objectives.Classification(), {"representatives": "ema", "scale": "dynamic"}
    ),
    "corr": changed(
        objectives.Classification(), {"criterion": "corr", "representatives": "mds"}
    ),
    "simclr": objectives.SimCLR(),
    "hmce": objectives.HMCE(),
    "gaussian": objectives.LevelContrastive(masks=objectives.GaussianMasks("mean")),
    "attention": objectives.LevelContrastive(
        masks=objectives.AttentionMasks(overlap_weight=0.1)
    ),
    "proxy_anchor cpcc": changed(
        objectives.Classification(),
        {"criterion": "proxy_anchor", "levels": True, "score": "arcface"},
    ),
    "hier_cos": objectives.HierCOS(),
}
ADDED = {"proxy_anchor cpcc": objectives.CPCC(inner_nodes=True, centering=0.1)}


@functools.cache
def made(name):
    views = 1 if METHODS[name].max_views == 1 else VIEWS
    added = ADDED.get(name, objectives.NoRegularizer())
    objective = objectives.regularized(METHODS[name].build(TREE), added, TREE)
    rows = EMBEDDINGS[:, :views]
    params, state = objective.init(jax.random.key(0), rows)
    # A map before the objective, so that gradients of an encoder are looked at too.
    mapped = np.eye(DIM, dtype=np.float32) + 0.1

    def step(trainable, state, embeddings, labels, where, *, axis_name):
        def loss_fn(trainable):
            matrix, params = trainable
            return objective.apply(
                params,
                state,
                embeddings @ matrix,
                labels,
                key=jax.random.key(1),
                where=where,
                axis_name=axis_name,
            )

        (loss, (new_state, metrics)), gradient = jax.value_and_grad(
            loss_fn, has_aux=True
        )(trainable)
        return loss, new_state, metrics, collectives.pmean(gradient, axis_name)

    arguments = ((mapped, params), state), (rows, LABELS, WHERE)
    alone = jax.jit(functools.partial(step, axis_name=None), compiler_options=QUICKLY)
    return step, arguments, alone(*arguments[0], *arguments[1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", METHODS)
def test_four_devices_are_one(name, mode):
    step, (replicated, sharded), expected = made(name)
    found = on_devices(
        functools.partial(step, axis_name=AXIS),
        mode,
        replicated,
        sharded,
        compiler_options=QUICKLY,
    )
    assert np.abs(expected[3][0]).max() > 1e-3
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5),
        found,
        expected,
    )


@pytest.mark.parametrize("name", ["rank_based", "ema dynamic", "attention"])
def test_padding_may_hold_anything(name):
    step, (replicated, (rows, labels, where)), expected = made(name)
    alone = jax.jit(functools.partial(step, axis_name=None), compiler_options=QUICKLY)
    dirty = np.where(where[:, None, None], rows, np.nan)
    found = alone(*replicated, dirty, labels, where)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        found[:3],
        expected[:3],
    )
