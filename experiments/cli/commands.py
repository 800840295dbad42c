"""All commands by name, and how a file of one's own runs them with its own method."""

import importlib
import inspect
import pkgutil
import sys
import types

import experiments
from experiments import papers
from experiments.cli import command_line
from experiments.papers import tables
from experiments.settings.experiment import Experiment
from experiments.settings.presets import Preset


def names() -> list[str]:
    """Modules of `experiments` that are commands: they define flags and have a main."""
    found = [module.name for module in pkgutil.iter_modules(experiments.__path__)]
    return [name for name in found if hasattr(module_of(name), "define_flags")]


def module_of(name: str) -> types.ModuleType:
    """The module of a command."""
    return importlib.import_module(f"experiments.{name}")


def run(preset: str, experiment: Experiment) -> None:
    """Run the command that the first argument names, 'train' where it names none.

    For the end of a file that declares a method, see ``docs/own_loss.md``. The method
    gets presets on every data set and a row in the tables of its family, as those of
    the package have them.

    Args:
      preset: name of the experiment; what 'train' starts from by default.
      experiment: of the file's own.
    """
    papers.refresh()
    tables.refresh()
    papers.PRESETS[preset] = Preset(experiment, experiment.method.summary())
    name = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in names() else "train"
    is_train = name == "train"
    if is_train and not any("experiment" in argument for argument in sys.argv[1:]):
        sys.argv.insert(1, f"--experiment={preset}")
    command = module_of(name)
    takes_arguments = bool(inspect.signature(command.main).parameters)
    command_line.run(command.main, command.define_flags, arguments=takes_arguments)
