"""What each process of `test_hosts` runs: ``two_hosts.py PORT RANK WORKDIR``.

A dry run by command line, which joins the processes, then a run of the library's loop
that is stopped and continued, then single steps under both mappings.
"""

import functools
import pathlib
import sys

import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", 2)

from experiments import train  # noqa: E402
from experiments.cli import command_line  # noqa: E402
from hierjax import models, objectives, training  # noqa: E402
from hierjax.options import changed  # noqa: E402
from hierjax.training import stopping  # noqa: E402
from hierjax.training.writer import Progress  # noqa: E402
from tests.training import toy  # noqa: E402

MODEL = models.ConvNet(3, channels=(2,), axis_name=training.AXIS)
OBJECTIVE = changed(
    objectives.Classification(), {"representatives": "ema", "scale": "dynamic"}
).build(toy.TREE)
IMAGES = np.random.default_rng(0).normal(size=(48, 3, 3)).astype(np.float32)


def dry_run(port: str, rank: str) -> None:
    """The real command, but that it does not end the process."""
    joined = [f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2"]
    preset = "--experiment=rank_based/gm_notes/rbl_block_edge"
    sys.argv = ["train", "--dry_run", "--batch_size=24", preset, *joined]
    sys.argv.append(f"--process_id={rank}")
    try:
        command_line.run(train.main, train.define_flags)
    except SystemExit as stop:
        assert not stop.code, stop.code


def steps(mapping: str) -> list[bytes]:
    """State and metrics after four steps on all devices, to the bit."""
    everyone, local = training.hosts.choose_devices(None)
    place = functools.partial(training.replicate, devices=local)
    optimizer = training.make_optimizer(training.Config(momentum=0.5))
    step = training.make_train_step(
        MODEL, OBJECTIVE, optimizer.update, devices=everyone, mapping=mapping
    )
    state = place(
        training.create_state(MODEL, OBJECTIVE, optimizer, IMAGES[:1], seed=0)
    )
    data = place((IMAGES, toy.DATA.labels, jax.random.key(0)))
    results = []
    for rows in np.arange(48, dtype=np.int32).reshape(4, 1, 12):
        rows = training.hosts.local_rows(rows, everyone, local)
        state, metrics = step(state, *data, rows)
        results.append(jax.device_get(metrics))
    results.append(jax.device_get(state))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(results)]


def stop_at(step: int, workdir: str, *, asked: bool) -> None:
    """One process is asked to stop; all do, at that step."""
    update = Progress.update

    def asking(self, done, status):
        if asked and done == step:
            assert stopping.ask()
        update(self, done, status)

    Progress.update = asking
    try:
        toy.train(pathlib.Path(workdir), num_devices=None, num_steps=20)
        raise AssertionError("it was not stopped")
    except stopping.Stopped as stopped:
        assert stopped.step == step
    finally:
        Progress.update = update


if __name__ == "__main__":
    port, rank, workdir = sys.argv[1:]
    dry_run(port, rank)
    stop_at(15, workdir, asked=rank == "1")
    # The second call continues what the first has finished.
    for num_steps in (20, 40):
        toy.train(pathlib.Path(workdir), num_devices=None, num_steps=num_steps)
    assert steps("pmap") == steps("shard_map")
