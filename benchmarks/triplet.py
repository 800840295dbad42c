"""The triplet loss over all triplets against pytorch-metric-learning.

Flat labels, value and gradient. Both sides must agree before they are timed, on corners
of a cube: their distances take few values, and no triplet lies on the margin. Among the
random vectors that are timed some do, to within rounding, and count on one side only.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from benchmarks import timing
from hierjax.distances import unit_normalize
from hierjax.losses import hierarchical_triplet_loss

BATCH_SIZES = (128, 256, 512, 1024)
NUM_CLASSES = 100
MARGIN = 0.05
TOLERANCE = 1e-4


@jax.value_and_grad
def our_loss(embeddings: jax.Array, labels: jax.Array) -> jax.Array:
    """Our loss as the other side defines it, which normalises its input."""
    unit = unit_normalize(embeddings)
    return hierarchical_triplet_loss(unit, labels, margins=[MARGIN])


def their_loss(
    embeddings: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient of `TripletMarginLoss` with its defaults."""
    embeddings = embeddings.detach().requires_grad_()
    loss = TripletMarginLoss(margin=MARGIN)(embeddings, labels)
    loss.backward()
    return loss.detach(), embeddings.grad


def differences(
    program: Callable, rows: np.ndarray, classes: np.ndarray
) -> list[float]:
    """Relative differences of value and gradient."""
    ours = program(rows, classes[:, None])
    theirs = their_loss(torch.from_numpy(rows), torch.from_numpy(classes))
    return [timing.relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]


def compare(batch_size: int) -> tuple:
    """One row of the table."""
    rows = timing.unit_batch(batch_size)
    classes = np.arange(batch_size, dtype=np.int32) % NUM_CLASSES
    program, seconds = timing.compiled(our_loss, rows, classes[:, None])
    corners = np.sign(rows) / np.float32(np.sqrt(rows.shape[1]))
    exact, rounded = (differences(program, x, classes) for x in (corners, rows))
    if max(exact) > TOLERANCE:
        raise SystemExit(f"B = {batch_size}: value and gradient differ by {exact}")
    ours = jnp.asarray(rows), jnp.asarray(classes[:, None])
    theirs = torch.from_numpy(rows), torch.from_numpy(classes)
    our_times, their_times = timing.interleaved(
        [lambda: program(*ours), lambda: their_loss(*theirs)]
    )
    return (
        batch_size,
        "{:.0e} / {:.0e}".format(*exact),
        "{:.0e} / {:.0e}".format(*rounded),
        timing.best_and_median(their_times),
        timing.best_and_median(our_times),
        f"{min(their_times) / min(our_times):.1f} / "
        f"{np.median(their_times) / np.median(our_times):.1f}",
        f"{seconds:.2f}",
        len(our_times),
    )


def main() -> None:
    """Prints the table."""
    header = (
        "B",
        "difference of value / gradient, corners",
        "the same, random vectors",
        "theirs, ms (best / median)",
        "ours, ms (best / median)",
        "ratio (best / median)",
        "our compilation, s",
        "turns",
    )
    timing.print_table(header, map(compare, BATCH_SIZES))


if __name__ == "__main__":
    main()
