"""Training steps of a small ConvNet under every way to train proxies.

ProxyDR on gm_notes, 32 spectrograms a step and 128 classes. A second table shows what
a loop around the steps costs where there are convolutions.
"""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks import timing
from hierjax import models, objectives
from hierjax.data import gm_notes, make_sampler
from hierjax.options import changed
from hierjax.training import AXIS, Config, create_state, make_train_step, replicate
from hierjax.training.optimizers import make_optimizer

BATCH = 32
STEPS_PER_TURN = 10
OPTIONS = {
    "learned": {},
    "ema": {"representatives": "ema"},
    "dynamic": {"scale": "dynamic"},
    "ema and dynamic": {"representatives": "ema", "scale": "dynamic"},
    "mds": {"representatives": "mds"},
}


def make_run(options: dict, steps_per_call: int) -> Callable[[], None]:
    """A function that trains for ``STEPS_PER_TURN`` steps and goes on where it was."""
    devices = (jax.local_devices()[0],)
    data = gm_notes.load()
    model = models.ConvNet(128, axis_name=AXIS)
    objective = changed(objectives.Classification(), options).build(data.hierarchy)
    optimizer = make_optimizer(Config(optimizer="adam", learning_rate=1e-3))
    sampler = make_sampler("uniform", data.labels, data.rows("train"), BATCH, 0)
    state = create_state(model, objective, optimizer, data.features[:1], 0)
    state, features, labels, key = replicate(
        (state, data.features, data.labels, jax.random.key(0)), devices=devices
    )
    train_step = make_train_step(model, objective, optimizer.update, devices=devices)
    step = 0

    def run() -> None:
        nonlocal state, step
        for _ in range(STEPS_PER_TURN // steps_per_call):
            rows = sampler.indices(step, steps_per_call)
            rows = rows.reshape(steps_per_call, 1, BATCH)
            state, metrics = train_step(state, features, labels, key, rows)
            np.asarray(metrics["loss"])  # waits, as the training loop does
            step += steps_per_call

    return run


def main() -> None:
    """Prints both tables."""
    runs = [make_run(options, 1) for options in OPTIONS.values()]
    times = timing.interleaved(runs, seconds=60)
    # Turn by turn against the same turn of learned proxies, so that noise cancels.
    ratios = [np.median(np.divide(record, times[0])) for record in times]
    timing.print_table(
        ("proxies", "ms a step (best / median)", "ratio to learned (median)", "turns"),
        (
            (
                name,
                timing.best_and_median([t / STEPS_PER_TURN for t in record]),
                f"{ratio:.3f}",
                len(record),
            )
            for name, record, ratio in zip(OPTIONS, times, ratios, strict=True)
        ),
    )
    print()
    runs = [make_run({}, steps) for steps in (1, STEPS_PER_TURN)]
    times = timing.interleaved(runs, seconds=20)
    timing.print_table(
        ("steps a call", "ms a step (best / median)"),
        (
            (steps, timing.best_and_median([t / STEPS_PER_TURN for t in record]))
            for steps, record in zip((1, STEPS_PER_TURN), times, strict=True)
        ),
    )


if __name__ == "__main__":
    main()
