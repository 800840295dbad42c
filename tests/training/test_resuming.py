"""Runs that are continued: by later versions, for longer, and not by other runs."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from hierjax import models, objectives
from hierjax.errors import UserError
from hierjax.options import changed
from hierjax.training import (
    AXIS,
    Config,
    create_state,
    embedder,
    fit,
    make_optimizer,
    read_records,
    restore_best,
    why_not_extend,
)
from hierjax.training import classifier as classifier_of
from hierjax.training.preparation import example_inputs
from hierjax.training.resuming import Selection
from hierjax.training.state import state_shapes
from tests.training.toy import (
    CONFIG,
    DATA,
    MODEL,
    RANKS,
    TREE,
    UNSPLIT,
    assert_identical,
    train,
)

# As the version without format numbers wrote them: all fields of the caller's config.
OLD_RECORD = """{"selection": {"best_value": %s, "best_step": %d,
"evaluations_since": 0}, "config": {"seed": 0, "num_steps": 40, "batch_size": 12,
"sampler": "balanced",
"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant", "warmup_steps": 0,
"warmup_start": 0.0, "final_share": 0.0, "momentum": 0.5, "weight_decay": 0.0,
"eval_every": 10, "checkpoint_every": 10, "patience": 0,
"selection": "silhouette/average", "steps_per_call": 5, "dataset": "gm_notes",
"loss": "rank_based", "official": false, "margin": 0.1}}"""


def record_path(workdir):
    steps = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
    return workdir / "checkpoints" / str(max(steps)) / "progress" / "metadata"


def put_record(workdir, text):
    path = record_path(workdir)
    path.write_text(text)
    # Whoever changes a checkpoint takes its digests away, as there were none before.
    (path.parents[1] / "digests.json").unlink()


def change_record(workdir, change):
    record = json.loads(record_path(workdir).read_text())
    change(record)
    put_record(workdir, json.dumps(record))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 40 steps that was never interrupted, and its workdir."""
    workdir = tmp_path_factory.mktemp("whole")
    return train(workdir, num_devices=2), workdir


def assert_same_run(result, workdir, expected, expected_workdir):
    assert_identical(result.last_state, expected.last_state)
    assert_identical(result.state, expected.state)
    assert result.records == expected.records
    np.testing.assert_equal(result.best_value, expected.best_value)
    files = [path / "metrics.jsonl" for path in (workdir, expected_workdir)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_of_the_version_before_goes_on(tmp_path, whole):
    short = train(tmp_path, num_steps=20, num_devices=2)
    put_record(tmp_path, OLD_RECORD % (short.best_value, short.best_step))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(r) + "\n" for r in short.records))
    assert_identical(restore_best(MODEL, RANKS, DATA, CONFIG, tmp_path), short.state)
    assert read_records(metrics) == short.records
    assert_same_run(train(tmp_path, num_devices=2), tmp_path, *whole)
    assert json.loads(record_path(tmp_path).read_text())["format"] == 2


@dataclasses.dataclass(frozen=True)
class Grown(Config):
    """A caller's own settings."""

    flavour: str = "plain"


def test_settings_may_grow(tmp_path, whole):
    """New fields of the caller, and one of Config that the record does not know."""
    train(tmp_path, num_steps=20, num_devices=2)

    def forget(record):
        assert "flavour" not in record["config"] and len(record["shapes"]) == 2
        del record["config"]["final_share"]

    change_record(tmp_path, forget)
    grown = Grown(**dataclasses.asdict(CONFIG), flavour="new")
    result = fit(MODEL, RANKS, DATA, grown, tmp_path, num_devices=2)
    assert_same_run(result, tmp_path, *whole)


@pytest.mark.parametrize("num_steps", [10, 23])
def test_a_finished_run_goes_on_for_longer(tmp_path, whole, num_steps):
    """Also one whose last evaluation a longer run does not make."""
    short = train(tmp_path, num_steps=num_steps, num_devices=2)
    assert short.records[-1]["step"] == num_steps
    assert_same_run(train(tmp_path, num_devices=2), tmp_path, *whole)
    assert_identical(restore_best(MODEL, RANKS, DATA, CONFIG, tmp_path), whole[0].state)


def test_the_closing_evaluation_counts_until_the_run_goes_on(tmp_path, script):
    script(0.2, 0.5, 0.9)
    short = train(tmp_path, num_steps=23, steps_per_call=1)
    assert short.best_step == 23 and short.best_value == 0.9
    for again in (
        train(tmp_path, num_steps=23, steps_per_call=1).state,
        restore_best(MODEL, RANKS, DATA, CONFIG, tmp_path),
    ):
        assert_identical(again, short.state)
    script(0.4, 0.3)
    longer = train(tmp_path, steps_per_call=1)
    assert longer.best_step == 20 and longer.best_value == 0.5
    assert [r["step"] for r in longer.records] == [10, 20, 30, 40]


def test_a_run_without_validation_goes_on_for_longer(tmp_path):
    options = {"data": UNSPLIT, "steps_per_call": 1}
    train(tmp_path / "short", num_steps=23, **options)
    workdirs = tmp_path / "short", tmp_path / "whole"
    longer, whole = (train(workdir, **options) for workdir in workdirs)
    assert_same_run(longer, workdirs[0], whole, workdirs[1])


