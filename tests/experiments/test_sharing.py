"""Rows that are selections of one training, against rows that train alone."""

import numpy as np
import pytest

from experiments import reproduce
from experiments.papers.layout import Block, Row, Table
from experiments.papers.rank_based import experiment as rank_based
from experiments.runs.files import read_json, write_json
from experiments.tables import sharing
from experiments.tables.jobs import Jobs
from hierjax import options, training
from hierjax.errors import DivergedError

FIELDS = {"method": "rank_based", "sampler": "balanced", "embed_dim": 3}
GRID = ({"learning_rate": 0.03}, {"learning_rate": 0.3})
NEAREST = {"selection": "nn/average"}
ROW = Row("rbl", FIELDS, GRID, selections={"nn": "nn/average"})
# As the rows stood in the tables before they shared a training.
ALONE = Row("rbl", FIELDS, GRID), Row("rbl_nn", FIELDS | NEAREST, GRID)
SETTINGS = {"batch_size": 12, "num_steps": 40, "eval_every": 10, "patience": 2}


def block(**changes):
    fields = {"dataset": "gm_notes", "protocol": "seen"}
    return Block("toy", fields, **{"scales": {"cpu": SETTINGS}, **changes})


def plain(experiment):
    return {key: getattr(experiment, key) for key in ("selection", "num_steps")}


@pytest.fixture
def trained(monkeypatch):
    """What each call of `fit` was asked for."""
    calls, fit = [], training.fit

    def counted(model, objective, data, config, workdir, **others):
        calls.append(plain(config) | {"selections": set(others["selections"])})
        return fit(model, objective, data, config, workdir, **others)

    monkeypatch.setattr(training, "fit", counted)
    return calls


