"""Time and memory of the measures over 50,000 embeddings of 100 classes.

Every measure runs in a process of its own, so that its peak memory is its own.
"""

import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks import timing
from hierjax import metrics

NUM_ROWS, NUM_CLASSES, DIM, NEIGHBORS = 50_000, 100, 128, 40


def silhouette(distance: str, rows: np.ndarray, classes: np.ndarray) -> float:
    """Mean silhouette."""
    return metrics.silhouette_score(rows, classes, distance=distance)


def knn(rows: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy of 40 neighbours that vote, each row among all others."""
    nearest, _ = metrics.nearest_neighbors(rows, rows, NEIGHBORS, exclude_self=True)
    (predicted,) = metrics.knn_predictions(classes[nearest], [NEIGHBORS])
    return float((predicted == classes).mean())


MEASURES = {
    "silhouette, cosine": lambda *data: silhouette("cosine", *data),
    "silhouette, euclidean": lambda *data: silhouette("euclidean", *data),
    "40-NN, cosine": knn,
}


def peak_mebibytes() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_measure(name: str) -> None:
    """Prints one row of the table: a run that compiles, then a second one."""
    rng = np.random.default_rng(0)
    classes = np.arange(NUM_ROWS) % NUM_CLASSES
    rows = rng.normal(size=(NUM_CLASSES, DIM))[classes]
    rows = (rows + 2 * rng.normal(size=rows.shape)).astype(np.float32)
    before, seconds = peak_mebibytes(), []
    for _ in range(2):
        start = time.perf_counter()
        value = MEASURES[name](rows, classes)
        seconds.append(time.perf_counter() - start)
    print(
        f"| {name} | {value:.4f} | {seconds[0]:.2f} | {seconds[1]:.2f} | "
        f"{before:.0f} | {peak_mebibytes():.0f} |",
        flush=True,
    )


def main() -> None:
    """Prints the table, or the row of the measure that is named as an argument."""
    if len(sys.argv) > 1:
        return time_measure(sys.argv[1])
    timing.print_table(
        (
            "measure",
            "value",
            "first run, s",
            "second run, s",
            "resident before, MiB",
            "peak, MiB",
        ),
        (),
    )
    for name in MEASURES:
        command = [sys.executable, "-m", "benchmarks.evaluation", name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
