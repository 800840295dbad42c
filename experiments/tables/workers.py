"""Processes that do the tasks of a table: one that dies takes one task with it.

They are started anew, not forked: XLA does not survive a fork. Each has its share of
the cores, ignores the Ctrl-C that its terminal sends to all, and ends with its parent.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection, reduction

from experiments.tables.scheduling import BusyError, Queue, Step

Report = Callable[[str], None]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    # Threads of XLA on the CPU.
    "NPROC",
    "PJRT_NPROC",
)
_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_LOOK_AGAIN = 2.0
_SECONDS_TO_END = 5.0
_LINES_KEPT = 40
_CHARACTERS_KEPT = 300


def work_off(
    queue: Queue,
    do: Callable[[object, Report], None],
    *,
    num_workers: int,
    report: Report,
    failed: Callable[[Step, str, str], None],
    waits: Callable[[], None],
) -> None:
    """Do all tasks of a queue in processes of their own.

    Args:
      queue: the tasks.
      do: does the ``work`` of one and calls the function it is given with a line for
        everything that is finished; raises `BusyError` if another run is at it. It
        must be possible to pickle it.
      num_workers: processes, from 1; no more than there are tasks are started.
      report: gets those lines.
      failed: gets a task that failed, why in one line, and all that was said of it.
      waits: called once if all that is left is done by other runs.
    """
    workers = [_Worker(do, num_workers) for _ in range(min(num_workers, queue.total))]
    try:
        told, looked = False, 0.0
        while queue.over < queue.total:
            look = time.monotonic() > looked + _SECONDS_TO_LOOK_AGAIN
            for worker in workers:
                if worker.step is None:
                    worker.start(queue.take(worker.last, elsewhere=look))
            busy = [worker for worker in workers if worker.step is not None]
            ready = connection.wait(
                [worker.pipe for worker in busy], timeout=_SECONDS_TO_LOOK_AGAIN
            )
            for worker in (worker for worker in busy if worker.pipe in ready):
                kind, *said = worker.answer()
                if kind == "line":
                    report(*said)
                    continue
                step, worker.step = worker.step, None
                if kind == "failed":
                    queue.failed(step)
                    failed(step, *said)
                elif kind == "busy":
                    looked = time.monotonic()
                    queue.met_elsewhere(step)
                else:
                    queue.done(step)
            if not told and queue.over < queue.total and queue.only_elsewhere:
                told = True
                waits()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, started when there is something for it, again where it died."""

    def __init__(self, do: Callable, num_workers: int):
        self.step: Step | None = None
        self.last = None
        self._do, self._num_workers = do, num_workers
        self._process = None

    def start(self, step: Step | None) -> None:
        """Give it a task; None: it stays idle."""
        if step is None:
            return
        self.step, self.last = step, step.cell
        if self._process is None:
            self._launch()
        # A process that has just died is met when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(step.work)

    def answer(self) -> tuple[str, ...]:
        """What it says: a kind, and texts; of a death that it failed."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            pass
        self._process.join()
        if -self._process.exitcode in _TOLD_TO_END:
            # Who tells all processes to end tells this one too, perhaps a little later.
            time.sleep(0.5)
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        why = _how_it_ended(self._process.exitcode)
        if lines:
            why += f"; its last line: {lines[-1].strip()}"
        self._clear()
        return "failed", why, "\n".join(lines[-_LINES_KEPT:])

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is None:
            return
        self.pipe.close()
        self._process.terminate()
        self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()
        self._clear()

    def _launch(self) -> None:
        # Without a name, it goes with the last process that has it open.
        self._log = tempfile.TemporaryFile()
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(other, reduction.DupFd(self._log.fileno()), self._do),
            daemon=True,
        )
        with _environment(self._num_workers), _deaf_to_interrupts():
            self._process.start()
        other.close()

    def _clear(self) -> None:
        self._log.close()
        self._process = None


def _how_it_ended(exitcode: int) -> str:
    if exitcode >= 0:
        return f"its process ended with code {exitcode}"
    name = signal.Signals(-exitcode).name
    memory = ", as it does where memory runs out" if -exitcode == signal.SIGKILL else ""
    return f"its process was ended by {name}{memory}"


@contextlib.contextmanager
def _environment(num_workers: int) -> Iterator[None]:
    """What a process that starts meanwhile finds: its share of cores and of a GPU."""
    if num_workers == 1:
        yield
        return
    threads = str(max(1, num_cores() // num_workers))
    wanted = dict.fromkeys(_THREADS, threads)
    wanted["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    added = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What starts meanwhile never hears Ctrl-C: it is for the parent to act on it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: connection.Connection, log: reduction.DupFd, do: Callable) -> None:
    """What a process does: tasks, until there are none."""
    for number in _TOLD_TO_END:
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file = log.detach()
    for number in (1, 2):
        os.dup2(file, number)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        try:
            do(work, lambda line: pipe.send(("line", line)))
        except BusyError:
            pipe.send(("busy",))
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            pipe.send(("failed", why[:_CHARACTERS_KEPT], traceback.format_exc()))
        else:
            pipe.send(("done",))


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
