"""Asking a training to stop: it saves at its next call boundary and goes on later.

A request is for the whole process, as signals are. Who receives those calls `ask`; a
loop that would lose something calls `asked` at its boundaries while it is `listening`.
Nothing here changes what a signal does: in a notebook Ctrl-C is a KeyboardInterrupt.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import NoReturn

_LOCK = threading.Lock()
_STATE = {"listeners": 0, "asked": False}


class Stopped(Exception):
    """A training ended early because that was asked for; its state is saved.

    Args:
      step: how many steps are done.
      num_steps: how many the run has.
    """

    def __init__(self, step: int, num_steps: int):
        super().__init__(f"stopped at step {step:,} of {num_steps:,}")
        self.step, self.num_steps = step, num_steps


def ask() -> bool:
    """Ask what is running in this process to stop, from any thread.

    Returns:
      Whether something listens, and so will stop by itself; otherwise there is nothing
      that waiting would save.
    """
    with _LOCK:
        listens = _STATE["listeners"] > 0
        _STATE["asked"] |= listens
        return listens


def asked() -> bool:
    """Whether what is running is to stop."""
    return _STATE["asked"]


def stop(step: int, num_steps: int) -> NoReturn:
    """Grant what was asked for, here or on another host: raises `Stopped`.

    Args:
      step: how many steps are done, and saved.
      num_steps: how many the run has.
    """
    with _LOCK:
        _STATE["asked"] = False
    raise Stopped(step, num_steps)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """While this lasts a request to stop is left to the code within.

    That looks at `asked` now and then, and after this has ended once more. What was
    asked of earlier code is forgotten.
    """
    with _LOCK:
        if not _STATE["listeners"]:
            _STATE["asked"] = False
        _STATE["listeners"] += 1
    try:
        yield
    finally:
        with _LOCK:
            _STATE["listeners"] -= 1
