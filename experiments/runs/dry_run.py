"""What a run would take: everything built, a few steps run, nothing written."""

from experiments.runs.workdir import describe_data
from experiments.settings.experiment import Experiment
from experiments.settings.loading import load_data
from experiments.settings.methods import rehearse, whole_tuples
from hierjax import training


def dry_run(experiment: Experiment, *, num_devices: int | None = None) -> None:
    """Print shapes, parameters, memory and the time of a step.

    Several hosts rehearse together, and the first prints what it holds itself.

    Args:
      experiment: what to rehearse.
      num_devices: local devices to use; None: all.
    """
    dataset = load_data(experiment)
    experiment = whole_tuples(experiment, dataset)
    method = experiment.method
    if not method.trains:
        lines = [f"method {method.name!r} trains nothing: the run only measures"]
    else:
        found = rehearse(experiment, dataset, num_devices=num_devices)
        lines = [
            f"{name:<12} {value}"
            for name, value in describe(found, experiment.num_steps).items()
        ]
    if training.hosts.is_main():
        print(describe_data(dataset), *lines, sep="\n")


def describe(found: training.Rehearsal, num_steps: int) -> dict[str, str]:
    """A rehearsal as lines of text."""
    held = found.data_bytes + found.state_bytes
    needed = "" if found.step_bytes is None else f" + step {_size(found.step_bytes)}"
    whole = _duration(num_steps * found.step_seconds)
    return {
        **found.shapes,
        "parameters": f"{found.num_params:,} of the model, "
        f"{found.num_objective_params:,} of the objective",
        "memory": f"{_size(held + (found.step_bytes or 0))} a device: data "
        f"{_size(found.data_bytes)} + state {_size(found.state_bytes)}{needed}",
        "devices": f"{found.num_devices}",
        "first loss": f"{found.loss:.4g}",
        "time": f"compilation {found.compile_seconds:.1f} s; one step "
        f"{1e3 * found.step_seconds:.3g} ms, so about {whole} for {num_steps:,} steps "
        "without evaluation",
    }


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
