"""Where the numbers of a run go: a line of JSON each, TensorBoard, the terminal."""

import contextlib
import hashlib
import math
import pathlib
import sys
import time
import warnings
from collections.abc import Iterator

from tqdm import tqdm

from hierjax import stored
from hierjax.training.events import EventFile
from hierjax.training.records import Written, check_written, line_of, parsed


class MetricWriter:
    """Appends records to ``metrics.jsonl`` and TensorBoard events under a workdir.

    Every line of the file is a record; the first carries the format number as well.

    Args:
      workdir: directory of the run, or None to keep records in memory only.
      step: step from which the run continues; later records of an interrupted run are
        dropped, so that a resumed run leaves the same file as an uninterrupted one.
      written: what the checkpoint says that there must be; a notice tells what is lost
        of it. None: not known.
    """

    def __init__(
        self, workdir: pathlib.Path | None, step: int, written: Written | None = None
    ):
        self.records: list[dict] = []
        self._lines = hashlib.sha256()
        self._file = self._events = None
        if workdir is None:
            return
        path = workdir / "metrics.jsonl"
        found = parsed(path)[0] if path.exists() else []
        check_written(path, found, written)
        self.records = [record for record in found if record["step"] <= step]
        lines = "".join(map(line_of, range(len(self.records)), self.records)).encode()
        self._lines.update(lines)
        stored.write_bytes(path, lines)
        self._file = path.open("a")
        self._events = EventFile(workdir / "tensorboard", step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record named numbers of a step.

        Args:
          step: larger than that of the record before.
          values: name to number; what is not finite becomes None, null in the file.
        """
        record = {"step": step}
        for name, value in values.items():
            value = float(value)
            record[name] = value if math.isfinite(value) else None
        line = line_of(len(self.records), record)
        self._lines.update(line.encode())
        self.records.append(record)
        if self._file is not None:
            with self._named():
                self._file.write(line)
                self._file.flush()
                self._events.write(step, values)

    @property
    def written(self) -> Written:
        """The mark of the records so far, for a checkpoint."""
        step = self.records[-1]["step"] if self.records else 0
        return Written(step, len(self.records), self._lines.hexdigest())

    def close(self) -> None:
        """Flush and close the files."""
        if self._file is not None:
            with self._named(), contextlib.closing(self._events):
                self._file.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of open files do not say which."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or self._file.name
            raise


class Progress:
    """A progress bar on a terminal, otherwise one plain line now and then.

    Args:
      num_steps: steps of the whole run.
      step: steps already done.
      enabled: print at all.
      every_seconds: least time between plain lines.
    """

    def __init__(
        self, num_steps: int, step: int, *, enabled: bool, every_seconds: float = 10.0
    ):
        self._num_steps, self._step, self._enabled = num_steps, step, enabled
        self._every_seconds = every_seconds
        self._start, self._first_step = None, step
        self._last_line = time.monotonic()
        self._bar = None
        if enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=num_steps, initial=step, unit="step", dynamic_ncols=True
            )

    def update(self, step: int, status: str) -> None:
        """Show that steps are done.

        Args:
          step: how many in all.
          status: a short text.
        """
        advance, self._step = step - self._step, step
        if self._bar is not None:
            self._bar.set_postfix_str(status, refresh=False)
            self._bar.update(advance)
            return
        now = time.monotonic()
        finished = step >= self._num_steps
        if self._enabled and (finished or now - self._last_line > self._every_seconds):
            self._last_line = now
            print(
                f"step {step}/{self._num_steps}  {status}{self._pace(now)}",
                file=sys.stderr,
                flush=True,
            )
        if self._start is None:
            self._start, self._first_step = now, step

    def _pace(self, now: float) -> str:
        """Steps a second and time left, not counting the compilation before."""
        if self._start is None or self._step == self._first_step:
            return ""
        rate = (self._step - self._first_step) / max(now - self._start, 1e-9)
        left = (self._num_steps - self._step) / rate
        return f"  {rate:,.3g} steps/s  {left:.0f} s left"

    def note(self, what: str) -> None:
        """Say something while the run goes on; as a warning where nothing is shown."""
        if self._bar is not None:
            self._bar.write(what, file=sys.stderr)
        elif self._enabled:
            print(what, file=sys.stderr, flush=True)
        else:
            warnings.warn(what, RuntimeWarning, stacklevel=3)

    def explain(self, why: str) -> None:
        """Say after `close` why the run ended before its last step."""
        if self._enabled:
            print(f"step {self._step}/{self._num_steps}  {why}", file=sys.stderr)

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()
