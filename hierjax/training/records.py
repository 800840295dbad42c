"""Records of a training: the lines of ``metrics.jsonl``, and what is lost of them."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from hierjax import stored
from hierjax.errors import UserError, notice

FORMAT = 2
"""Of the files that this version writes; it reads those up to this one."""


def check_format(path: pathlib.Path, contents: Mapping[str, Any]) -> None:
    """Refuse a file of a later version.

    Args:
      path: of the file, for the message.
      contents: what was read; ``'format'`` is missing in format 1.

    Raises:
      UserError: the format is above `FORMAT`, or no number.
    """
    found = contents.get("format", 1)
    if type(found) is not int or found < 1:
        raise UserError(f"{path} is damaged: its format is {found!r}, not a number")
    if found > FORMAT:
        raise UserError(
            f"{path} was written by a later version: its format is {found}, readable "
            f"are those up to {FORMAT}"
        )


@dataclasses.dataclass(frozen=True)
class Written:
    """What a checkpoint remembers of the records before it.

    Attributes:
      step: of the last one, 0 before the first.
      count: how many there are.
      sha256: of their lines.
    """

    step: int
    count: int
    sha256: str

    @classmethod
    def of(cls, records: list[dict]) -> "Written":
        """The mark of records from the first on."""
        lines = "".join(map(line_of, range(len(records)), records))
        step = records[-1]["step"] if records else 0
        return cls(step, len(records), stored.digest(lines.encode()))


def line_of(index: int, record: dict) -> str:
    """A record as it stands in the file, ``index`` lines below the first."""
    return json.dumps(record if index else {"format": FORMAT, **record}) + "\n"


def read_records(path: pathlib.Path) -> list[dict]:
    """The records of a ``metrics.jsonl``; a notice counts the lines that are none.

    Args:
      path: of the file.

    Raises:
      UserError: it cannot be read, or a later version wrote it.
    """
    records, lost = parsed(path)
    if lost:
        notice(f"{path}: lines that are no records and are left out: {_listed(lost)}")
    return records


def check_written(
    path: pathlib.Path, records: list[dict], written: Written | None
) -> None:
    """Give a notice where records are not those that were written.

    Args:
      path: of their file.
      records: what it holds.
      written: the mark of those that there were, see `Written`; None: not known.
    """
    if written is None:
        return
    held = [record for record in records if record["step"] <= written.step]
    if len(held) < written.count:
        notice(
            f"{path} is damaged: {written.count - len(held)} of the {written.count} "
            f"records up to step {written.step} are lost, and curves lack them"
        )
    elif Written.of(held) != written:
        notice(
            f"{path} is damaged: the records up to step {written.step} are not those "
            "that were written, and curves of them may be wrong"
        )


def parsed(path: pathlib.Path) -> tuple[list[dict], list[int]]:
    """Records, and the numbers of the lines that are none."""
    records, lost, before = [], [], -1
    lines = stored.read_bytes(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        # Empty after the last line; cut off, the last one is like any other.
        if number == len(lines) and not line:
            break
        try:
            record = stored.parse_json(path, line)
        except UserError:
            record = None
        if not _is_record(record, before):
            lost.append(number)
            continue
        if not records and "format" in record:
            check_format(path, record)
            del record["format"]
        before = record["step"]
        records.append(record)
    return records, lost


def _is_record(content: object, before: int) -> bool:
    """Whether it is a record of a later step than the one before."""
    if not isinstance(content, dict) or type(content.get("step")) is not int:
        return False
    return content["step"] > before and all(map(_is_number, content.values()))


def _is_number(value: object) -> bool:
    """A finite one, or null for what was none; a whole one may be beyond floats."""
    if value is None:
        return True
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _listed(numbers: list[int]) -> str:
    """The first few of line numbers."""
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more
