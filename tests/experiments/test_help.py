"""Short help, shell completion and the dry run."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import pytest

from experiments import completion, embed, train
from experiments.cli import help_text
from experiments.papers import PRESETS
from experiments.settings.loading import load_data
from experiments.settings.methods import fit, rehearse
from hierjax import training

LINEAR = "rank_based/gm_notes/rbl_block_edge"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("asking", help_text.ASKING)
def test_help_is_grouped_and_short(run, capsys, asking):
    assert run(train, asking) == 0
    text = capsys.readouterr().out
    titles = [line for line in text.splitlines() if line.endswith(":")]
    assert titles[:2] == ["What to train:", "Data:"] and "Several hosts:" in titles
    assert len(text.splitlines()) < 80 and max(map(len, text.splitlines())) <= 100
    for name in ("--experiment=TEXT", "--num_steps=N", "--learning_rate=X", "--list "):
        assert text.count(f"  {name}") == 1
    assert "chex" not in text and "repeat this option" not in text


def test_help_of_another_command(run, capsys):
    assert run(embed, "--help") == 0
    text = capsys.readouterr().out
    assert "This command:" in text and "--threshold=X" in text
    assert "Default 0.5." in text and "--num_steps" not in text


def complete(script, *words):
    """What bash offers for the last of the words, split as readline splits them."""
    split = []
    for word in words:
        flag, equals, value = word.partition("=")
        split += [flag, equals, value] if equals else [flag]
    quoted = " ".join(f"'{word}'" for word in split)
    code = (
        f"source '{script}'; COMP_WORDS=({quoted}); COMP_CWORD={len(split) - 1}; "
        '_hierjax; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    shell = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, check=True
    )
    return shell.stdout.split()


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("shell") / "completion.sh"
    path.write_text(completion.script())
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_flags_and_values(script):
    start = ("python", "-m")
    assert "experiments.reproduce" in complete(script, *start, "exp")
    assert "experiments.presets" not in complete(script, *start, "exp")
    assert complete(script, *start, "experiments.train", "--num_s") == ["--num_steps="]
    assert complete(script, *start, "experiments.train", "--dry") == ["--dry_run"]
    assert complete(script, *start, "experiments.embed", "--num_s") == []
    presets = complete(
        script, *start, "experiments.train", "--experiment=rank_based/gm"
    )
    assert "rank_based/gm_notes/rbl" in presets
    assert all(name.startswith("rank_based/gm") for name in presets)
    assert complete(script, *start, "experiments.train", "--dataset=cif") == [
        "cifar100"
    ]
    assert "temperature=" in complete(script, *start, "experiments.train", "--set=temp")
    fields = complete(script, *start, "experiments.train", "--set", "temp")
    assert fields == ["temperature="]
    # Other programs are left to the shell.
    assert complete(script, "python", "script.py", "--num") == []


def test_a_dry_run_tells_what_a_run_takes_and_writes_nothing(
    run, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = ("--num_devices=2", "--batch_size=8", "--num_steps=2000")
    assert run(train, "--dry_run", f"--experiment={LINEAR}", *arguments) == 0
    text = capsys.readouterr().out
    lines = dict(line.split(None, 1) for line in text.splitlines() if "  " in line)
    assert lines["inputs"] == "float32 [1530, 24, 32]"
    assert lines["batch"].startswith("int32 [2, 4]")
    assert lines["embeddings"] == "float32 [8, 3]"
    # 24 x 32 inputs to 3 outputs, and their bias.
    assert lines["parameters"].startswith("2,307 of the model, 0 of")
    assert lines["devices"] == "2"
    assert "one step" in lines["time"] and "2,000 steps" in lines["time"]
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_what_trains_nothing(run, capsys, tmp_path):
    assert run(train, "--dry_run", "--experiment=rank_based/gm_notes/init") == 0
    assert "trains nothing" in capsys.readouterr().out


def test_a_dry_run_refuses_what_a_run_refuses(fails):
    fails(train, ["--dry_run", "--batch_size=13", "--num_devices=4"], "batch_size 13")


def test_a_rehearsal_starts_as_the_run_does():
    linear = PRESETS[LINEAR].experiment
    dataset = load_data(linear)
    found = rehearse(linear, dataset, num_devices=1)
    assert isinstance(found, training.Rehearsal)
    first_step = dataclasses.replace(linear, num_steps=1, eval_every=1)
    records = fit(first_step, dataset, num_devices=1).records
    assert records[0]["loss"] == pytest.approx(found.loss, rel=1e-5)
    assert found.data_bytes == 1530 * (24 * 32 + 2) * 4
    assert found.step_seconds > 0 and found.compile_seconds > 0


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m experiments.train --list | head -n 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("quickstart") and done.stderr == ""
