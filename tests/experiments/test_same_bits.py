"""The same command twice."""

import json

import jax
import numpy as np
import pytest

from experiments import train

ARGUMENTS = [
    "--experiment=class_hierarchies/digits/proxydr",
    "--set=augment=random_shift_noise",
    "--num_steps=6",
    "--batch_size=16",
    "--set=eval_every=3",
    "--num_devices=2",
    "--report=none",
]


def arrays_of(workdir):
    """What the last checkpoint says of the run, and the values of all queries."""
    newest = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    held = json.loads((newest / "progress" / "metadata").read_text())
    with np.load(workdir / "per_query.npz") as queries:
        return held, {name: queries[name].tobytes() for name in queries.files}


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_bits(tmp_path, run):
    found = []
    for name in ("first", "second"):
        workdir = tmp_path / name
        assert run(train, f"--workdir={workdir}", *ARGUMENTS) == 0
        # Nothing compiled is left over from the first.
        jax.clear_caches()
        results = json.loads((workdir / "results.json").read_text())
        model = (workdir / "model" / "arrays.msgpack").read_bytes()
        metrics = (workdir / "metrics.jsonl").read_bytes()
        found.append((results, model, metrics, *arrays_of(workdir)))
    assert found[0] == found[1]
    assert len(found[0][1]) > 1000 and len(found[0][2].splitlines()) == 2
