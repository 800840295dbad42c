"""Commands in this process, as their ``__main__`` starts them."""

import contextlib
import io
import sys
import traceback
from typing import Any

from absl import flags

from experiments.cli import command_line


def call(command: Any, *arguments: str, main=None) -> tuple[int, str]:
    """A command's exit code, and what it said on standard error.

    A traceback counts as exit code 1, with its text.

    Args:
      command: a module with ``main`` and ``define_flags``.
      arguments: as typed behind its name.
      main: to call in place of the command's own.
    """
    before, said = sys.argv, io.StringIO()
    sys.argv = ["command", *arguments]
    code = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            with contextlib.redirect_stderr(said):
                command_line.run(main or command.main, command.define_flags)
    except SystemExit as stop:
        code = stop.code or 0
    except Exception:
        code = 1
        said.write(traceback.format_exc())
    finally:
        sys.argv = before
        of_modules = flags.FLAGS.flags_by_module_dict().items()
        own = [x for name, x in of_modules if name.startswith("experiments.")]
        flags.FLAGS.remove_flag_values([flag.name for of in own for flag in of])
    return code, said.getvalue()
