"""Completion for bash and zsh: ``python -m experiments.completion > FILE``.

Then put ``source FILE`` into ``~/.bashrc``, or into ``~/.zshrc`` after
``autoload -U +X bashcompinit && bashcompinit``. Behind ``python -m`` it completes the
commands, their flags, presets, data sets and the fields of ``--set``; everything else
is completed as before. Make the file again after an update.
"""

from experiments.cli import command_line, commands, help_text
from experiments.papers import PRESETS
from experiments.settings.experiment import Experiment
from experiments.settings.loading import OWN_FILES
from hierjax import data, options
from hierjax.objectives import Method

_SCRIPT = """\
_hierjax() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD-1]}}
  local command= head= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${{COMP_WORDS[i]}} == -m ]] && command=${{COMP_WORDS[i+1]}}
  done
  COMPREPLY=()
  if [[ $option == -m ]]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$cur"))
    return
  fi
  [[ $command == experiments.* ]] || return
  if [[ $cur == --*=* ]]; then
    option=${{cur%%=*}} head=${{cur%%=*}}= cur=${{cur#*=}}
  elif [[ $cur == = ]]; then
    cur=
  elif [[ $option == = ]]; then
    option=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  case $option in
    --experiment) COMPREPLY=($(compgen -P "$head" -W "{presets}" -- "$cur")) ;;
    --dataset) COMPREPLY=($(compgen -P "$head" -W "{datasets}" -- "$cur")) ;;
    --set) COMPREPLY=($(compgen -P "$head" -W "{fields}" -- "$cur")) ;;
    *) [[ $cur == -* ]] && case $command in
{cases}
      esac ;;
  esac
  [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2> /dev/null
  return 0
}}
complete -o bashdefault -o default -F _hierjax python python3
"""
_CASE = """\
        experiments.{command}) COMPREPLY=($(compgen -W "{flags}" -- "$cur")) ;;"""


def define_flags() -> None:
    """This command has no flags of its own."""


def main() -> None:
    """Print the script."""
    print(script(), end="")


def script() -> str:
    """The completion of all commands, for bash."""
    flags_of = {command: _flags_of(command) for command in commands.names()}
    return _SCRIPT.format(
        commands=" ".join(f"experiments.{command}" for command in flags_of),
        presets=" ".join(PRESETS),
        datasets=" ".join(sorted({*data.LOADERS, *OWN_FILES})),
        fields=" ".join(f"{key}=" for key in _keys()),
        cases="\n".join(
            _CASE.format(command=command, flags=" ".join(names))
            for command, names in flags_of.items()
        ),
    )


def _keys() -> list[str]:
    """What ``--set`` takes: fields of an experiment, and options of all methods."""
    kinds = Method.kinds.values()
    found = [Experiment(), *(kind() for kind in kinds)]
    return list(dict.fromkeys(key for each in found for key, _ in options.flat(each)))


def _flags_of(command: str) -> list[str]:
    """The flags of a command as they are typed, with ``=`` where a value follows."""
    module = commands.module_of(command)
    return [
        f"--{name}" if flag.flag_type() == "bool" else f"--{name}="
        for name, flag in help_text.flags_of(module).items()
    ]


if __name__ == "__main__":
    command_line.run(main, define_flags)
