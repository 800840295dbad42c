"""Tables: run, cut off, continued, rendered; the committed ones render again."""

import json
import pathlib

import numpy as np
import pytest

from experiments import render, reproduce, tables
from experiments.presets import PRESETS
from experiments.runs import read_json

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@pytest.fixture
def small_table(monkeypatch):
    """A table of three rows that takes seconds."""
    table = tables.TABLES["rank_based"]
    rows = [
        tables.Row(row.name, row.fields, row.grid[::6])
        for row in table.rows
        if row.name in ("init", "quadruplet", "rbl_random_hierarchy")
    ]
    blocks = [
        tables.Block("gm_notes/seen", {"dataset": "gm_notes"}, seeds=2),
        tables.Block("gm_notes/unseen", {"dataset": "gm_notes"}, folds=2),
        tables.Block("nsynth", {"dataset": "nsynth"}),
    ]
    blocks[1].fields["protocol"] = "unseen"
    small = tables.Table("rank_based", "small", tuple(blocks), tuple(rows))
    monkeypatch.setitem(reproduce.TABLES, "rank_based", small)
    steps = {"batch_size": 12, "num_steps": 20, "eval_every": 10}
    monkeypatch.setitem(tables.SCALES, "cpu", steps)
    return small


def test_a_table_is_run_cut_off_and_continued(run, capsys, small_table, tmp_path):
    arguments = ["--table=rank_based", f"--workdir={tmp_path}"]
    arguments += [f"--data_dir={tmp_path}", "--seed_list=0,1"]
    seen = [*arguments, "--datasets=gm_notes/seen"]
    assert run(reproduce, *seen, "--rows=init,rbl_random_hierarchy") == 0
    first = capsys.readouterr().out
    assert "gm_notes/seen/rbl_random_hierarchy/fold0/seed1" in first
    assert "quadruplet/fold0" not in first

    # What was cut off in the middle: one finished job is lost, one half-written.
    folder = tmp_path / "jobs" / "gm_notes" / "seen" / "init" / "fold0"
    lost = read_json(folder / "seed0.json")
    (folder / "seed0.json").rename(folder / "seed0.json.part")
    assert run(reproduce, *arguments, "--datasets=gm_notes,nsynth") == 0
    second = capsys.readouterr().out
    assert "init/fold0/seed0" in second and "quadruplet/fold0/tuning" in second
    assert "gm_notes/seen/rbl_random_hierarchy" not in second.split("# small")[0]
    assert read_json(folder / "seed0.json")["measures"] == lost["measures"]
    assert "nsynth: not run" in second and "Not run: data absent." in second

    content = read_json(tmp_path / "rank_based.json")
    assert str(tmp_path) not in json.dumps(content)
    assert render.markdown(content) == (tmp_path / "rank_based.md").read_text()
    block = content["blocks"][0]
    assert block["rows"]["quadruplet"]["seeds"] == 2

    # The table's numbers against the runs' own, by hand.
    row, level = block["rows"]["quadruplet"], "knn/instrument"
    folder = tmp_path / "jobs" / "gm_notes" / "seen" / "quadruplet" / "fold0"
    runs = [read_json(folder / f"seed{seed}.json") for seed in (0, 1)]
    values = [run["measures"][level] for run in runs]
    np.testing.assert_allclose(row["measures"][level]["mean"], np.mean(values))
    np.testing.assert_allclose(row["measures"][level]["sd"], np.std(values, ddof=1))
    raw = block["rows"]["init"]["measures"][level]["mean"]
    gain = row["gain"]["init"][level]
    np.testing.assert_allclose(gain["value"], np.mean(values) - raw, atol=1e-6)
    assert gain["low"] < gain["value"] < gain["high"]
    shuffled = block["rows"]["rbl_random_hierarchy"]
    assert 0 <= shuffled["sibling_overlap"]["mean"] < 0.5
    assert set(shuffled["true_tree"]) == set(shuffled["measures"])

    # Folds: 32 + 32 of the 128 instruments, each query once.
    unseen = content["blocks"][1]
    assert unseen["rows"]["init"]["folds"] == 2 and unseen["units"] == 64

    # Jobs of other settings are not mixed in.
    tables.SCALES["cpu"]["num_steps"] = 30
    assert run(reproduce, *arguments, "--datasets=gm_notes/seen") == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--table", "rank_based"]),
        (["--table=rank_base"], ["table"]),
        (["--table=rank_based"], ["--workdir"]),
        (["--table=rank_based", "--rows=rbll"], ["'rbl'"]),
        (["--table=rank_based", "--datasets=tut2017"], ["tut2016"]),
        (["--table=rank_based", "--seed_list=0,x"], ["seed_list"]),
        (["--table=rank_based", "--scale=gpu"], ["scale"]),
    ],
)
def test_mistakes_are_one_sentence(fails, tmp_path, arguments, words):
    if len(arguments) == 2:
        arguments = [*arguments, f"--workdir={tmp_path}"]
    fails(reproduce, arguments, *words)
    assert not list(tmp_path.iterdir())


def test_damaged_data_are_not_absent_data(fails, small_table, tmp_path):
    (tmp_path / "nsynth.npz").write_bytes(b"not an archive")
    fails(
        reproduce,
        [
            "--table=rank_based",
            f"--workdir={tmp_path / 'w'}",
            f"--data_dir={tmp_path}",
            "--datasets=nsynth",
        ],
        "nsynth.npz",
        "not an .npz archive",
    )


def test_a_workdir_holds_one_scale(fails, tmp_path):
    (tmp_path / "reproduce.json").write_text('{"scale": "paper"}')
    fails(
        reproduce,
        ["--table=rank_based", f"--workdir={tmp_path}", "--rows=init"],
        "--scale=paper",
    )


def test_every_trained_row_has_the_same_number_of_trials():
    for table in tables.TABLES.values():
        for row in table.rows:
            trained = row.fields["loss"] != "none"
            assert len(row.grid) == (tables.NUM_TRIALS if trained else 4)
            settings = [tuple(sorted(trial.items())) for trial in row.grid]
            assert len(set(settings)) == len(settings)


def test_every_cell_is_a_valid_experiment():
    for table in tables.TABLES.values():
        for block in table.blocks:
            for row in table.rows:
                for scale in tables.SCALES:
                    tables.scaled_experiment(block, row, scale, "")


def test_every_row_of_the_paper_has_a_preset():
    for dataset in ("gm_notes", "tut2016", "psb", "npz", "nsynth", "birds"):
        for row in tables.TABLES["rank_based"].rows[:7]:
            assert f"rank_based/{dataset}/{row.name}" in PRESETS


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/*.json")), ids=lambda p: p.stem)
def test_committed_tables_render_again(path):
    content = read_json(path)
    assert path.with_suffix(".md").read_text() == render.markdown(content)
    assert path.with_suffix(".csv").read_text() == render.comma_separated(content)
