"""Tables: run, cut off, continued, rendered; the committed ones render again."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import pytest

from experiments import reproduce
from experiments.papers import PRESETS, rank_based, tables
from experiments.report import document
from experiments.runs.files import read_json
from experiments.runs.former_names import current_names
from experiments.tables import formats, render
from hierjax import metrics
from hierjax.options import changed

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
    scales = {"cpu": {"batch_size": 12, "num_steps": 20, "eval_every": 10}}
    unseen = {"dataset": "gm_notes", "protocol": "unseen"}
    blocks = (
        tables.Block("gm_notes/seen", {"dataset": "gm_notes"}, seeds=2, scales=scales),
        tables.Block("gm_notes/unseen", unseen, folds=2, scales=scales),
        tables.Block("nsynth", {"dataset": "nsynth"}, scales=scales),
    )
    small = tables.Table("rank_based", "small", blocks, tuple(rows))
    monkeypatch.setitem(reproduce.TABLES, "rank_based", small)
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
    text = document.markdown(render.parts(content))
    assert text == (tmp_path / "rank_based.md").read_text()
    block = content["blocks"][0]
    assert block["rows"]["quadruplet"]["seeds"] == 2

    # The table's numbers against the runs' own, by hand.
    row, level = block["rows"]["quadruplet"], "knn/instrument"
    folder = tmp_path / "jobs" / "gm_notes" / "seen" / "quadruplet" / "fold0"
    runs = [read_json(folder / f"seed{seed}.json") for seed in (0, 1)]
    values = [run["measures"][level] for run in runs]
    np.testing.assert_allclose(row["measures"][level]["value"], np.mean(values))
    np.testing.assert_allclose(row["measures"][level]["sd"], np.std(values, ddof=1))
    raw = block["rows"]["init"]["measures"][level]["value"]
    (gain,) = (
        comparison["differences"][level]
        for comparison in block["comparisons"]
        if (comparison["row"], comparison["against"]) == ("quadruplet", "init")
    )
    np.testing.assert_allclose(gain["value"], np.mean(values) - raw, atol=1e-6)
    assert gain["low"] < gain["value"] < gain["high"]
    shuffled = block["rows"]["rbl_random_hierarchy"]
    assert 0 <= shuffled["sibling_overlap"]["value"] < 0.5
    assert set(shuffled["true_tree"]) == set(shuffled["measures"])

    # Folds: 32 + 32 of the 128 instruments, each query once.
    unseen = content["blocks"][1]
    assert unseen["rows"]["init"]["folds"] == 2 and unseen["units"] == 64

    # Jobs of other settings are not mixed in.
    small_table.blocks[0].scales["cpu"]["num_steps"] = 30
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
            if table.measured == "neighbors":
                trials = 4 if row.fields["method"] == "input" else rank_based.NUM_TRIALS
            elif row.fields["method"] in ("input", "untrained"):
                trials = 1
            else:
                trials = 8 if row.name.endswith("_scale") else 2
            assert len(row.grid) == trials
            settings = [tuple(sorted(trial.items())) for trial in row.grid]
            assert len(set(settings)) == len(settings)


def test_a_rate_that_the_scale_sets_is_not_tuned():
    table = tables.TABLES["class_hierarchies"]
    rows = {row.name: row for row in table.rows}
    gm_notes, cifar = table.blocks[:2]
    assert len(tables.trials(gm_notes, rows["proxydr"], "cpu")) == 2
    assert tables.trials(cifar, rows["proxydr"], "cpu") == ({},)
    scales = tables.trials(cifar, rows["proxydr_scale"], "cpu")
    assert scales == tuple({"scale.value": scale} for scale in (5.0, 10.0, 20.0, 40.0))
    assert tables.cell_seeds(gm_notes, rows["proxydr"]) == list(range(10))
    assert tables.cell_seeds(gm_notes, rows["softmax"]) == list(range(5))
    assert len(tables.cell_rows(cifar, table, "cpu")) == 6
    assert len(tables.cell_rows(cifar, table, "paper")) == 16


@pytest.fixture
def small_class_table(monkeypatch):
    """A table of classes that takes seconds."""
    table = tables.TABLES["class_hierarchies"]
    settings = table.blocks[0].scales["cpu"]
    short = {"num_steps": 20, "eval_every": 10, "model": "linear", "embed_dim": 8}
    block = dataclasses.replace(
        table.blocks[0],
        seeds=2,
        scales={"cpu": settings | short},
        fields={"dataset": "gm_notes"},
    )
    names = ("softmax", "normface", "proxydr", "proxydr+ema+dynamic")
    rows = [
        dataclasses.replace(row, seeds={}) for row in table.rows if row.name in names
    ]
    rows += tables.TABLES["random_networks"].rows[:1]
    rows[-1] = dataclasses.replace(rows[-1], seeds={})
    small = dataclasses.replace(table, blocks=(block,), rows=tuple(rows))
    monkeypatch.setitem(reproduce.TABLES, "class_hierarchies", small)
    return small


def test_a_table_of_classes(run, capsys, small_class_table, tmp_path):
    assert run(reproduce, "--table=class_hierarchies", f"--workdir={tmp_path}") == 0
    capsys.readouterr()
    content = read_json(tmp_path / "class_hierarchies.json")
    text = document.markdown(render.parts(content))
    assert text == (tmp_path / "class_hierarchies.md").read_text()
    (block,) = content["blocks"]
    folder = tmp_path / "jobs" / "class_hierarchies" / "gm_notes"
    levels = ("family", "instrument")
    named_today = functools.partial(current_names, levels=levels, source="classes")

    def values(row, measure):
        runs = [read_json(folder / row / "fold0" / f"seed{s}.json") for s in (0, 1)]
        named = [named_today(run["measures"]) for run in runs]
        return np.array([measures[measure] for measures in named])

    gamma = block["rows"]["proxydr"]["measures"]["gamma/all/proxies"]
    expected = values("proxydr", "gamma/all/proxies").mean()
    np.testing.assert_allclose(gamma["value"], expected)
    measures = block["rows"]["input"]["measures"]
    assert "accuracy/instrument/means" in measures
    assert "accuracy/instrument/proxies" not in measures
    assert [entry["row"] for entry in block["comparisons"]] == ["proxydr"]
    (entry,) = block["comparisons"]
    measure = "cost/all/means"
    difference = values("proxydr", measure) - values("normface", measure)
    found = entry["differences"][measure]
    np.testing.assert_allclose(found["value"], difference.mean())
    np.testing.assert_allclose(found["sd"], difference.std(ddof=1))

    # The permutation test's statistic, from the runs' own arrays.
    def per_class(row, seed):
        with np.load(folder / row / "fold0" / f"seed{seed}.npz") as arrays:
            per_class = {
                key.removeprefix("class/"): arrays[key]
                for key in arrays.files
                if key.startswith("class/")
            }
        return named_today(per_class)["gamma/all/proxies"]

    mean = np.mean(
        [per_class("proxydr", s) - per_class("normface", s) for s in (0, 1)], axis=0
    )
    expected = metrics.sign_flip_test(mean)
    assert entry["differences"]["gamma/all/proxies"]["p"] == expected
    assert "not testable at this scale" in text and "proxydr - normface" in text


def test_every_cell_is_a_valid_experiment():
    for table in tables.TABLES.values():
        for block in table.blocks:
            for row in table.rows:
                for scale in tables.SCALES:
                    tables.scaled_experiment(block, row, scale, "")


def test_the_14_configurations_of_class_hierarchies_are_presets():
    rows = tables.TABLES["class_hierarchies"].rows[:14]
    assert len({row.name for row in rows}) == 14
    for dataset in ("gm_notes", "cifar100", "nabirds", "micro_s", "npz"):
        for row in rows:
            preset = PRESETS[f"class_hierarchies/{dataset}/{row.name}"].experiment
            assert changed(preset, row.fields) == preset


def test_every_row_of_the_paper_has_a_preset():
    for dataset in ("gm_notes", "tut2016", "psb", "npz", "nsynth", "birds"):
        for row in tables.TABLES["rank_based"].rows[:7]:
            assert f"rank_based/{dataset}/{row.name}" in PRESETS


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/*.json")), ids=lambda p: p.stem)
def test_committed_tables_render_again(path):
    content = formats.read_table(path)
    parts = render.parts(content)
    assert path.with_suffix(".md").read_text() == document.markdown(parts)
    assert path.with_suffix(".tex").read_text() == document.latex(parts)
    assert path.with_suffix(".csv").read_text() == render.comma_separated(content)