def test_where_the_schedule_does_not_allow_more_steps():
    constant = dataclasses.replace(CONFIG, warmup_steps=5)
    cosine = dataclasses.replace(CONFIG, schedule="cosine")
    assert why_not_extend(constant, 40) is None is why_not_extend(constant, 12)
    assert "not fewer" in why_not_extend(constant, 41)
    assert why_not_extend(cosine, 40) is None
    assert "schedule cosine spreads" in why_not_extend(cosine, 39)


def test_another_run_is_refused_in_a_sentence(tmp_path):
    train(tmp_path, num_steps=20)
    for changes, match in (
        ({"learning_rate": 0.2}, r"learning_rate was 0\.1 and is now 0\.2; choose"),
        (
            {"num_steps": 10},
            r"num_steps was 20 and is now 10 \(a run can be given more",
        ),
        ({"num_steps": 20, "seed": 3}, "configuration: seed was 0 and is now 3;"),
    ):
        with pytest.raises(UserError, match=match):
            train(tmp_path, **changes)
    wider = models.Linear(4)
    match = "another model or objective: params/head/bias was float32.3. and is now"
    with pytest.raises(UserError, match=match):
        fit(wider, RANKS, DATA, CONFIG, tmp_path, num_devices=1)
    classify = objectives.Classification().build(TREE)
    with pytest.raises(UserError, match="objective_params/proxies was absent and"):
        restore_best(MODEL, classify, DATA, CONFIG, tmp_path)
    # How often it saves and what it does in a call may change.
    train(tmp_path, num_steps=20, checkpoint_every=7, steps_per_call=2)


def test_a_cosine_cannot_go_on(tmp_path):
    train(tmp_path, num_steps=10)
    change_record(tmp_path, lambda record: record["config"].update(schedule="cosine"))
    with pytest.raises(UserError, match="num_steps was 10 and is now 20 .the schedule"):
        train(tmp_path, num_steps=20, schedule="cosine")


def test_a_run_out_of_patience_is_finished_and_says_so(tmp_path, script, capsys):
    left = script(0.3, 0.2, 0.1, 0.9)
    short = train(tmp_path, patience=2, verbose=True)
    said = "no better value than at step 10 in 2 evaluations (patience 2)\n"
    assert capsys.readouterr().err.endswith(f"step 30/40  stopped: {said}")
    # A run of 60 steps would have stopped at the same one.
    longer = train(tmp_path, patience=2, num_steps=60, verbose=True)
    assert capsys.readouterr().err == f"step 30/60  stopped: {said}"
    assert left == [0.9]
    assert_identical(longer.last_state, short.last_state)


def test_files_of_a_later_version_are_refused(tmp_path):
    train(tmp_path, num_steps=10)
    change_record(tmp_path, lambda record: record.update(format=3))
    with pytest.raises(UserError, match="later version: its format is 3, .* up to 2"):
        train(tmp_path, num_steps=10)
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"format": 3, "step": 10}\n')
    with pytest.raises(UserError, match="metrics.jsonl was written by a later version"):
        read_records(path)


CONVNET = models.ConvNet(3, channels=(2,), axis_name=AXIS)
IMAGES = dataclasses.replace(
    DATA, features=np.random.default_rng(3).normal(size=(48, 4, 4)).astype(np.float32)
)
EMA, MDS = (
    changed(objectives.Classification(), chosen).build(TREE)
    for chosen in (
        {"representatives": "ema", "scale": "dynamic"},
        {"representatives": "mds"},
    )
)


@pytest.mark.parametrize("objective", [EMA, MDS])
def test_shapes_are_those_of_a_state(objective):
    config = dataclasses.replace(CONFIG, optimizer="adam", warmup_steps=3)
    parts = CONVNET, objective, make_optimizer(config), example_inputs(IMAGES)
    shapes, state = state_shapes(*parts), create_state(*parts, seed=1)
    assert jax.tree.structure(shapes) == jax.tree.structure(state)
    for shape, leaf in zip(
        jax.tree.leaves(shapes), jax.tree.leaves(state), strict=True
    ):
        assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)


def test_what_fit_returns_is_what_it_stored(tmp_path, script, caplog):
    script(0.5, 0.9, 0.1)
    config = dataclasses.replace(CONFIG, num_steps=3, eval_every=1)
    # Other objects than elsewhere, whose initialisation nobody has compiled.
    trained, alone = (
        models.ConvNet(3, channels=(4,), axis_name=name) for name in (AXIS, None)
    )
    with jax.log_compiles():
        result = fit(trained, EMA, IMAGES, config, tmp_path, num_devices=1)
        assert "Compiling jit(init)" in caplog.text
        assert result.best_step == 2
        caplog.clear()
        # Nothing is initialised to be overwritten.
        stored = restore_best(alone, EMA, IMAGES, config, tmp_path)
        assert "jit(init)" not in caplog.text
    assert_identical(stored, result.state)
    rows = DATA.rows("test")
    found = embedder(trained, stored.variables, IMAGES.inputs)(rows)
    np.testing.assert_array_equal(found, result.embed(rows))
    classify, expected = classifier_of(EMA, stored), result.classifier
    np.testing.assert_array_equal(classify.representatives, expected.representatives)
    scores = classify.scores(found), expected.scores(found)
    np.testing.assert_array_equal(*scores)


def test_a_selection_keeps_the_first_of_equals():
    selection = Selection()
    assert math.isinf(selection.best_value) and selection.has_patience(1)
    assert [selection.update(v, i) for i, v in enumerate((2.0, 2.0, 1.0), 1)] == [
        True,
        False,
        False,
    ]
    assert selection == Selection(2.0, 1, 2)
    assert [selection.has_patience(n) for n in (0, 2, 3)] == [True, False, True]
