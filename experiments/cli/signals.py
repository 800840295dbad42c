"""Signals that end a command: where its work can be saved, or at once.

The first SIGINT, SIGTERM or SIGHUP is passed on to a training, which saves at its next
call boundary. Where nothing would be lost by it, as files are whole at any moment, the
command ends at once, also amid a compilation; a second signal ends it anyway.

This is done by a thread that Python's C-level handler wakes through a pipe: handlers of
Python's own would wait for C++ to return, and exceptions that they raise get lost in
callbacks. It imports nothing, so that it is there before anything slow is.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

STOPPED = 75
"""Exit code of a command that ended in good order for a signal: EX_TEMPFAIL."""
AGAIN = "the same command goes on from there"
_ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
_SAME_SECONDS = 0.25
"""`timeout` and others send a signal twice, to a process and to its group."""
_LAST_SECONDS = 5.0


class Watch:
    """Listens for the signals of this process, once it is started.

    Attributes:
      ask: asks what is running to end by itself; whether it will.
      before_leaving: called before the process ends at once.
      owns_process: whether the process is one command and nothing else.
    """

    def __init__(self):
        self.ask: Callable[[], bool] = lambda: False
        self.before_leaving: Callable[[], None] = lambda: None
        self.owns_process = False
        self._first: float | None = None
        self._former: dict[int, object] = {}

    @property
    def is_on(self) -> bool:
        """Whether it has been started."""
        return bool(self._former)

    def start(self) -> None:
        """Begin; only the main thread can. What the caller ignores stays ignored."""
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        for number in _ENDING:
            # As under `nohup`.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, _leave_it_to_the_thread)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._first = None
        threading.Thread(
            target=self._run, args=(reader,), name="signals", daemon=True
        ).start()

    def end(self) -> None:
        """Have signals do what they did before."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
        os.close(self._writer)

    def end_soon(self, code: int) -> None:
        """Have the process of a command end even if threads of a library hang.

        Those of Orbax wait for ever for what a broken disk did not take.
        """
        if self.owns_process:
            last = threading.Timer(_LAST_SECONDS, os._exit, (code,))
            last.daemon = True
            last.start()

    def _run(self, reader: int) -> None:
        while heard := os.read(reader, 1):
            if heard[0] in _ENDING:
                self._heard(signal.Signals(heard[0]))
        os.close(reader)

    def _heard(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            if self.ask():
                _say(
                    f"{number.name}: saving after this call; a second signal leaves at "
                    "once"
                )
                return
            self._leave(f"stopped by {number.name}; {AGAIN}", STOPPED)
        elif now - self._first > _SAME_SECONDS:
            self._leave(f"left at once by a second {number.name}", 128 + number)

    def _leave(self, sentence: str, code: int) -> None:
        self.before_leaving()
        # A pipe that nobody reads does not keep the process.
        words = threading.Thread(target=_say, args=(sentence,), daemon=True)
        words.start()
        words.join(1.0)
        os._exit(code)


WATCH = Watch()
# A forked child does not write into its parent's pipe.
os.register_at_fork(after_in_child=lambda: WATCH.is_on and WATCH.end())


@contextlib.contextmanager
def watched(
    ask: Callable[[], bool], before_leaving: Callable[[], None]
) -> Iterator[None]:
    """Pass signals on to what runs within.

    Args:
      ask: see `Watch`.
      before_leaving: see `Watch`.
    """
    begun = not WATCH.is_on and threading.current_thread() is threading.main_thread()
    if begun:
        WATCH.start()
    former = WATCH.ask, WATCH.before_leaving
    WATCH.ask, WATCH.before_leaving = ask, before_leaving
    try:
        yield
    finally:
        WATCH.ask, WATCH.before_leaving = former
        if begun:
            WATCH.end()


def _leave_it_to_the_thread(number: int, frame: object) -> None:
    """Python needs some handler to wake the thread."""


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    # Below a bar of progress.
    start = "\n" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{start}{sentence}\n".encode())
