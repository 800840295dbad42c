"""A method that a file of the user's own declares, from flags to table."""

import pathlib
import re
import runpy
import sys

import numpy as np
import pytest

from experiments import train
from experiments.papers import PRESETS, tables
from experiments.runs.files import read_json
from hierjax import training
from hierjax.objectives import Method

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "own_loss.md"
SHORT = ("--num_steps=40", "--set=eval_every=20", "--set=checkpoint_every=20")


@pytest.fixture
def my_loss(tmp_path, monkeypatch, run):
    """Runs the file of the documentation with arguments; gives the exit code."""
    monkeypatch.setattr(Method, "kinds", dict(Method.kinds))
    for held in (PRESETS, tables.TABLES):
        for name, value in list(held.items()):
            monkeypatch.setitem(held, name, value)
    known = set(PRESETS)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (source,) = [text for text in snippets if "commands.run" in text]
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    file = tmp_path / "my_loss.py"
    file.write_text(source)

    def main():
        runpy.run_path(str(file), run_name="__main__")

    def start(*arguments):
        Method.kinds.pop("centre", None)  # As in a process of its own.
        return run(main, *arguments)

    yield start
    for name in set(PRESETS) - known:
        del PRESETS[name]


def test_it_trains_on_four_devices_is_cut_off_and_goes_on(my_loss, tmp_path, fails):
    def arguments(name):
        return (*SHORT, "--set=spread=0.5", f"--workdir={tmp_path}/{name}")

    assert my_loss(*arguments("whole")) == 0
    whole = training.read_records(tmp_path / "whole" / "metrics.jsonl")
    config = read_json(tmp_path / "whole" / "config.json")
    assert config["method"] == {"name": "centre", "spread": 0.5}
    assert read_json(tmp_path / "whole" / "results.json")["best_step"] in (20, 40)

    class Stop(Exception):
        pass

    original = training.loop.evaluation.validation_measures

    def second_call_stops(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise Stop
        return original(*args, **kwargs)

    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training.loop.evaluation, "validation_measures", second_call_stops
        )
        with pytest.raises(Stop):
            my_loss(*arguments("cut"))
    assert my_loss(*arguments("cut")) == 0
    cut = training.read_records(tmp_path / "cut" / "metrics.jsonl")
    assert [r["loss"] for r in cut] == [r["loss"] for r in whole]
    assert np.isfinite([r["loss"] for r in whole]).all()

    assert my_loss("evaluate", f"--workdir={tmp_path}/cut") == 0
    assert "centre" in (tmp_path / "cut" / "report" / "index.html").read_text()
    # Without the file nobody knows what it was.
    Method.kinds.pop("centre")
    fails(train, arguments("cut")[-1:], "no method 'centre'", "a file of your own")


def test_it_is_listed_and_has_a_row_in_the_tables(my_loss, capsys):
    assert my_loss("--list") == 0
    listed = capsys.readouterr().out
    assert "rank_based/gm_notes/centre" in listed and "Rows move to the mean" in listed
    row = {row.name: row for row in tables.TABLES["rank_based"].rows}["centre"]
    assert len(row.grid) == 12
    block = tables.TABLES["rank_based"].blocks[0]
    cell = tables.scaled_experiment(block, row, "cpu", "")
    assert cell.method.name == "centre" and cell.sampler == "uniform"


def test_a_wrong_option_is_one_sentence(my_loss, capsys):
    assert my_loss("--set=spread=-1") == 2
    assert "spread must be at least 0" in capsys.readouterr().err


def test_two_methods_of_one_name_are_refused(my_loss, monkeypatch):
    with pytest.raises(ValueError, match="'triplet' is taken by"):

        class Other(Method):
            """Another triplet."""

            name = "triplet"

    assert Method.kinds["triplet"].__name__ == "Triplet"
    assert sys.modules[Method.kinds["triplet"].__module__]