def results(folder):
    """Everything that the jobs of a folder left, but how long they took."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        name = str(path.relative_to(folder))
        found[name] = {k: v for k, v in read_json(path).items() if k != "seconds"}
        if path.name != "tuning.json":
            with np.load(path.with_suffix(".npz")) as arrays:
                found[name]["arrays"] = {k: arrays[k].tolist() for k in arrays.files}
    return found


@pytest.fixture(scope="module")
def by_themselves(tmp_path_factory):
    """Jobs of the two rows that train alone, by whether their final runs refit."""
    folders = {}
    for refit in (False, True):
        folders[refit] = tmp_path_factory.mktemp("alone")
        for row in ALONE:
            Jobs(folders[refit], "cpu", "").run(block(refit=refit), row, [0])
    return folders


@pytest.mark.parametrize("refit", [False, True])
def test_selections_give_what_rows_alone_give(
    tmp_path, capsys, trained, by_themselves, refit
):
    Jobs(tmp_path, "cpu", "").run(block(refit=refit), ROW, [0])
    found, expected = results(tmp_path), results(by_themselves[refit])
    assert len(found) == 4
    np.testing.assert_equal(found, expected)
    chosen = [found[f"toy/{row.name}/fold0/tuning.json"]["chosen"] for row in ALONE]
    assert [trial["best_step"] for trial in chosen] == [20, 30]
    assert chosen[0]["overrides"] == chosen[1]["overrides"]
    # Two trials and a final run; the rows alone train twice as often.
    assert [one["num_steps"] for one in trained] == [40, 40, 30 if refit else 40]
    printed = capsys.readouterr().out
    assert "toy/rbl_nn/fold0/seed0  " in printed
    # A second run finds all of it done.
    Jobs(tmp_path, "cpu", "").run(block(refit=refit), ROW, [0])
    assert len(trained) == 3


def test_seconds_are_divided(tmp_path, by_themselves):
    Jobs(tmp_path, "cpu", "").run(block(refit=False), ROW, [0])
    tuned = [read_json(tmp_path / f"toy/{r.name}/fold0/tuning.json") for r in ALONE]
    assert tuned[0]["seconds"] == tuned[1]["seconds"] > 0


def flat(record):
    """A record as format 1 wrote it: the options of the method beside the others."""
    record = {key: value for key, value in record.items() if key != "format"}
    options = record.pop("method")
    del record["regularizer"]
    return record | {"loss": options.pop("name")} | options


@pytest.mark.parametrize("first_format", [False, True])
def test_finished_jobs_of_a_row_that_trained_alone_are_taken(
    tmp_path, trained, by_themselves, first_format
):
    """Those of `*_nn`, as the versions before the selections wrote them."""
    held = {}
    for path in (by_themselves[False] / "toy" / "rbl_nn").rglob("*.json"):
        copy = tmp_path / path.relative_to(by_themselves[False])
        copy.parent.mkdir(parents=True, exist_ok=True)
        arrays = path.with_suffix(".npz")
        if arrays.exists():
            copy.with_suffix(".npz").write_bytes(arrays.read_bytes())
        # Whatever they hold is kept.
        held[copy] = read_json(path) | {"seconds": 12345.0}
        settings = held[copy]["settings"]
        for key in {"base", "experiment"} & settings.keys() if first_format else ():
            settings[key] = flat(settings[key])
            assert settings[key]["loss"] == "rank_based"
        write_json(copy, held[copy])
    assert len(held) == 2
    Jobs(tmp_path, "cpu", "").run(block(refit=False), ROW, [0])
    assert {path: read_json(path) for path in held} == held
    for name, expected in results(by_themselves[False]).items():
        if "rbl_nn" not in name:
            np.testing.assert_equal(results(tmp_path)[name], expected)
    assert [one["selections"] for one in trained] == [{"silhouette/average"}] * 3


def test_one_selection_is_run_by_its_name(run, monkeypatch, tmp_path, by_themselves):
    table = Table("rank_based", "small", (block(refit=False),), (ROW,))
    monkeypatch.setitem(reproduce.TABLES, "rank_based", table)
    arguments = ["--table=rank_based", f"--workdir={tmp_path}", "--seed_list=0"]
    assert run(reproduce, *arguments, "--rows=rbl_nn") == 0
    expected = results(by_themselves[False])
    found = results(tmp_path / "jobs")
    np.testing.assert_equal(
        found, {name: expected[name] for name in expected if "rbl_nn" in name}
    )


def test_a_row_is_narrowed_to_what_is_wanted():
    row = Row("a", {}, ({},), selections={"x": "nn/average", "y": "nn/family"})
    (alone,) = row.narrowed({"a", "b"})
    assert alone.name == "a" and not alone.selections
    (narrowed,) = row.narrowed({"a", "a_y"})
    assert narrowed.selections == {"y": "nn/family"}
    assert [one.name for one in row.narrowed({"a_x", "a_y"})] == ["a_x", "a_y"]
    assert row.narrowed({"a", "a_x", "a_y"}) == (row,)
    assert not row.narrowed({"b"})


REFIT = options.changed(rank_based("gm_notes", FIELDS), SETTINGS | {"refit": True})


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({}, NEAREST, True),
        ({}, NEAREST | {"seed": 1}, False),
        ({"num_steps": 30}, NEAREST, True),
        ({}, {"num_steps": 50}, True),
        # A call to the devices would end there that otherwise does not.
        ({"num_steps": 35}, {}, False),
        ({}, {"num_steps": 35}, False),
        ({"num_steps": 30, "schedule": "cosine"}, {"schedule": "cosine"}, False),
        # It stops on validation, where a longer run may find something better.
        ({"num_steps": 30, "refit": False}, {"refit": False}, False),
    ],
)
def test_what_can_be_one_training(first, second, together):
    pair = {
        "a": options.changed(REFIT, first),
        "b": options.changed(REFIT, second),
    }
    assert sharing.groups(pair) == ([["a", "b"]] if together else [["a"], ["b"]])


def test_a_group_can_be_shared_as_a_whole():
    steps = {"a": 30, "b": 35, "c": 20, "d": 45}
    found = {k: options.changed(REFIT, {"num_steps": v}) for k, v in steps.items()}
    # 35 and 45 would each have to be the last.
    assert sharing.groups(found) == [["a", "b", "c"], ["d"]]


def test_a_shorter_training_is_part_of_a_longer_one(trained):
    pair = {"a": options.changed(REFIT, {"num_steps": 20}), "b": REFIT}
    found = sharing.obtain_each(pair)
    assert [one["num_steps"] for one in trained] == [40]
    rows = np.arange(20)
    for name, one in pair.items():
        alone = sharing.obtain_each({name: one})[name]
        assert found[name].experiment == one and found[name].steps == one.num_steps
        assert found[name].records == alone.records
        np.testing.assert_array_equal(found[name].embed(rows), alone.embed(rows))


def test_a_training_that_fails_late_fails_only_whom_it_concerns(monkeypatch):
    """The one that would have ended before has its result."""
    fit = training.fit

    def failing(model, objective, data, config, workdir, **others):
        if "nn/average" in others["selections"]:
            raise DivergedError("the loss is nan at step 31")
        return fit(model, objective, data, config, workdir, **others)

    monkeypatch.setattr(training, "fit", failing)
    pair = {"a": REFIT, "b": options.changed(REFIT, NEAREST)}
    found = sharing.obtain_each(pair)
    assert found["a"].steps == 40
    assert "step 31" in str(found["b"])
