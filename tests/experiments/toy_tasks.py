"""Tasks for processes of `experiments.tables.workers`, which import little."""

import os
import pathlib
import signal
import sys
import time

from experiments.tables.scheduling import BusyError


def do(work, report):
    """Does what a task says: a word, and what it needs."""
    kind, *rest = work
    if kind == "note":
        report(f"{rest[0]} {os.getpid()} {os.environ.get('NPROC')}")
    elif kind == "raise":
        raise ValueError("two\nlines")
    elif kind == "signal":
        print("what was said last")
        sys.stdout.flush()
        os.kill(os.getpid(), rest[0])
        time.sleep(60)
    elif kind == "exit":
        os.write(2, b"Fatal: no such device\n\n")
        os._exit(3)
    elif kind == "busy":
        path = pathlib.Path(rest[0])
        if not path.exists():
            path.touch()
            raise BusyError
        report("free")
    elif kind == "sleep":
        report(f"pid {os.getpid()}")
        signal.pause()
