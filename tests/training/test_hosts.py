"""Two processes on the loopback train what one process trains."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from hierjax import training
from hierjax.errors import UserError
from tests.training import toy

ROOT = pathlib.Path(__file__).parents[2]
TRAIN = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
from experiments import train
from experiments.cli import command_line
command_line.run(train.main, train.define_flags)
"""
PATIENCE = 3600
"""Seconds; for machines that are many times slower than those of their authors."""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_two(folder, arguments_of):
    """What both printed on stdout; if one fails, the other is not waited for."""
    processes = []
    for rank in (0, 1):
        with (
            (folder / f"out{rank}").open("w") as out,
            (folder / f"err{rank}").open("w") as err,
        ):
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments_of(rank)],
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    stdout=out,
                    stderr=err,
                )
            )
    end = time.monotonic() + PATIENCE
    try:
        while None in (codes := [process.poll() for process in processes]):
            assert time.monotonic() < end and not any(codes), codes
            time.sleep(0.05)
        assert codes == [0, 0]
    except AssertionError:
        for rank in (0, 1):
            print((folder / f"err{rank}").read_text()[-3000:])
        raise
    finally:
        for process in processes:
            process.kill()
    return [(folder / f"out{rank}").read_text() for rank in (0, 1)]


def test_two_processes_equal_one(tmp_path):
    port = str(free_port())
    script = str(pathlib.Path(__file__).with_name("two_hosts.py"))
    first, second = run_two(
        tmp_path, lambda rank: [script, port, str(rank), str(tmp_path / "two")]
    )
    # Of the dry run; its batch is that of the printing process.
    lines = dict(line.split(None, 1) for line in first.splitlines() if "  " in line)
    assert lines["devices"] == "4" and lines["batch"] == "int32 [2, 6]"
    assert "inputs" not in second
    two = training.read_records(tmp_path / "two" / "metrics.jsonl")
    one = toy.train(num_devices=4).records
    assert [r["step"] for r in two] == [10, 20, 30, 40]
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(
            list(ours.values()), list(theirs.values()), rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
def test_the_command_trains_on_two_processes(tmp_path):
    joined = [f"--coordinator_address=127.0.0.1:{free_port()}", "--num_processes=2"]
    small = ["--num_steps=4", "--batch_size=24", "--set=num_train=60"]
    small += ["--set=num_evaluated=40", f"--workdir={tmp_path / 'run'}"]
    first, second = run_two(
        tmp_path,
        lambda rank: ["-c", TRAIN, *joined, *small, f"--process_id={rank}"],
    )
    assert "index.html" in first and "index.html" not in second
    assert (tmp_path / "run" / "results.json").exists()


def test_the_three_flags_must_fit_together():
    with pytest.raises(UserError, match="num_processes and process_id"):
        training.hosts.initialize("127.0.0.1:1", None, None)
    with pytest.raises(UserError, match="0..1, got 2"):
        training.hosts.initialize("127.0.0.1:1", 2, 2)


def test_local_rows_follow_the_order_of_the_axis():
    rows = np.arange(24).reshape(2, 12)
    everyone = ("a0", "b0", "a1", "b1")
    np.testing.assert_array_equal(
        training.hosts.local_rows(rows, everyone, ("b0", "b1")),
        [[[3, 4, 5], [9, 10, 11]], [[15, 16, 17], [21, 22, 23]]],
    )
