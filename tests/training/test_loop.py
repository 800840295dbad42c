import dataclasses
import doctest
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import evaluation, models, objectives
from hierjax.errors import DataNotice, UserError
from hierjax.training import fit, loop, read_records, restore_best
from hierjax.training.writer import MetricWriter
from tests.training.toy import (
    CONFIG,
    DATA,
    MODEL,
    RANKS,
    SELECTION,
    UNSPLIT,
    assert_identical,
    train,
)


def test_training_improves_what_it_reports():
    result = train(num_steps=200, eval_every=50)
    assert [r["step"] for r in result.records] == [50, 100, 150, 200]
    values = [r[f"validation/{SELECTION}"] for r in result.records]
    assert result.best_value == max(values)
    assert result.best_step == 50 * (1 + int(np.argmax(values)))
    untrained = train(num_steps=10, learning_rate=0.0).best_value
    after = evaluation.validation_measures(result.embed, DATA, SELECTION)
    assert after[SELECTION] == pytest.approx(result.best_value, abs=1e-6)
    assert result.best_value > untrained + 0.1
    embeddings = result.embed(DATA.rows("test"))
    assert embeddings.shape == (8, 3)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert result.records[-1]["loss"] < result.records[0]["loss"]


def test_the_same_call_gives_the_same_bits_and_another_seed_does_not():
    first, second, other = train(), train(), train(seed=1)
    assert_identical(first.last_state, second.last_state)
    assert first.records == second.records
    assert other.records != first.records


