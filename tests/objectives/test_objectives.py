import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import losses, objectives
from hierjax.errors import UserError

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


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda z, labels: z.sum(axis=1), r"<lambda> .* float32 of shape \[16\]"),
        (lambda z, labels: z.sum(keepdims=True), r"float32 of shape \[1, 1\]"),
        (lambda z, labels: labels.sum(), r"int32 of shape \[\]"),
        (lambda z, labels: z.sum() > 0, r"bool of shape \[\]"),
        (lambda z, labels: 1, "a Python int"),
        (lambda z, labels: 0.5, "a Python float"),
        (lambda z, labels: None, "a Python NoneType"),
        (lambda z, labels: (z.sum(), labels), "a Python tuple"),
        (lambda z, labels: {"loss": z.sum()}, "a Python dict"),
    ],
)
def test_what_is_no_loss_is_said(loss, words):
    objective = objectives.from_loss(loss)
    for call in (apply, jax.jit(apply, static_argnums=0)):
        with pytest.raises(UserError, match=words):
            call(objective)


@pytest.mark.parametrize(
    ("loss", "options", "words"),
    [
        (lambda embeddings: 0, {}, "too many positional arguments"),
        (lambda embeddings, labels, more: 0, {}, "missing a required argument: 'more'"),
        (lambda *, embeddings, labels: 0, {}, "too many positional arguments"),
        (lambda embeddings, labels: 0, {"margin": 1}, "unexpected keyword .*'margin'"),
        (lambda embeddings, where: 0, {}, "multiple values for argument 'where'"),
        ("loss", {}, "str is no function"),
        (None, {}, "NoneType is no function"),
    ],
)
def test_what_cannot_be_called_is_said_before_training(loss, options, words):
    with pytest.raises(UserError, match=words):
        objectives.from_loss(loss, **options)


def test_arguments_may_have_other_names():
    value, _ = apply(objectives.from_loss(lambda z, y, *, axis_name=None: z.sum()))
    np.testing.assert_allclose(value, EMBEDDINGS.sum(), rtol=1e-5)
