"""One training selected from by several measures, each as if it were alone."""

import pytest

from hierjax import evaluation
from hierjax.errors import UserError
from tests.training.toy import DATA, SELECTION, UNSPLIT, assert_identical, train

NEAREST = "nn/instrument"


def assert_same_selection(best, alone):
    assert (best.step, best.value) == (alone.best_step, alone.best_value)
    assert best.end == alone.last_state.step
    assert_identical(best.state, alone.state)


@pytest.fixture
def script_by_measure(monkeypatch):
    """Replaces validation measures by given ones, a list a measure; notes the calls."""

    def play(**values):
        asked = []

        def measures(embed, data, *selections, classifier):
            asked.append(selections)
            return {name: values[name.split("/")[0]].pop(0) for name in selections}

        monkeypatch.setattr(evaluation, "validation_measures", measures)
        return asked

    return play


@pytest.mark.parametrize("num_steps", [40, 23])
def test_two_selections_equal_two_runs(num_steps):
    options = {"num_steps": num_steps, "steps_per_call": 1, "learning_rate": 1.0}
    both = train(selections=(SELECTION, NEAREST), **options)
    first, second = (train(selection=name, **options) for name in (SELECTION, NEAREST))
    assert list(both.best) == [SELECTION, NEAREST]
    assert both.best_step != both.best[NEAREST].step
    assert_same_selection(both.best[SELECTION], first)
    assert_same_selection(both.best[NEAREST], second)
    assert_identical(both.state, first.state)
    assert_identical(both.last_state, second.last_state)


def test_every_measure_has_its_own_patience(script_by_measure):
    values = {
        "silhouette": (0.1, 0.3, 0.2, 0.1, 0.9, 0.9),
        "nn": (0.4, 0.1, 0.5, 0.1, 0.1, 0.9),
    }

    def script():
        return script_by_measure(**{k: list(v) for k, v in values.items()})

    asked = script()
    both = train(selections=[NEAREST], patience=2, num_steps=100)
    # The first is out of patience at 40 and looked at no more.
    assert asked == [(SELECTION, NEAREST)] * 4 + [(NEAREST,)]
    assert both.last_state.step == 50
    for name, step, end in ((SELECTION, 20, 40), (NEAREST, 30, 50)):
        script()
        alone = train(selection=name, patience=2, num_steps=100)
        assert (alone.best_step, alone.last_state.step) == (step, end)
        assert_same_selection(both.best[name], alone)


def test_a_closing_evaluation_is_not_of_a_measure_out_of_patience(script_by_measure):
    script_by_measure(silhouette=[0.3, 0.2], nn=[0.1, 0.2, 0.9])
    result = train(selections=[NEAREST], patience=1, num_steps=23, steps_per_call=1)
    found = {k: (b.step, b.value, b.end) for k, b in result.best.items()}
    assert found == {SELECTION: (10, 0.3, 20), NEAREST: (23, 0.9, 23)}


def test_without_validation_every_measure_takes_the_last_state():
    result = train(data=UNSPLIT, selections=[NEAREST])
    assert {best.step for best in result.best.values()} == {40}
    assert_identical(result.best[NEAREST].state, result.last_state)


def test_kept_states_are_those_of_shorter_runs():
    long = train(data=UNSPLIT, keep_steps=[10, 30, 50])
    assert sorted(long.kept) == [10, 30]
    for step, state in long.kept.items():
        assert_identical(state, train(data=UNSPLIT, num_steps=step).last_state)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="selection 'accuracy' is not one of silhouett"):
        train(selections=["accuracy"])
    with pytest.raises(UserError, match="multiples of eval_every 10, got 15"):
        train(keep_steps=[10, 15])
    for options in ({"selections": [NEAREST]}, {"keep_steps": [10]}):
        with pytest.raises(UserError, match="those need workdir=None"):
            train(tmp_path, **options)
    assert not list(tmp_path.iterdir())
    # Naming the one that selects anyway asks for nothing further.
    train(tmp_path, selections=[SELECTION], num_steps=10)


def test_measures_that_are_asked_for_together():
    calls = []

    def embed(rows):
        calls.append(len(rows))
        return DATA.features[rows]

    both = evaluation.validation_measures(embed, DATA, SELECTION, NEAREST)
    assert calls == [8, 32]
    assert both == evaluation.validation_measures(embed, DATA, NEAREST)
    calls.clear()
    alone = evaluation.validation_measures(embed, DATA, SELECTION)
    assert calls == [8]
    assert alone == {name: both[name] for name in alone}
