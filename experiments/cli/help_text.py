"""``--help``: the flags of one command in groups, a line or two each."""

import inspect
import shutil
import sys
import textwrap
from types import ModuleType

from absl import flags

from hierjax.objectives import Method

_GROUPS = {
    "What to train": ("experiment", "list", "set"),
    "Data": (
        "dataset",
        "data_path",
        "data_dir",
        "hierarchy",
        "label_fields",
        "image_size",
        "parents",
        "edge_order",
        "missing_as_names",
        "skip_unreadable",
        "pixel_max",
        "encoder",
        "encoder_weights",
        "encoder_side",
        "cache_dir",
    ),
    "How": ("num_steps", "batch_size", "learning_rate", "seed"),
    "Where": ("workdir", "num_devices", "dry_run", "report"),
    "Several hosts": ("coordinator_address", "num_processes", "process_id"),
}
ASKING = ("--help", "-help", "-h", "-?", "--helpshort")
"""Arguments that ask for the short help; absl's ``--helpfull`` lists everything."""


def own_flags() -> dict[str, flags.Flag]:
    """Flags that the running command and its modules define, by name."""
    modules = flags.FLAGS.flags_by_module_dict()
    return {
        flag.name: flag
        for module, defined in modules.items()
        # A module that is run goes by the name of its file.
        if module.startswith("experiments.") or module == sys.argv[0]
        for flag in defined
    }


def flags_of(command: ModuleType) -> dict[str, flags.Flag]:
    """Flags that a command would define, by name; none of them stays defined."""
    present = set(own_flags())
    command.define_flags()
    added = {name: flag for name, flag in own_flags().items() if name not in present}
    # Commands share names; the next one defines its own.
    for name in added:
        delattr(flags.FLAGS, name)
    return added


def in_groups(by_name: dict[str, flags.Flag]) -> dict[str, list[flags.Flag]]:
    """Flags under the titles of the help, those that only this command has first."""
    left = dict(by_name)
    groups = {
        title: [left.pop(name) for name in names if name in left]
        for title, names in _GROUPS.items()
    }
    groups = {"This command": list(left.values()), **groups}
    return {title: members for title, members in groups.items() if members}


def render(command: ModuleType, *, width: int | None = None) -> str:
    """The help of a command.

    Args:
      command: its module; the first line of the docstring ends with its usage.
      width: of a line; None: that of the terminal, at most 100.
    """
    width = width or min(shutil.get_terminal_size().columns, 100)
    blocks = [inspect.getdoc(command)]
    for title, members in in_groups(own_flags()).items():
        entries = [_entry(flag, width) for flag in members]
        blocks.append("\n".join([f"{title}:", *entries]))
    if "set" in own_flags():
        entries = [
            _in_columns(f"  {name}", kind.summary().split(" (")[0], width)
            for name, kind in Method.kinds.items()
        ]
        blocks.append("\n".join(["Methods, --set method=NAME:", *entries]))
    blocks.append(
        "--flagfile=F reads flags from a file; --helpfull lists the flags of all "
        "libraries too."
    )
    return "\n\n".join(blocks)


def _entry(flag: flags.Flag, width: int) -> str:
    kind = flag.flag_type()
    # absl ends the help of repeatable flags with a line of its own.
    text = flag.help.split(";\n")[0]
    name = f"--{flag.name}"
    if isinstance(flag, flags.EnumFlag | flags.MultiFlag) or kind not in _VALUES:
        name += "=TEXT"
    else:
        name += _VALUES[kind]
    if isinstance(flag, flags.EnumFlag):
        said = flag.help.split(":", 1)[1].strip()
        text = f"{said} One of {', '.join(flag.parser.enum_values)}."
    if flag.default not in (None, False, "", []):
        text += f" Default {str(flag.default_as_str).strip(chr(39))}."
    return _in_columns(f"  {name}", text, width)


def _in_columns(first: str, text: str, width: int) -> str:
    body = textwrap.wrap(
        text, width - _COLUMN, break_long_words=False, break_on_hyphens=False
    )
    if len(first) + 2 <= _COLUMN:
        first = first.ljust(_COLUMN) + body.pop(0)
    return "\n".join([first, *(" " * _COLUMN + line for line in body)])


_COLUMN = 28
"""Where the texts begin."""
_VALUES = {"bool": "", "int": "=N", "float": "=X"}
