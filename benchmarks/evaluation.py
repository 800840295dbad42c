"""Time and memory of the measures over 50,000 embeddings of 100 classes.

Every measure runs in a process of its own, so that its peak memory is its own. The
seconds of all cores hold on a busy machine too.
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
    """Mean silhouette of the classes, measured at three levels."""
    levels = np.stack([classes // 20, classes // 5, classes], axis=1)
    values = metrics.silhouette_samples(rows, levels, distance=distance)
    return float(values[:, -1].mean())


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
    """Prints one row of the table."""
    rng = np.random.default_rng(0)
    classes = np.arange(NUM_ROWS) % NUM_CLASSES
    rows = rng.normal(size=(NUM_CLASSES, DIM))[classes]
    rows = (rows + 2 * rng.normal(size=rows.shape)).astype(np.float32)
    before, start, start_cpu = (
        peak_mebibytes(),
        time.perf_counter(),
        time.process_time(),
    )
    value = MEASURES[name](rows, classes)
    seconds, of_cores = time.perf_counter() - start, time.process_time() - start_cpu
    print(
        f"| {name} | {value:.4f} | {seconds:.1f} | {of_cores:.1f} | "
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
            "s",
            "s of all cores",
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
