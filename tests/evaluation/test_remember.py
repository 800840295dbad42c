import jax
import numpy as np
import pytest

from hierjax import evaluation
from hierjax.errors import UserError
from tests.evaluation.test_embeddings import DATA


def counting(embed, num_rows):
    """The function, and how often it was asked for each row, and in how many calls."""
    asked, calls = np.zeros(num_rows, int), []

    def counted(rows):
        np.add.at(asked, rows, 1)
        calls.append(len(rows))
        return embed(rows)

    return counted, asked, calls


def test_every_row_is_embedded_at_most_once():
    values = np.random.default_rng(0).normal(size=(50, 3))
    counted, asked, calls = counting(lambda rows: values[rows], 50)
    once = evaluation.remember(counted, 50)
    for rows in ([7, 3, 3, 9], [3, 9], [1, 7, 2], np.arange(20)[::-1], []):
        rows = np.array(rows, int)
        found = once(rows)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values[rows].astype(np.float32))
        found[:] = 0
    assert calls == [3, 2, 15]
    np.testing.assert_array_equal(asked, np.arange(50) < 20)


def test_measures_share_their_embeddings():
    counted, asked, calls = counting(lambda rows: DATA.features[rows], 120)
    once = evaluation.remember(counted, 120)
    classes = np.random.default_rng(1).normal(size=(5, 4))
    classifier = evaluation.Classifier(
        lambda rows, means=None: rows @ (classes if means is None else means).T, classes
    )
    found = evaluation.evaluate(once, DATA)
    evaluation.evaluate_classes(once, DATA, classifier=classifier, num_permutations=0)
    evaluation.validation_measures(once, DATA, "nn/average")
    assert (asked == 1).all() and len(calls) == 3
    apart = evaluation.evaluate(lambda rows: DATA.features[rows], DATA)
    assert found.measures == pytest.approx(apart.measures, abs=1e-6, nan_ok=True)


def test_wrong_rows():
    once = evaluation.remember(lambda rows: np.ones((len(rows), 2)), 10)
    for rows in ([3, 10], [-1, 2]):
        with pytest.raises(UserError, match=r"rows must lie in 0\.\.9, found"):
            once(np.array(rows))
    with pytest.raises(UserError, match="rows must be 2 integers"):
        once(np.array([0.5, 1]))


def test_measuring_compiles_nothing():
    compiled = []

    def listener(name, *args, **kwargs):
        if "compile" in name:
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        evaluation.evaluate(lambda rows: DATA.features[rows], DATA)
        evaluation.evaluate_classes(
            lambda rows: DATA.features[rows], DATA, num_permutations=0
        )
        assert not compiled
        jax.jit(lambda x: x * 3)(np.ones(7))
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
