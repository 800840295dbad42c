"""Train one experiment: ``python -m experiments.train --experiment=NAME``."""

import pathlib

from absl import flags

from experiments import report
from experiments.cli import command_line
from experiments.papers import PRESETS
from experiments.runs import dry_run, measuring
from experiments.runs.workdir import held
from hierjax import training


def define_flags() -> None:
    """Flags of this command, shown by ``--help``."""
    command_line.define_experiment_flags()
    command_line.define_host_flags()
    command_line.define_report_flag()
    flags.adopt_module_key_flags(command_line)


def main() -> None:
    """Train, or continue, the experiment that the flags choose."""
    values = flags.FLAGS
    if values.list:
        width = max(map(len, PRESETS))
        for name, preset in PRESETS.items():
            print(f"{name:<{width}}  {preset.summary}")
        return
    if values.coordinator_address or values.num_processes or values.process_id:
        training.hosts.initialize(
            values.coordinator_address, values.num_processes, values.process_id
        )
    name, experiment = command_line.experiment_from_flags()
    if values.dry_run:
        dry_run.dry_run(experiment, num_devices=values.num_devices)
        return
    workdir = pathlib.Path(values.workdir or f"runs/{name}")
    with held(workdir, "training"):
        findings = measuring.train(
            experiment,
            workdir,
            command_line.explicit_flags(),
            num_devices=values.num_devices,
        )
        if training.hosts.is_main():
            report.present(workdir, findings, values.report)


if __name__ == "__main__":
    command_line.run(main, define_flags)
