"""50,000 x 128 in bounded memory: an N x N matrix of float32 would take 9.3 GiB."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from hierjax import metrics

rng = np.random.default_rng(0)
labels = rng.integers(0, 100, 50_000)
rows = (rng.normal(size=(100, 128))[labels] + rng.normal(size=(50_000, 128)))
rows = rows.astype(np.float32)
metrics.silhouette_score(rows[:256], labels[:256])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert 0 < metrics.silhouette_score(rows, labels) < 1
assert 0 < metrics.silhouette_score(rows, labels, distance="euclidean") < 1
nearest, _ = metrics.nearest_neighbors(rows[:5000], rows, 40)
assert (nearest[:, 0] == np.arange(5000)).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_stays_bounded():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1024
