"""Where the numbers of a run go: a line of JSON each, TensorBoard, the terminal."""

import json
import math
import pathlib
import sys
import time

from tqdm import tqdm

from hierjax.training.resuming import FORMAT, check_format


class MetricWriter:
    """Appends records to ``metrics.jsonl`` and TensorBoard events under a workdir.

    Every line of the file is a record; the first carries the format number as well.

    Args:
      workdir: directory of the run, or None to keep records in memory only.
      step: step from which the run continues; later records of an interrupted run are
        dropped, so that a resumed run leaves the same file as an uninterrupted one.
    """

    def __init__(self, workdir: pathlib.Path | None, step: int):
        self.records: list[dict] = []
        self._file = self._events = None
        if workdir is None:
            return
        path = workdir / "metrics.jsonl"
        if path.exists():
            self.records = [r for r in read_records(path) if r["step"] <= step]
        path.write_text("".join(map(_line, range(len(self.records)), self.records)))
        self._file = path.open("a")
        # Imported here: it is slow to load and short runs go without.
        import tensorboardX

        self._events = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=step + 1
        )

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
        self.records.append(record)
        if self._file is not None:
            self._file.write(_line(len(self.records) - 1, record))
            self._file.flush()
            for name, value in values.items():
                # tensorboardX complains of every undefined number.
                if math.isfinite(value):
                    self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the files."""
        if self._file is not None:
            self._file.close()
            self._events.close()


def _line(index: int, record: dict) -> str:
    """A record as it stands in the file, ``index`` lines below the first."""
    return json.dumps(record if index else {"format": FORMAT, **record}) + "\n"


def read_records(path: pathlib.Path) -> list[dict]:
    """The records of a ``metrics.jsonl``.

    Args:
      path: of the file; a last line cut off by a kill is dropped.

    Raises:
      UserError: a later version wrote it.
    """
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if records:
        check_format(path, records[0])
        records[0].pop("format", None)
    return records


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

    def explain(self, why: str) -> None:
        """Say after `close` why the run ended before its last step."""
        if self._enabled:
            print(f"step {self._step}/{self._num_steps}  {why}", file=sys.stderr)

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()
