"""Reads the arrays in PyTorch's files, without PyTorch and without running anything.

PyTorch keeps a state dict as a pickle beside raw numbers: since 1.6 in a zip archive,
before that in one stream of five pickles and the numbers behind them. A pickle is a
program. The interpreter here knows the few instructions that describe dictionaries,
numbers, texts and tensors; it calls nothing that a file names, and refuses all other
instructions and names, so that a file can describe arrays and do nothing else.
"""

import functools
import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from hierjax.errors import UserError

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
}

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class _Name(NamedTuple):
    """What a pickle would import."""

    module: str
    name: str


class _Storage(NamedTuple):
    """Raw numbers that stand outside of the pickle."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_ORDERED_DICT = _Name("collections", "OrderedDict")
_REBUILD_TENSOR = _Name("torch._utils", "_rebuild_tensor_v2")


def read_torch(content: bytes) -> dict[str, np.ndarray]:
    """Arrays of a state dict by their names, views of the file's content.

    Args:
      content: of a file that ``torch.save`` wrote, of either format.

    Raises:
      UserError: the file is of a machine of another byte order, asks for anything but
        a state dict, or holds something that is no array.
      Exception: of any other kind where the file is damaged.
    """
    if content.startswith(b"PK"):
        return _read_archive(content)
    return _read_stream(content)


def _read_archive(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not one written by torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        # Else a small file could unfold to more than there is memory.
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise UserError("its parts are compressed or overlap; save it anew")

        @functools.cache
        def read(name: str) -> bytes:
            return archive.read(folder + name)

        if f"{folder}byteorder" in archive.namelist():
            _check_byte_order(read("byteorder") == b"little")
        found = _interpret(io.BytesIO(read("data.pkl")))
        return _arrays(found, lambda storage: read(f"data/{storage.key}"))


def _read_stream(content: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(content)
    if _interpret(stream) != _MAGIC or _interpret(stream) != _PROTOCOL:
        raise UserError("a pickle, but not one written by torch.save")
    _check_byte_order(_interpret(stream)["little_endian"])
    found = _interpret(stream)
    keys = _interpret(stream)
    sizes = {
        tensor.storage.key: tensor.storage.dtype.itemsize
        for tensor in _state_dict(found).values()
    }
    start = stream.tell()
    storages = {}
    for key in _expect(keys, list):
        size = int.from_bytes(content[start : start + 8], "little")
        end = start + 8 + size * sizes[_expect(key, str)]
        if end > len(content):
            raise UserError(f"damaged: storage {key} ends behind the file")
        storages[key] = memoryview(content)[start + 8 : end]
        start = end
    return _arrays(found, lambda storage: storages[storage.key])


def _check_byte_order(is_little: bool) -> None:
    if not is_little:
        raise UserError("big-endian; save it again on another machine")


def _state_dict(found: Any) -> dict[str, _Tensor]:
    if not isinstance(found, dict):
        raise UserError(
            f"holds no state dict but {type(found).__name__}; accepted is "
            "torch.save(model.state_dict(), ...)"
        )
    for key, value in found.items():
        if not isinstance(value, _Tensor):
            raise UserError(
                f"{key} is no array but {type(value).__name__}; accepted is a state "
                "dict alone, without epoch or optimiser"
            )
    return found


def _arrays(
    found: Any, read: Callable[[_Storage], bytes | memoryview]
) -> dict[str, np.ndarray]:
    return {
        key: _array(tensor, read(tensor.storage))
        for key, tensor in _state_dict(found).items()
    }


def _array(tensor: _Tensor, content: bytes | memoryview) -> np.ndarray:
    itemsize = tensor.storage.dtype.itemsize
    if len(content) != tensor.storage.size * itemsize:
        raise UserError(
            f"damaged: storage {tensor.storage.key} has another size than it says"
        )
    if min(tensor.strides, default=0) < 0:
        raise UserError("damaged: a tensor runs backwards")
    # NumPy checks that the array lies inside the storage.
    return np.ndarray(
        tensor.shape,
        tensor.storage.dtype,
        content,
        tensor.offset * itemsize,
        [stride * itemsize for stride in tensor.strides],
    )


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def _interpret(stream: io.BytesIO) -> Any:
    """Runs one pickle from where the stream stands to its end; gives what it builds."""
    stack: list = []
    memo: dict = {}

    def pop_to_mark() -> list:
        items = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    for instruction, argument, _ in pickletools.genops(stream):
        kind = instruction.name
        if kind in _CONSTANTS:
            stack.append(_CONSTANTS[kind])
        elif kind in _EMPTY:
            stack.append(_EMPTY[kind]())
        elif kind in _LITERALS:
            stack.append(argument)
        elif kind in _PUTS:
            memo[argument] = stack[-1]
        elif kind == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif kind in _GETS:
            stack.append(memo[argument])
        elif kind == "MARK":
            stack.append(_MARK)
        elif kind == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif kind in _TUPLES:
            count = _TUPLES[kind]
            stack[-count:] = [tuple(stack[-count:])]
        elif kind in ("APPEND", "APPENDS"):
            items = [stack.pop()] if kind == "APPEND" else pop_to_mark()
            _expect(stack[-1], list).extend(items)
        elif kind in ("SETITEM", "SETITEMS"):
            items = (
                pop_to_mark() if kind == "SETITEMS" else [stack.pop(-2), stack.pop()]
            )
            for key, value in zip(items[::2], items[1::2], strict=True):
                _expect(stack[-1], dict)[_expect(key, str, int)] = value
        elif kind == "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        elif kind == "STACK_GLOBAL":
            name = stack.pop()
            stack.append(_known(_expect(stack.pop(), str), _expect(name, str)))
        elif kind == "BINPERSID":
            stack.append(_storage(*_expect(stack.pop(), tuple)))
        elif kind == "REDUCE":
            arguments = _expect(stack.pop(), tuple)
            stack.append(_call(stack.pop(), arguments))
        elif kind == "BUILD":
            # A state dict's attribute, the versions of its modules.
            stack.pop()
            _expect(stack[-1], dict)
        elif kind == "STOP":
            return stack.pop()
        elif kind not in ("PROTO", "FRAME"):
            raise UserError(
                f"refused because of the instruction {kind}; accepted is a state dict "
                "of tensors, torch.save(model.state_dict(), ...)"
            )
    raise UserError("damaged: a pickle without an end")


def _expect(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise UserError(f"damaged: {type(value).__name__} at an unexpected place")
    return value


def _known(module: str, name: str) -> _Name:
    found = _Name(module, name)
    is_storage = module == "torch" and name in _DTYPES
    if not is_storage and found not in (_ORDERED_DICT, _REBUILD_TENSOR):
        raise UserError(
            f"refused because it asks for {module}.{name}; accepted is a state dict of "
            "tensors, torch.save(model.state_dict(), ...)"
        )
    return found


def _storage(
    word: str, kind: _Name, key: str, device: str, size: int, view: None = None
) -> _Storage:
    del device
    if word != "storage" or view is not None:
        raise UserError("refused because a storage is a part of another; save it anew")
    dtype = np.dtype(_DTYPES[_expect(kind, _Name).name])
    return _Storage(_expect(key, str), dtype, _expect(size, int))


def _call(function: Any, arguments: tuple) -> Any:
    """What the two functions of `_known` would give."""
    if _expect(function, _Name) == _ORDERED_DICT and not arguments:
        return {}
    if function != _REBUILD_TENSOR:
        raise UserError(f"damaged: {function.name} is called in an unexpected way")
    storage, offset, shape, strides, *_ = arguments
    shape, strides = _expect(shape, tuple), _expect(strides, tuple)
    for number in (offset, *shape, *strides):
        _expect(number, int)
    if math.prod(shape) < 0 or len(shape) != len(strides):
        raise UserError("damaged: a tensor of an impossible shape")
    return _Tensor(_expect(storage, _Storage), offset, shape, strides)
