"""What torch.save writes, by hand, whole and damaged."""

import struct
import zipfile

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def name(module, word):
    return f"c{module}\n{word}\n".encode()


def storage(key, array, *, size=None, kind=None, view=b""):
    return (
        b"("
        + text("storage")
        + name("torch", kind or STORAGES.get(array.dtype.str[1:], "HalfStorage"))
        + text(key)
        + text("cpu")
        + number(array.size if size is None else size)
        + view
        + b"tQ"
    )


def tensor(key, array, *, shape=None, strides=None, offset=0, **of_storage):
    """A function's name and its arguments."""
    if strides is None:
        strides = [stride // array.itemsize for stride in array.strides]
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage(key, array, **of_storage)
        + number(offset)
        + numbers(array.shape if shape is None else shape)
        + numbers(strides)
        + b"\x89"
        + ORDERED_DICT
        + b"tR"
    )


def state_dict(arrays, *, view=b"", **of_tensors):
    entries = b"".join(
        text(word) + tensor(str(place), array, view=view, **of_tensors)
        for place, (word, array) in enumerate(arrays.items())
    )
    # The dictionary carries the modules' versions as an attribute.
    versions = b"}" + text("_metadata") + b"}sb"
    return b"\x80\x02" + ORDERED_DICT + b"(" + entries + b"u" + versions + b"."


def archive(path, arrays, *, program=None, byteorder=b"little", **of_tensors):
    """Writes the zip format, of PyTorch since 1.6."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", program or state_dict(arrays, **of_tensors))
        file.writestr("x/byteorder", byteorder)
        for place, array in enumerate(arrays.values()):
            file.writestr(f"x/data/{place}", array.tobytes())
    return path


def stream(
    arrays,
    *,
    magic=0x1950A86A20F9469CFC6C,
    little=True,
    program=None,
    keys=None,
    sizes=None,
    **of_tensors,
):
    """The format before: pickles one after the other, then the numbers."""
    if sizes is None:
        sizes = [array.size for array in arrays.values()]
    if keys is None:
        keys = b"](" + b"".join(map(text, map(str, range(len(arrays))))) + b"e"
    facts = b"}" + text("little_endian") + (b"\x88" if little else b"\x89") + b"s"
    head = (number(magic), number(1001), facts)
    return (
        b"".join(b"\x80\x02" + part + b"." for part in head)
        + (program or state_dict(arrays, view=b"N", **of_tensors))
        + b"\x80\x02"
        + keys
        + b"."
        + b"".join(
            struct.pack("<q", size) + array.tobytes()
            for size, array in zip(sizes, arrays.values(), strict=True)
        )
    )
