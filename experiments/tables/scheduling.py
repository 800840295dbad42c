"""Which task a process does next, so that it compiles little and none has to wait."""

import dataclasses
from collections.abc import Hashable, Iterable


class BusyError(Exception):
    """Another run is at a task."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A task as the order of work sees it.

    Attributes:
      key: its name, of which there is one.
      cell: tasks of a cell share what a process has compiled.
      needs: key of the task that must be done before; None: nothing.
      work: what a process is given to do.
    """

    key: str
    cell: Hashable
    needs: str | None
    work: object


class Queue:
    """Tasks that wait, run, or are over.

    A process stays with its cell as long as there is something to do; then it takes a
    cell that nobody is at; then it helps at one that somebody is at, and compiles that
    again. A cell that another run of the same table was met at comes last.
    """

    def __init__(self, steps: Iterable[Step]):
        """All tasks, in the order they are wished for; of equal keys the first."""
        self._waiting: dict[str, Step] = {}
        for step in steps:
            self._waiting.setdefault(step.key, step)
        self.total = len(self._waiting)
        self._running: dict[str, Step] = {}
        self._elsewhere: set[Hashable] = set()

    @property
    def over(self) -> int:
        """How many tasks are done, failed, or given up."""
        return self.total - len(self._waiting) - len(self._running)

    @property
    def only_elsewhere(self) -> bool:
        """Whether all that is left has been met at another run, or waits for such."""
        return not self._running and all(
            step.cell in self._elsewhere or not self._ready(step)
            for step in self._waiting.values()
        )

    def take(self, last: Hashable, *, elsewhere: bool) -> Step | None:
        """The next task of a process.

        Args:
          last: the cell that it was at before.
          elsewhere: whether to look again at cells where another run was met.

        Returns:
          None where there is no task now, though there may be one later.
        """
        taken = {step.cell for step in self._running.values()}

        def rank(step: Step) -> tuple[bool, bool, bool]:
            """Smallest first."""
            met = step.cell in self._elsewhere
            return met, step.cell != last, step.cell in taken

        ready = [
            step
            for step in self._waiting.values()
            if self._ready(step) and (elsewhere or step.cell not in self._elsewhere)
        ]
        step = min(ready, key=rank, default=None)
        if step is not None:
            self._running[step.key] = self._waiting.pop(step.key)
        return step

    def done(self, step: Step) -> None:
        """A task was done, here or by somebody else."""
        del self._running[step.key]
        self._elsewhere.discard(step.cell)

    def met_elsewhere(self, step: Step) -> None:
        """Another run is at a task: it waits, and its cell comes last."""
        self._waiting[step.key] = self._running.pop(step.key)
        self._elsewhere.add(step.cell)

    def failed(self, step: Step) -> None:
        """A task failed: its cell, and what needs the task, is given up."""
        del self._running[step.key]
        lost = {step.key}
        lost |= {k for k, other in self._waiting.items() if other.cell == step.cell}
        # Nothing needs what itself needs something.
        lost |= {k for k, other in self._waiting.items() if other.needs in lost}
        self._waiting = {k: x for k, x in self._waiting.items() if k not in lost}

    def _ready(self, step: Step) -> bool:
        return step.needs not in self._waiting and step.needs not in self._running
