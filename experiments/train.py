"""Train one experiment: ``python -m experiments.train --experiment=NAME``."""

import pathlib

from absl import flags

from experiments import command_line, runs
from experiments.presets import PRESETS

command_line.define_experiment_flags()


def main() -> None:
    """Train, or continue, the experiment that the flags choose."""
    values = flags.FLAGS
    if values.list:
        width = max(map(len, PRESETS))
        for name, preset in PRESETS.items():
            print(f"{name:<{width}}  {preset.summary}")
        return
    name, experiment = command_line.experiment_from_flags()
    workdir = pathlib.Path(values.workdir or f"runs/{name}")
    runs.claim_workdir(workdir, experiment, command_line.explicit_flags())
    runs.train(experiment, workdir, num_devices=values.num_devices)


if __name__ == "__main__":
    command_line.run(main)
