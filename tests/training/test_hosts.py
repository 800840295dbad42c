"""Two processes on the loopback train what one process trains."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from hierjax import training
from hierjax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


def start(workdir, *arguments):
    devices = 2 if arguments else 4
    command = f"""
import jax
jax.config.update("jax_num_cpu_devices", {devices})
from experiments import command_line, train
command_line.run(train.main, train.define_flags)
"""
    steps = ["--num_steps=30", "--set=eval_every=10", "--batch_size=24"]
    return subprocess.Popen(
        [sys.executable, "-c", command, f"--workdir={workdir}", *steps, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    joined = [f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2"]
    processes = [
        start(tmp_path / "two", *joined, f"--process_id={rank}") for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert "index.html" in outputs[0][0] and "index.html" not in outputs[1][0]
    alone = start(tmp_path / "one")
    output = alone.communicate(timeout=300)
    assert alone.returncode == 0, output

    two, one = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()]
        for name in ("two", "one")
    )
    assert [r["step"] for r in two] == [10, 20, 30]
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(
            list(ours.values()), list(theirs.values()), rtol=1e-3, atol=1e-4
        )
    assert (tmp_path / "two" / "results.json").exists()


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
