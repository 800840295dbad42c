"""Reads safetensors files: a header that says where each array lies, then raw numbers.

Format: https://github.com/huggingface/safetensors#format. The first eight bytes are the
length of a JSON object, ``{name: {"dtype": ..., "shape": [...], "data_offsets":
[begin, end]}}``; what follows it is the arrays, one after the other without gaps.
"""

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierjax.errors import UserError

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
}


def is_safetensors(content: bytes) -> bool:
    """Whether a file's content begins as one does."""
    length = int.from_bytes(content[:8], "little")
    return content[8:9] == b"{" and length <= len(content) - 8


def read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """Arrays by their names, views of the file's content.

    Args:
      content: of the file.

    Raises:
      UserError: the file is damaged in a way that is known here.
      Exception: of any kind where it is otherwise.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start], object_pairs_hook=_without_doubles)
    header.pop("__metadata__", None)
    arrays = {}
    ends = [0]
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
        begin, end = entry["data_offsets"]
        if begin != ends[-1] or end - begin != math.prod(shape) * dtype.itemsize:
            raise UserError(f"damaged: the place of {name} does not fit its shape")
        raw = memoryview(content)[start + begin : start + end]
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
        ends.append(end)
    if ends[-1] != len(content) - start:
        raise UserError("damaged: the arrays fill less than the file, or more")
    return arrays


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UserError("damaged: a name is there twice")
    return found
