"""Scalars for TensorBoard, written as they come.

The writer that tensorboardX recommends hands them to a thread through a queue; on a
full disk the thread dies with a traceback and the queue keeps the process from ending.
"""

import math
import pathlib
import time
from collections.abc import Mapping


class EventFile:
    """A new file of events in a folder, which is made where it is missing.

    Args:
      folder: TensorBoard shows all files in it as one.
      first_step: what earlier files say of this and later steps is not shown.
    """

    def __init__(self, folder: pathlib.Path, first_step: int):
        # Imported here: it is slow to load and short runs go without.
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2

        self._scalar, self._event = summary.scalar, event_pb2.Event
        folder.mkdir(parents=True, exist_ok=True)
        self._file = event_file_writer.EventsWriter(str(folder / "events"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._put(first_step, session_log=start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record named numbers of a step; tensorboardX complains of undefined ones."""
        for name, value in values.items():
            if math.isfinite(value):
                self._put(step, summary=self._scalar(name, value))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, step: int, **content) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=step, **content))
