"""Commands in processes of their own, and the signals that end them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.cli import signals

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 600


def start(workdir):
    """A run of the command that would take hours."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", "--dataset=digits"]
        + ["--num_steps=100000000", "--set=eval_every=500", "--report=none"]
        + ["--set=checkpoint_every=100000000", f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_saves_and_the_lock_goes(tmp_path):
    workdir = tmp_path / "run"
    with start(workdir) as process:
        try:
            records = workdir / "metrics.jsonl"
            end = time.monotonic() + PATIENCE
            while not (records.exists() and records.stat().st_size):
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.05)
            assert (workdir / "lock.json").exists()
            process.terminate()
            lines = process.stderr.read().splitlines()
            assert process.wait(PATIENCE) == signals.STOPPED == 75
        finally:
            process.kill()
    asked = [line for line in lines if line.startswith("SIGTERM: saving after this")]
    assert len(asked) == 1
    assert lines[-1].startswith("stopped at step ")
    assert lines[-1].endswith("of 100,000,000; the same command goes on from there")
    assert not any("Traceback" in line for line in lines)
    step = lines[-1].split()[3].replace(",", "")
    assert (workdir / "checkpoints" / step).is_dir()
    assert not (workdir / "lock.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0.3, 1.5, 3.0, 6.0])
def test_signals_while_starting_leave_a_sentence(tmp_path, number, seconds):
    with start(tmp_path / "run") as process:
        try:
            time.sleep(seconds)
            process.send_signal(number)
            lines = process.stderr.read().splitlines()
            assert process.wait(PATIENCE) == signals.STOPPED
        finally:
            process.kill()
    assert lines and lines[-1].startswith("stopped ")
    assert not any("Traceback" in line for line in lines)
    assert not (tmp_path / "run" / "lock.json").exists()


def test_the_first_asks_and_the_second_leaves(monkeypatch):
    left, said = [], []
    monkeypatch.setattr(signals.os, "_exit", left.append)
    monkeypatch.setattr(signals, "_say", said.append)
    monkeypatch.setattr(signals, "_SAME_SECONDS", 0.05)
    answers, released = [True, False], []
    former = signal.getsignal(signal.SIGTERM)

    def send(number, count):
        os.kill(os.getpid(), number)
        end = time.monotonic() + 10
        while len(said) < count and time.monotonic() < end:
            time.sleep(0.01)

    for answer in answers:
        with signals.watched(lambda: answer, lambda: released.append(1)):  # noqa: B023
            send(signal.SIGHUP, len(said) + 1)
            if answer:
                # The same signal once more, from a program that sends it twice.
                send(signal.SIGHUP, len(said))
                assert left == [] and released == []
                time.sleep(0.1)
                send(signal.SIGTERM, len(said) + 1)
    assert left == [128 + signal.SIGTERM, signals.STOPPED] and released == [1, 1]
    assert said[0].startswith("SIGHUP: saving after this call; a second signal")
    assert said[1] == "left at once by a second SIGTERM"
    assert said[2] == "stopped by SIGHUP; the same command goes on from there"
    assert signal.getsignal(signal.SIGTERM) == former


def test_what_the_caller_ignores_stays_ignored():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.watched(lambda: True, lambda: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
