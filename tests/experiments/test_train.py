"""The train and evaluate commands, started in this process with their real flags."""

import json
import re

import numpy as np
import pytest

from experiments import evaluate, train
from experiments.papers import PRESETS
from hierjax import training

LINEAR = "--experiment=rank_based/gm_notes/rbl_block_edge"
SMALL = ["--num_steps=40", "--set=eval_every=20", "--num_devices=1"]


def make_npz(path, **changes):
    rng = np.random.default_rng(0)
    names = [
        ("animal", "bird", "owl"),
        ("animal", "bird", "wren"),
        ("animal", "fish", "cod"),
        ("stone", "", ""),
        ("plant", "tree", "oak"),
        ("plant", "tree", "elm"),
    ]
    classes = rng.permutation(np.arange(120) % len(names))
    arrays = {
        "features": (rng.normal(size=(120, 7)) + classes[:, None]).astype(np.float32),
        "labels": np.array(names)[classes],
    }
    np.savez(path, **(arrays | changes))
    return path


def test_list_prints_every_preset(run, capsys):
    assert run(train, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num_stesp=3"], ["num_stesp", "--num_steps"]),
        (["--experiment=rank_based/gm_note/rbl"], ["rank_based/gm_notes/rbl"]),
        (["--set=embed_dims=3"], ["embed_dims", "'embed_dim'"]),
        (["--set=embed_dim"], ["key=value"]),
        (["--set=embed_dim=three"], ["embed_dim", "int"]),
        (["--set=refit=yes"], ["refit", "true or false"]),
        (["--set=seed=1", "--seed=2"], ["seed", "twice"]),
        (["--learning_rate=nan"], ["learning_rate", "finite"]),
        (["--learning_rate=inf"], ["learning_rate", "finite"]),
        (["--learning_rate=fast"], ["learning_rate", "fast"]),
        (["--learning_rate=-1"], ["learning_rate", "at least 0"]),
        (["--num_steps=0"], ["num_steps", "at least 1"]),
        (["--batch_size=2.5"], ["batch_size", "2.5"]),
        (["--seed=-1"], ["seed", "at least 0"]),
        (["--set=momentum=1.0"], ["momentum", "below 1"]),
        (["--set=target=edge"], ["target", "block_edge"]),
        (["--set=distance=manhattan"], ["distance", "cosine"]),
        (["--set=hidden_labels=1.5"], ["hidden_labels", "at most 1"]),
        (["--set=selection=accuracy"], ["selection", "silhouette/average"]),
        (["--set=method=tuplet", "--set=margin_outer=0.1"], ["margin_outer"]),
        (["--num_devices=9"], ["num_devices", "9"]),
        (["--batch_size=13", "--num_devices=4"], ["batch_size 13", "4 devices"]),
        (["--set=sampler=tuples"], ["tuples"]),
        (["--dataset=gm_note"], ["gm_notes"]),
        (["--set=protocol=heard"], ["heard", "seen"]),
        (["--dataset=npz"], ["data_path"]),
        (["--data_path=x.npz"], ["x.npz: no such file"]),
        (["--data_path=photos"], ["--data_path photos: no such folder", ".csv"]),
        (["--data_path=x.npz", "--dataset=digits"], ["read by --dataset=csv, folder"]),
        (["--dataset=tfds", "--data_dir=x"], ["which one", "tfds:cifar100"]),
        (["--dataset=tfds:x", "--data_dir=y"], ["y/x: no prepared", "array_record"]),
        (["--dataset=tfds:x"], ["data_dir"]),
        (["--image_size=7"], ["image_size must be 0 or at least 8"]),
        (["--image_size=32"], ["gm_notes", "size of their own"]),
        (["--label_fields=a"], ["gm_notes", "own levels"]),
        (["--experiment=rank_based/tut2016/rbl"], ["data_dir", "tut2016"]),
        (["--experiment=rank_based/nsynth/rbl"], ["nsynth.npz"]),
        (["leftover"], ["leftover"]),
        (["--num_processes=2", "--process_id=0"], ["coordinator_address"]),
        (["--coordinator_address=127.0.0.1:1"], ["num_processes"]),
    ],
)
def test_mistakes_are_one_sentence(fails, tmp_path, arguments, words):
    workdir = tmp_path / "run"
    fails(train, [f"--workdir={workdir}", LINEAR, *arguments], *words)
    assert not (workdir / "metrics.jsonl").exists()


