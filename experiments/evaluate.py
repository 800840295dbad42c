"""Evaluate a trained run: ``python -m experiments.evaluate --workdir=W``."""

import pathlib

from absl import flags

from experiments.cli import command_line
from experiments.runs import measuring
from hierjax.errors import UserError


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
    flags.DEFINE_bool(
        "augmented_probe",
        False,
        "Train linear probes on augmented inputs; contrastive runs only.",
    )


def main() -> None:
    """Write ``results.json`` and the report of a run."""
    if not flags.FLAGS.workdir:
        raise UserError("--workdir is missing: the folder of a run")
    measuring.evaluate(
        pathlib.Path(flags.FLAGS.workdir),
        augmented_probe=flags.FLAGS.augmented_probe,
    )


if __name__ == "__main__":
    command_line.run(main, define_flags)
