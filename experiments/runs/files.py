"""Files of a run: JSON that a kill leaves whole or not at all."""

import json
import math
import os
import pathlib

import numpy as np

FORMAT = 2
"""Of the results and the identity of the data of a run; 1 did not say."""
PER_QUERY = "per_query.npz"
"""File of a workdir with the values of single queries."""


def read_json(path: pathlib.Path):
    """Content of a JSON file."""
    return json.loads(path.read_text())


def write_json(path: pathlib.Path, content) -> None:
    """Write JSON through a temporary file, so that a kill leaves no half of it."""
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")
    temporary.write_text(json.dumps(plain(content), indent=1) + "\n")
    temporary.replace(path)


def plain(content):
    """Only what JSON knows: NaN and infinity become null, numpy numbers Python's."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, np.ndarray)):
        return [plain(value) for value in content]
    if isinstance(content, np.integer):
        return int(content)
    if isinstance(content, (float, np.floating)):
        return float(content) if math.isfinite(content) else None
    return content