def test_a_diverging_run_names_the_step(fails, tmp_path):
    # Every step multiplies the weights by about -1e4, until they overflow.
    arguments = [LINEAR, "--learning_rate=100", "--set=weight_decay=100", *SMALL]
    fails(
        train,
        [f"--workdir={tmp_path}/w", *arguments],
        "loss is nan at step",
        "smaller learning rate",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.full((120, 7), np.nan)}, ["row 0"]),
        ({"features": np.zeros((3, 7))}, ["120", "3"]),
        ({"labels": np.array([[1, -1, 2]] * 120)}, ["row 0"]),
        ({"features": np.full((120, 7), np.inf)}, ["row 0"]),
        ({"split": np.array(["train"] * 119 + ["trane"])}, ["trane"]),
        ({"split": np.array(["test"] * 120)}, ["train"]),
    ],
)
def test_mistakes_in_own_data(fails, tmp_path, changes, words):
    path = make_npz(tmp_path / "own.npz", **changes)
    arguments = ["--dataset=npz", f"--data_path={path}", f"--workdir={tmp_path}/w"]
    fails(train, arguments, "own.npz", *words)


def test_pickled_and_truncated_files_are_refused(fails, tmp_path):
    path = make_npz(tmp_path / "own.npz", labels=np.array([{}] * 120, dtype=object))
    arguments = ["--dataset=npz", f"--data_path={path}", f"--workdir={tmp_path}/w"]
    fails(train, arguments, "own.npz", "pickle")
    make_npz(path)
    path.write_bytes(path.read_bytes()[:400])
    fails(train, arguments, "own.npz")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ("a b\nb c\nc a\n", ["cycle"]),
        ("a c\nb c\n", ["'c'", "several parents"]),
    ],
)
def test_mistakes_in_own_trees(fails, tmp_path, edges, words):
    data = make_npz(tmp_path / "own.npz")
    (tmp_path / "tree.txt").write_text(edges)
    arguments = ["--dataset=npz", f"--data_path={data}"]
    arguments += [f"--hierarchy={tmp_path}/tree.txt", f"--workdir={tmp_path}/w"]
    fails(train, arguments, "tree.txt", *words)


def test_own_ragged_npz_from_flags_to_report(
    run, fails, capsys, tmp_path, whole_report, draw_no_more
):
    path = make_npz(tmp_path / "own.npz")
    workdir = tmp_path / "run"
    arguments = ["--experiment=rank_based/npz/rbl_block_edge", f"--data_path={path}"]
    arguments += [f"--workdir={workdir}", *SMALL]
    assert run(train, *arguments) == 0
    results = json.loads((workdir / "results.json").read_text())
    assert set(results["learned"]["measures"]) == set(results["input"]["measures"])
    assert results["learned"]["measures"]["knn/level_0"]["value"] > 0.8
    for picture in ("embeddings", "dendrograms", "class_distances", "training_curves"):
        assert (workdir / "report" / f"{picture}.png").stat().st_size > 5_000
    printed = capsys.readouterr().out
    values = r"[01]\.\d+ +" * 3
    assert re.search(rf"^level_2 +24 +{values}[01]\.\d+ \[", printed, re.M)
    assert re.search(r"^level_2 +(equal|better|worse) [+-]\d", printed, re.M)
    assert "| knn/level_2 |" in (workdir / "report" / "report.md").read_text()
    page = (workdir / "report" / "index.html").read_text("utf-8")
    assert "animal / bird / owl" in page and "<code>rank_based" in page
    with np.load(workdir / "per_query.npz") as kept:
        for part in ("input", "learned"):
            for name in ("knn/level_2", "silhouette/level_0"):
                mean = results[part]["measures"][name]["value"]
                assert np.nanmean(kept[f"{part}/{name}"]) == pytest.approx(mean)
        assert len(kept["rows"]) == len(kept["labels"]) == results["queries"]

    draw_no_more()
    before = (workdir / "metrics.jsonl").read_text()
    assert run(train, *arguments) == 0
    assert (workdir / "metrics.jsonl").read_text() == before

    assert run(evaluate, f"--workdir={workdir}") == 0
    again = json.loads((workdir / "results.json").read_text())
    # Not bit by bit: XLA's sums on CPUs depend on where in memory the arrays lie.
    for name, entry in results["learned"]["measures"].items():
        repeated = again["learned"]["measures"][name]
        for key, value in entry.items():
            assert repeated[key] == pytest.approx(value, abs=1e-5), (name, key)

    data = json.loads((workdir / "data.json").read_text())
    assert data["described"].endswith("train 72, validation 24, test 24")
    changed = {"digest": "another", "described": "fewer rows"}
    (workdir / "data.json").write_text(json.dumps(changed))
    words = ["other rows, labels or splits: then fewer rows; now", "test 24"]
    fails(train, arguments, *words)
    fails(evaluate, [f"--workdir={workdir}"], *words)


