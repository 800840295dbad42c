import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import losses, objectives

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(8, 2, 3)).astype(np.float32)
LABELS = np.array([[i // 4, i // 2] for i in range(8)], np.int32)
WHERE = np.arange(8) != 5
KEY = jax.random.key(0)


def apply(objective, embeddings=EMBEDDINGS, params=None, state=None, axis_name=None):
    return objective.apply(
        {} if params is None else params,
        {} if state is None else state,
        embeddings,
        LABELS,
        key=KEY,
        where=WHERE,
        axis_name=axis_name,
    )


def test_views_are_flattened_and_their_labels_repeated():
    seen = {}

    def loss(embeddings, labels, *, where, axis_name, scale):
        seen.update(embeddings=embeddings, labels=labels, where=where, axis=axis_name)
        return jnp.float32(scale)

    objective = objectives.from_loss(loss, scale=3)
    assert objective.tuple_size == 1
    assert objective.init(KEY, EMBEDDINGS) == ({}, {})
    value, (state, metrics) = apply(objective, state={"kept": 1})
    assert value == 3 and state == {"kept": 1} and metrics == {}
    for row in range(8):
        for view in range(2):
            place = 2 * row + view
            np.testing.assert_array_equal(
                seen["embeddings"][place], EMBEDDINGS[row, view]
            )
            np.testing.assert_array_equal(seen["labels"][place], LABELS[row])
            assert seen["where"][place] == WHERE[row]
    assert seen["axis"] is None


def test_views_are_kept_where_the_loss_wants_them():
    def loss(embeddings, labels):
        assert embeddings.shape == (8, 2, 3) and labels.shape == (8, 2)
        return jnp.sum(embeddings)

    value, _ = apply(objectives.from_loss(loss, views=True))
    np.testing.assert_allclose(value, EMBEDDINGS.sum(), rtol=1e-6)


def test_a_loss_that_takes_any_keyword_gets_all_of_them():
    def loss(embeddings, labels, **keywords):
        assert set(keywords) == {"where", "axis_name"}
        return jnp.float32(0)

    apply(objectives.from_loss(loss))


def test_a_loss_without_axis_name_sees_the_whole_batch():
    def spread(embeddings, labels, where):
        assert embeddings.shape == (16, 3) and labels.shape == (16, 2)
        center = jnp.sum(embeddings * where[:, None], 0) / jnp.sum(where)
        squares = jnp.sum(jnp.square(embeddings - center[None]), -1)
        return jnp.max(jnp.where(where, squares, 0)) + labels[-1, 1]

    objective = objectives.from_loss(spread)
    single, _ = apply(objective)

    def local(embeddings, labels, where):
        loss, _ = objective.apply(
            {}, {}, embeddings, labels, key=KEY, where=where, axis_name="x"
        )
        return loss

    batch = (x.reshape(4, 2, *x.shape[1:]) for x in (EMBEDDINGS, LABELS, WHERE))
    sharded = jax.vmap(local, axis_name="x")(*batch)
    np.testing.assert_allclose(sharded, np.full(4, single), rtol=1e-6)


def test_tuples_are_consecutive_rows_and_count_if_complete():
    objective = objectives.from_tuple_loss((0.4, 0.9), distance="cosine")
    assert objective.tuple_size == 4
    rows = EMBEDDINGS[:, :1]
    value, (state, metrics) = apply(objective, rows)
    # Row 5 is masked and takes the second tuple with it.
    anchor, *others = rows[:4, 0]
    expected = losses.hierarchical_tuplet_loss(
        anchor[None], np.stack(others)[None], margins=(0.4, 0.9), distance="cosine"
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert (state, metrics) == ({}, {})
    with pytest.raises(ValueError, match="one view an example"):
        apply(objective)


def remembering(weight):
    """Has a parameter and a state, to see that a sum keeps them apart."""

    def init(key, example_embeddings):
        del key
        return {"w": jnp.float32(weight)}, jnp.int32(10 * weight)

    def apply(params, state, embeddings, labels, *, key, where, axis_name):
        noise = jax.random.uniform(key)
        loss = params["w"] * jnp.sum(embeddings)
        return loss, (state + 1, {"noise": noise})

    def scores(params, state, embeddings, representatives=None):
        return params["w"] * embeddings + state

    return objectives.Objective(init=init, apply=apply, scores=scores)


def test_weighted_sum_keeps_its_terms_apart():
    plain = objectives.from_loss(lambda embeddings, labels: jnp.max(embeddings))
    terms = [(2.0, plain), (0.5, remembering(3)), (1.0, remembering(4))]
    total = objectives.weighted_sum(terms)
    params, state = total.init(KEY, EMBEDDINGS)
    assert params == [{}, {"w": 3}, {"w": 4}] and state == [{}, 30, 40]

    def loss_fn(params):
        return apply(total, params=params, state=state)

    (value, (state, metrics)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        params
    )
    summed = EMBEDDINGS.sum()
    expected = 2 * EMBEDDINGS.max() + 0.5 * 3 * summed + 4 * summed
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert state == [{}, 31, 41]
    np.testing.assert_allclose(gradient[1]["w"], 0.5 * summed, rtol=1e-5)
    np.testing.assert_allclose(metrics["term_0/loss"], EMBEDDINGS.max())
    np.testing.assert_allclose(metrics["term_2/loss"], 4 * summed, rtol=1e-5)
    assert metrics["term_1/noise"] != metrics["term_2/noise"]

    # Scores are those of the first term that has them, with its own variables.
    rows = EMBEDDINGS[:, 0]
    np.testing.assert_allclose(
        total.scores(params, state, rows), 3 * rows + 31, rtol=1e-6
    )
    assert total.representatives is None and total.tuple_size == 1


def test_weighted_sum_of_tuples():
    tuples = functools.partial(objectives.from_tuple_loss, distance="cosine")
    plain = objectives.from_loss(losses.rank_based_loss)
    mixed = objectives.weighted_sum([(1.0, plain), (1.0, tuples((0.1, 0.2)))])
    assert mixed.tuple_size == 4
    with pytest.raises(ValueError, match=r"tuple sizes \[3, 4\]"):
        objectives.weighted_sum([(1.0, tuples((0.1,))), (1.0, tuples((0.1, 0.2)))])
    with pytest.raises(ValueError, match="cannot add"):
        objectives.weighted_sum([])
