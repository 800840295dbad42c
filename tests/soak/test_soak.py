"""Short versions of the long runs; they take hours where somebody has them."""

import pathlib
import subprocess
import sys

import pytest

from hierjax.errors import UserError
from tests.soak import fuzz, growth


def test_inputs_are_read_or_refused_in_one_sentence():
    found = fuzz.fuzz(range(600))
    assert found.fallen == []
    for kind in fuzz.KINDS:
        # Neither end says anything without the other.
        assert found.ends[kind, "read"] and found.ends[kind, "refused"], kind


def test_what_falls_or_is_slow_is_found(monkeypatch):
    def bad(source):
        number = source.draw.integers(4)
        if number == 0:
            raise KeyError("x\ny")
        if number == 1:
            raise UserError("one\ntwo")
        if number == 2:
            monkeypatch.setattr(fuzz.time, "process_time", lambda: 9.0)

    monkeypatch.setattr(fuzz.time, "process_time", lambda: 1.0)
    monkeypatch.setitem(fuzz.KINDS, "bad", bad)
    found, numbers = set(), {}
    for number in range(20):
        monkeypatch.setattr(fuzz.time, "process_time", lambda: 1.0)
        one = fuzz.fuzz([number], kinds=("bad",))
        for line in one.fallen:
            found.add(line.split(" ", 2)[2].split(" (")[0])
            numbers[line.split()[0]] = number
    assert found == {"KeyError: 'x\\ny'", "no sentence: 'one\\ntwo'", "8.0 s"}
    assert numbers == {str(number): number for number in numbers.values()}
    with pytest.raises((KeyError, UserError)):
        for number in numbers.values():
            fuzz.fuzz([number], kinds=("bad",), let_through=True)


def test_the_same_number_is_the_same_input(tmp_path):
    texts = [fuzz.Source(3, 7, tmp_path).edited(fuzz.NEWICK) for _ in range(2)]
    assert texts[0] == texts[1] != fuzz.Source(3, 8, tmp_path).edited(fuzz.NEWICK)


def test_growth_is_the_end_above_the_beginning():
    assert growth.growth([100.0] * 10) == 0
    assert growth.growth([100, 100, *[500] * 6, 102, 102]) == pytest.approx(0.02)


def test_a_round_trains_evaluates_and_embeds(tmp_path):
    growth.make_data(tmp_path / "data.npz")
    growth.one_round(tmp_path, tmp_path / "data.npz", 0)
    assert (tmp_path / "run0" / "results.json").exists()
    assert growth.resident() > 50


@pytest.mark.slow
def test_killed_runs_end_alike():
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "tests.soak.kills", "--count=4", "--aimed=2"),
            "--presets=class_hierarchies/digits/normface+mds",
        ],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills at random, 2 aimed at checkpoints" in done.stdout
    assert " 0 differ" in done.stdout