def test_steps_per_call_change_nothing_but_the_calls():
    coarse, fine = train(), train(steps_per_call=1)
    for x, y in zip(
        jax.tree.leaves(coarse.last_state),
        jax.tree.leaves(fine.last_state),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert [r["step"] for r in coarse.records] == [r["step"] for r in fine.records]


def test_a_shorter_last_call_ends_the_run():
    result = train(num_steps=23)
    assert result.last_state.step == 23
    assert [r["step"] for r in result.records] == [10, 20, 23]


def test_resuming_equals_never_stopping(tmp_path, monkeypatch):
    changes = {"num_devices": 2, "checkpoint_every": 20}
    whole = train(tmp_path / "whole", num_devices=2)
    true_measures, calls = evaluation.validation_measures, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return true_measures(*arguments, **options)

    monkeypatch.setattr(evaluation, "validation_measures", interrupted)
    # Checkpoints after steps 20 only: what came since is lost and done again.
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", **changes)
    written = read_records(tmp_path / "cut" / "metrics.jsonl")
    assert [r["step"] for r in written] == [10, 20, 30]
    resumed = train(tmp_path / "cut", **changes)
    assert len(calls) == 4 + 2
    assert_identical(resumed.last_state, whole.last_state)
    assert_identical(resumed.state, whole.state)
    assert resumed.records == whole.records
    assert (resumed.best_step, resumed.best_value) == (
        whole.best_step,
        whole.best_value,
    )
    files = [tmp_path / name / "metrics.jsonl" for name in ("cut", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()

    # A finished run has nothing left to do and says the same again.
    again = train(tmp_path / "cut", **changes)
    assert len(calls) == 6
    assert_identical(again.state, whole.state)
    assert again.records == whole.records
    np.testing.assert_array_equal(again.embed(np.arange(5)), whole.embed(np.arange(5)))


def test_the_best_step_is_kept_also_when_resuming(tmp_path, script):
    script(0.1, 0.5, 0.5, 0.2)
    whole = train()
    assert whole.best_step == 20 and whole.best_value == 0.5
    assert whole.state.step == 20 and whole.last_state.step == 40
    script(0.1, 0.5)
    assert_identical(whole.state, train(num_steps=20).last_state)

    script(0.1, 0.5, 0.5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    left = script(0.2)
    resumed = train(tmp_path)
    assert not left and resumed.best_step == 20 and resumed.best_value == 0.5
    assert_identical(resumed.state, whole.state)
    assert_identical(restore_best(MODEL, RANKS, DATA, CONFIG, tmp_path), whole.state)


def test_patience_stops_and_stays_stopped(tmp_path, script):
    left = script(0.1, 0.3, 0.3, 0.2, 0.9)
    result = train(tmp_path, patience=2, num_steps=100)
    assert left == [0.9]
    assert result.last_state.step == 40 and result.best_step == 20
    again = train(tmp_path, patience=2, num_steps=100)
    assert left == [0.9] and again.last_state.step == 40


def test_patience_survives_an_interruption(tmp_path, script):
    script(0.3, 0.2, 0.1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, patience=4, num_steps=100)
    left = script(0.25, 0.1, 0.9)
    result = train(tmp_path, patience=4, num_steps=100)
    assert left == [0.9] and result.last_state.step == 50


def test_without_a_validation_split_the_last_state_counts(tmp_path):
    result = train(tmp_path, data=UNSPLIT, patience=1)
    assert result.best_step == 40 and math.isnan(result.best_value)
    assert_identical(result.state, result.last_state)
    assert all(set(record) == {"step", "loss"} for record in result.records)
    best = restore_best(MODEL, RANKS, UNSPLIT, CONFIG, tmp_path)
    assert_identical(best, result.state)


def test_training_does_not_see_validation_or_test_rows():
    features = DATA.features.copy()
    features[32:] = 9.0
    blinded = dataclasses.replace(DATA, features=features)
    assert_identical(train().last_state, train(data=blinded).last_state)


def test_training_sees_the_training_labels_only():
    hidden = DATA.labels.copy()
    hidden[:, 1] = -1
    coarse = dataclasses.replace(DATA, train_labels=hidden)
    result = train(data=coarse)
    with pytest.raises(AssertionError):
        assert_identical(train().last_state, result.last_state)
    # The truth that the measures use is untouched.
    assert not math.isnan(result.best_value)


def test_selection_on_nearest_neighbours():
    result = train(selection="nn/instrument")
    assert 0 <= result.best_value <= 1
    assert {"validation/nn/average", "validation/silhouette/family"} <= set(
        result.records[0]
    )


def test_number_of_devices():
    one, four = train(num_steps=10), train(num_steps=10, num_devices=None)
    for x, y in zip(
        jax.tree.leaves(one.last_state), jax.tree.leaves(four.last_state), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    for number in (0, 5):
        with pytest.raises(UserError, match=rf"in 1\.\.4 here, got {number}"):
            train(num_devices=number)


def test_mistakes_are_named_before_any_work(tmp_path):
    with pytest.raises(
        UserError, match="batch_size 10 does not divide by 4 devices; .* 8 and 12"
    ):
        train(batch_size=10, num_devices=4)
    with pytest.raises(UserError, match="selection 'accuracy' is not one of silhouett"):
        train(selection="accuracy")
    with pytest.raises(UserError, match="sampler 'tuples' does not fit .* of 1 rows"):
        train(sampler="tuples")
    quadruplets = objectives.from_tuple_loss((0.1, 0.1))
    with pytest.raises(UserError, match="'balanced' does not fit .* tuples of 4 rows"):
        fit(MODEL, quadruplets, DATA, CONFIG, num_devices=1)
    tuples = dataclasses.replace(CONFIG, sampler="tuples")
    with pytest.raises(UserError, match="2 devices x 4 rows a tuple; .* are 8 and 16"):
        fit(MODEL, quadruplets, DATA, tuples, num_devices=2)
    with pytest.raises(UserError, match="holds no checkpoint"):
        restore_best(MODEL, RANKS, DATA, CONFIG, tmp_path)


def test_tuples_train():
    quadruplets = objectives.from_tuple_loss((0.3, 0.3))
    config = dataclasses.replace(CONFIG, sampler="tuples", num_steps=100)
    result = fit(MODEL, quadruplets, DATA, config, num_devices=1)
    assert result.records[-1]["loss"] < result.records[0]["loss"]


def test_a_loss_that_is_not_finite_names_its_step():
    def explode(embeddings, labels):
        return jnp.where(labels[0, 0] >= 0, jnp.sum(jnp.exp(embeddings)), 0.0)

    model = models.Linear(3, normalize=False)
    config = dataclasses.replace(CONFIG, learning_rate=-0.0, momentum=0.0)
    objective = objectives.from_loss(explode)
    # At rate 0 nothing moves; uphill the exponential soon leaves the range.
    fit(model, objective, DATA, config, num_devices=1)
    uphill = objectives.weighted_sum([(-1.0, objective)])
    config = dataclasses.replace(CONFIG, learning_rate=1.0)
    with pytest.raises(UserError, match=r"loss is (-inf|nan) at step [2-5];.*smaller"):
        fit(model, uphill, DATA, config, num_devices=1)


def test_the_example():
    failed, tried = doctest.testmod(loop)
    assert tried and not failed


def test_records_are_json_lines_and_a_torn_one_is_dropped(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    writer.write(5, {"loss": np.float32(0.1), "undefined": math.nan})
    writer.write(10, {"loss": 2.0})
    writer.close()
    path = tmp_path / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    expected = [
        {"step": 5, "loss": float(np.float32(0.1)), "undefined": None},
        {"step": 10, "loss": 2.0},
    ]
    assert lines == [expected[0] | {"format": 2}, expected[1]]
    assert writer.records == expected
    with path.open("a") as file:
        file.write('{"step": 15, "lo')
    with pytest.warns(DataNotice, match="no records and are left out: 3"):
        assert read_records(path) == expected
    continued = MetricWriter(tmp_path, 5)
    continued.close()
    assert continued.records == read_records(path) == expected[:1]


def test_rows_without_any_known_label_are_never_drawn():
    hidden = DATA.train_labels.copy()
    hidden[:32:2] = -1
    seen = []

    def spy(embeddings, labels):
        jax.debug.callback(lambda x: seen.append(x.min()), labels)
        return jnp.sum(embeddings)

    data = dataclasses.replace(DATA, train_labels=hidden)
    config = dataclasses.replace(CONFIG, num_steps=10)
    fit(MODEL, objectives.from_loss(spy), data, config, num_devices=1)
    assert len(seen) == 10 and min(seen) >= 0
    with pytest.raises(UserError, match="no training row has a known label"):
        nothing = np.full_like(hidden, -1)
        train(data=dataclasses.replace(DATA, train_labels=nothing))


def test_an_undefined_selection_measure_is_refused():
    one_class = dict(DATA.splits, validation=np.array([32, 36]))
    assert len(set(DATA.labels[one_class["validation"], 0])) == 1
    with pytest.raises(UserError, match="silhouette/average is undefined"):
        train(data=dataclasses.replace(DATA, splits=one_class))


def test_a_start_that_training_does_not_better_is_kept(tmp_path):
    # Nearest rows are right from the start.
    tight = np.eye(6)[DATA.labels[:, -1]] + 0.01 * DATA.features
    changes = {
        "data": dataclasses.replace(DATA, features=tight),
        "selection": "nn/average",
        "num_steps": 20,
    }
    result = train(evaluate_start=True, **changes)
    assert [r["step"] for r in result.records] == [0, 10, 20]
    assert result.best_step == 0 and "loss" not in result.records[0]
    start = train(**changes, learning_rate=0.0)
    np.testing.assert_array_equal(result.embed(np.arange(4)), start.embed(np.arange(4)))
    assert result.best_value == start.best_value == 1

    # A run that a kill stopped before its first checkpoint begins its file anew.
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "left": 1}\n')
    kept = train(tmp_path, evaluate_start=True, **changes)
    assert kept.records == result.records == read_records(tmp_path / "metrics.jsonl")
    again = train(tmp_path, evaluate_start=True, **changes | {"num_steps": 30})
    assert again.best_step == 0 and len(again.records) == 4
    np.testing.assert_array_equal(again.embed(np.arange(4)), start.embed(np.arange(4)))


def test_without_validation_a_start_is_not_evaluated():
    result = train(data=UNSPLIT, evaluate_start=True, num_steps=10, eval_every=10)
    assert [r["step"] for r in result.records] == [10] and result.best_step == 10
