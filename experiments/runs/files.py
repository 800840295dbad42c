"""Files of a run: JSON that a kill leaves whole or not at all."""

import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax import stored
from hierjax.errors import UserError

FORMAT = 2
"""Of the results and the identity of the data of a run; 1 did not say."""
PER_QUERY = "per_query.npz"
"""File of a workdir with the values of single queries."""


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object; what is in it is yet to be checked.

    Raises:
      UserError: it cannot be read, is damaged, or holds something else.
    """
    content = stored.read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds {_kind(content)}, not an object")
    return content


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write JSON through a temporary file, so that a kill leaves no half of it."""
    stored.write_json(path, plain(content))


def check_entries(path: pathlib.Path, entries: Any) -> dict[str, dict]:
    """Require that a part of a file is measures: numbers or null, by names.

    Args:
      path: of the file, for the message.
      entries: name to ``{'value': ...}`` and, where there are any, ``low`` and so on.

    Raises:
      UserError: it is something else.
    """
    with stored.refused(path):
        for name, entry in entries.items():
            for key, value in entry.items():
                if not (value is None or _is_number(value)):
                    raise UserError(
                        f"{path} is damaged: {key} of {name} is {_kind(value)}, not a "
                        "number"
                    )
            _ = entry["value"]
    return entries


def _is_number(value: Any) -> bool:
    """A number that is not infinite; NaN was how earlier versions wrote null."""
    return type(value) in (int, float) and not abs(value) > sys.float_info.max


def _kind(content: Any) -> str:
    kinds = {str: "a text", list: "a list", dict: "an object", bool: "a truth value"}
    return "nothing" if content is None else kinds.get(type(content), "a number")


def plain(content):
    """Only what JSON knows: NaN and infinity become null, numpy numbers Python's."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, np.ndarray)):
        return [plain(value) for value in content]
    if isinstance(content, np.integer):
        return int(content)
    if isinstance(content, (float, np.floating)):
        return float(content) if math.isfinite(content) else None
    return content
