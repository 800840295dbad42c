"""Evaluate a trained run: ``python -m experiments.evaluate --workdir=W``."""

import pathlib

from absl import flags

from experiments import report
from experiments.cli import command_line
from experiments.runs import measuring
from experiments.runs.workdir import held, read_experiment
from hierjax import training
from hierjax.errors import UserError


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
    flags.DEFINE_bool(
        "augmented_probe",
        False,
        "Train linear probes on augmented inputs; contrastive runs only.",
    )
    command_line.define_report_flag()


def main() -> None:
    """Write ``results.json`` and the report of a run."""
    values = flags.FLAGS
    if not values.workdir:
        raise UserError("--workdir is missing: the folder of a run")
    workdir = pathlib.Path(values.workdir)
    # Without a run in it the folder is not to be made.
    read_experiment(workdir)
    with held(workdir, "evaluating"):
        findings = measuring.evaluate(workdir, augmented_probe=values.augmented_probe)
        if training.hosts.is_main():
            report.present(workdir, findings, values.report)


if __name__ == "__main__":
    command_line.run(main, define_flags)
