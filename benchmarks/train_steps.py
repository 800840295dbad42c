"""Training steps a second, drawing the batches included, on one device.

The rank-based loss on a linear map from 128 to 3 dimensions, as in its paper, on
synthetic data of that paper's size.
"""

import itertools
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import timing
from hierjax.data.samplers import make_sampler
from hierjax.losses import rank_based_loss
from hierjax.models import Linear
from hierjax.objectives import from_loss
from hierjax.training import Config
from hierjax.training.optimizers import make_optimizer
from hierjax.training.state import create_state
from hierjax.training.step import make_train_step, replicate

NUM_ROWS = 1920
STEPS_PER_TURN = 2000


def synthetic_data() -> tuple[np.ndarray, np.ndarray]:
    """Features ``float32 [N, 128]`` and labels ``int32 [N, 2]`` of 3 x 3 classes."""
    rng = np.random.default_rng(0)
    classes = np.arange(NUM_ROWS) % 9
    features = rng.normal(size=(9, 128))[classes] + rng.normal(size=(NUM_ROWS, 128))
    labels = np.stack([classes // 3, classes], axis=1)
    return features.astype(np.float32), labels.astype(np.int32)


def make_run(batch_size: int, kind: str, steps_per_call: int) -> Callable[[], None]:
    """A function that trains for ``STEPS_PER_TURN`` steps and goes on where it was."""
    devices = (jax.local_devices()[0],)
    model, objective = Linear(3), from_loss(rank_based_loss)
    optimizer = make_optimizer(Config())
    features, labels = synthetic_data()
    sampler = make_sampler(kind, labels, np.arange(NUM_ROWS), batch_size, 0)
    state = create_state(model, objective, optimizer, features[:1], 0)
    state, features, labels, key = replicate(
        (state, features, labels, jax.random.key(0)), devices=devices
    )
    train_step = make_train_step(model, objective, optimizer.update, devices=devices)
    step = 0

    def run() -> None:
        nonlocal state, step
        for _ in range(STEPS_PER_TURN // steps_per_call):
            rows = sampler.indices(step, steps_per_call)
            rows = rows.reshape(steps_per_call, 1, batch_size)
            state, metrics = train_step(state, features, labels, key, rows)
            np.asarray(metrics["loss"])  # waits, as the training loop does
            step += steps_per_call

    return run


def main() -> None:
    """Prints the table."""
    cases = list(itertools.product((12, 48), ("uniform", "balanced"), (500, 1000)))
    runs = [make_run(*case) for case in cases]
    times = timing.interleaved(runs, seconds=60)
    timing.print_table(
        (
            "batch",
            "sampler",
            "steps a call",
            "steps a second (best / median)",
            "turns of 2,000",
        ),
        (
            (
                *case,
                f"{1e3 * STEPS_PER_TURN / min(record):,.0f} / "
                f"{1e3 * STEPS_PER_TURN / np.median(record):,.0f}",
                len(record),
            )
            for case, record in zip(cases, times, strict=True)
        ),
    )


if __name__ == "__main__":
    main()