def test_quadruplets_of_a_deeper_tree_are_rounded_to_whole_tuples(
    run, capsys, tmp_path
):
    path = make_npz(tmp_path / "own.npz")
    workdir = tmp_path / "run"
    arguments = ["--experiment=rank_based/npz/quadruplet", f"--data_path={path}"]
    assert run(train, *arguments, f"--workdir={workdir}", *SMALL) == 0
    assert "batch_size 60: whole tuples of 5 rows" in capsys.readouterr().out
    assert json.loads((workdir / "config.json").read_text())["batch_size"] == 60


def test_a_flagfile_reruns_a_run(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = [LINEAR, "--dataset=digits", "--set=embed_dim=5", "--seed=3", *SMALL]
    assert run(train, f"--workdir={first}", *arguments) == 0
    again = [f"--flagfile={first}/flags.txt", f"--workdir={second}"]
    assert run(train, *again) == 0
    for name in ("config.json", "metrics.jsonl"):
        assert (first / name).read_text() == (second / name).read_text()


def test_a_workdir_keeps_its_run(run, fails, tmp_path):
    workdir = tmp_path / "run"
    arguments = [LINEAR, "--dataset=digits", f"--workdir={workdir}", *SMALL]
    assert run(train, *arguments) == 0
    kept = (workdir / "config.json").read_text()
    fails(train, [*arguments, "--seed=5"], "seed was 0 and is now 5")
    assert (workdir / "config.json").read_text() == kept
    other = tmp_path / "notes"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    fails(train, [f"--workdir={other}"], "not empty")
    assert [p.name for p in other.iterdir()] == ["mine.txt"]
    file = tmp_path / "file"
    file.write_text("")
    fails(train, [f"--workdir={file}"], "cannot be written")


def test_a_finished_run_is_given_more_steps(run, fails, tmp_path):
    def arguments(name, steps):
        settings = ("--dataset=digits", "--set=eval_every=4", f"--num_steps={steps}")
        return (LINEAR, *settings, f"--workdir={tmp_path}/{name}", "--report=none")

    assert run(train, *arguments("grown", 6)) == 0
    assert run(train, *arguments("grown", 12)) == 0
    assert run(train, *arguments("whole", 12)) == 0
    grown, whole = (
        training.read_records(tmp_path / name / "metrics.jsonl")
        for name in ("grown", "whole")
    )
    assert grown == whole and grown[-1]["step"] == 12
    # It is the longer run from now on.
    flags = f"--flagfile={tmp_path}/grown/flags.txt"
    assert run(train, flags, f"--workdir={tmp_path}/grown", "--report=none") == 0
    fails(train, arguments("grown", 6), "num_steps was 12 and is now 6", "fewer")
    cosine = (*arguments("cosine", 6), "--set=schedule=cosine")
    assert run(train, *cosine) == 0
    longer = (*arguments("cosine", 12), "--set=schedule=cosine")
    fails(train, longer, "num_steps was 6 and is now 12", "schedule cosine")
    assert not (tmp_path / "grown" / "report").exists()


def test_evaluate_needs_a_run(fails, tmp_path):
    fails(evaluate, [], "--workdir")
    fails(evaluate, [f"--workdir={tmp_path}"], "holds no run")
    (tmp_path / "config.json").write_text("{")
    fails(evaluate, [f"--workdir={tmp_path}"], "config.json")


def test_init_measures_the_input(run, capsys, tmp_path):
    workdir = tmp_path / "run"
    arguments = ["--experiment=rank_based/gm_notes/init", f"--workdir={workdir}"]
    assert run(train, *arguments) == 0
    results = json.loads((workdir / "results.json").read_text())
    assert "learned" not in results
    text = capsys.readouterr().out
    assert re.search(r"^right in test +rows +blind guess.* input$", text, re.M)
    assert re.search(r"^instrument +510( +0\.\d+){3}$", text, re.M)
    assert "beside the input" not in text and "warning" not in text
