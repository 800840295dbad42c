"""Find what was not finite first: ``python -m experiments.replay --workdir=W``.

For a run that ended with "the loss is nan at step ...". It is run again from its last
checkpoint to that step, and the first tensor that is not finite is named: an input,
the output of a module, a term of the loss, a gradient or a parameter.
"""

import pathlib

from absl import flags

from experiments.cli import command_line
from experiments.runs.workdir import check_same_data, describe_data, read_experiment
from experiments.settings.loading import load_data
from experiments.settings.methods import replay
from hierjax.errors import UserError

_ROWS_SHOWN = 20


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("workdir", None, "Folder of the run that diverged.")


def main() -> None:
    """Print the step, its rows and its first tensor that is not finite."""
    if not flags.FLAGS.workdir:
        raise UserError("--workdir is missing: the folder of a run")
    workdir = pathlib.Path(flags.FLAGS.workdir)
    experiment = read_experiment(workdir)
    if not experiment.method.trains:
        raise UserError(f"{workdir} holds a run of {experiment.method.name}: no steps")
    dataset = load_data(experiment)
    check_same_data(workdir, dataset)
    print(describe_data(dataset))
    found = replay(experiment, dataset, workdir)
    held = found.divergence
    print(f"the run: the {held.name} was {held.value} at step {held.step}")
    since = f"the checkpoint of step {found.start}" if found.start else "the beginning"
    compared = "equal to" if found.is_equal else "not in every bit equal to"
    print(
        f"again from {since}: the numbers of steps {held.start + 1} to "
        f"{held.start + len(held.metrics['loss'])} are {compared} those of the run"
    )
    rows = ", ".join(map(str, found.rows[:_ROWS_SHOWN]))
    more = ", ..." * (len(found.rows) > _ROWS_SHOWN)
    print(f"batch of step {found.step}: rows {rows}{more}")
    print(f"first not finite, in step {found.step}: {found.first}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
