"""Files of weights, whole, damaged and hostile; all are read through one door."""

import io
import json
import pickle
import resource
import struct
import time
import zipfile

import flax.serialization
import numpy as np
import pytest

from hierjax.errors import UserError
from hierjax.models.weight_files import read_weights
from tests.models import torch_writer

ARRAYS = {
    "_blocks.0._bn1.weight": np.arange(4, dtype=np.float32),
    "_blocks.0._bn1.running_var": np.arange(4, 8, dtype=np.float64),
    "_blocks.0._bn1.num_batches_tracked": np.array(7, np.int64),
    "_fc.weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "conv.weight": np.arange(48, dtype=np.float32).reshape(2, 3, 4, 2),
}
EXPECTED = {
    ("params", "blocks_0", "bn1", "scale"): ARRAYS["_blocks.0._bn1.weight"],
    ("batch_stats", "blocks_0", "bn1", "var"): ARRAYS["_blocks.0._bn1.running_var"],
    ("params", "fc", "kernel"): ARRAYS["_fc.weight"].T,
    ("params", "conv", "kernel"): ARRAYS["conv.weight"].transpose(2, 3, 1, 0),
}
ONE = {"bn1.bias": np.ones(4, np.float32)}


def archive(arrays, **how):
    file = io.BytesIO()
    torch_writer.archive(file, arrays, **how)
    return file.getvalue()


def safetensors(arrays, *, changes=(), behind=b"", length=None):
    header, raw = {"__metadata__": {"format": "pt"}}, b""
    names = {"f4": "F32", "f8": "F64", "f2": "F16", "i8": "I64"}
    for name, array in arrays.items():
        begin, raw = len(raw), raw + array.tobytes()
        header[name] = {
            "dtype": names[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [begin, len(raw)],
        }
    for name, key, value in changes:
        header[name][key] = value
    text = json.dumps(header).encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    return size + text + raw + behind


FORMATS = {
    "archive": archive(ARRAYS),
    "stream": torch_writer.stream(ARRAYS),
    "safetensors": safetensors(ARRAYS),
    "msgpack": flax.serialization.msgpack_serialize(
        {"params": {"conv": {"kernel": np.ones((3, 4), np.float32)}}}
    ),
}


@pytest.fixture
def read(tmp_path):
    """Reads content; it must be quick and take no memory to speak of."""
    path = tmp_path / "weights"

    def read(content):
        path.write_bytes(content)
        start = time.process_time()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            return read_weights(path)
        finally:
            assert time.process_time() - start < 5
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            assert grown < 200_000  # Kilobytes.

    return read


@pytest.fixture
def refuses(read):
    """Checks that content is refused in one sentence; gives it."""

    def refuses(content):
        with pytest.raises(UserError) as error:
            read(content)
        assert len(str(error.value)) < 400 and "\n" not in str(error.value)
        return str(error.value)

    return refuses


@pytest.mark.parametrize("format", ["archive", "stream", "safetensors"])
def test_every_array_is_read(read, format):
    found = read(FORMATS[format])
    assert set(found) == set(EXPECTED)
    for place, array in EXPECTED.items():
        assert found[place][1].dtype == array.dtype
        np.testing.assert_array_equal(found[place][1], array)
    assert found["params", "fc", "kernel"][0] == "_fc.weight"


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_cut_anywhere(refuses, format):
    content = FORMATS[format]
    for twentieth in range(20):
        assert "damaged" in refuses(content[: len(content) * twentieth // 20])
    assert "damaged" in refuses(content[:-1])


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_that_are_changed_at_random(read, format):
    content = np.frombuffer(FORMATS[format], np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = content.copy()
        places = rng.integers(0, len(content), rng.integers(1, 4))
        changed[places] = rng.integers(0, 256, len(places))
        try:
            read(changed.tobytes())
        except UserError:
            refused += 1
    assert refused > 50


def streamed(program):
    return torch_writer.stream({}, program=program)


def archived(program):
    return archive({}, program=program)


BOTH = pytest.mark.parametrize("written", [streamed, archived])


class Harmful:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@BOTH
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_functions_is_refused(refuses, tmp_path, written, protocol):
    victim = tmp_path / "victim"
    program = pickle.dumps(Harmful(open, str(victim), "w"), protocol=protocol)
    assert "io.open; accepted" in refuses(written(program))
    assert "io.open; accepted" in refuses(b"\x80\x02" + program)
    assert not victim.exists()
    pickle.loads(program).close()
    assert victim.exists()


@BOTH
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("posix", "system"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("collections", "OrderedDict.update"),
        ("torchvision.models.resnet", "ResNet"),
    ],
)
def test_other_names_are_refused(refuses, written, module, name):
    program = b"\x80\x02" + torch_writer.name(module, name) + b"."
    expected = f"refused because it asks for {module}.{name}; accepted"
    assert expected in refuses(written(program))


@BOTH
@pytest.mark.parametrize(
    "name", [("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")]
)
def test_what_is_known_cannot_be_changed(refuses, written, name):
    slots = b"}" + torch_writer.text("__defaults__") + b")s"
    program = b"\x80\x02" + torch_writer.name(*name) + b"N" + slots + b"\x86b."
    assert "damaged" in refuses(written(program))


@BOTH
@pytest.mark.parametrize(
    "instruction",
    [
        b"iposix\nsystem\n",  # INST
        b"(cposix\nsystem\no",  # OBJ
        b"\x82\x01",  # EXT1
        b"]Q",  # BINPERSID of a list
        b"Pos.system\n",  # PERSID
        b"\x81",  # NEWOBJ
        b"\x96" + b"\xff" * 8,  # BYTEARRAY8 of 16 exabytes
        b"\x8d" + b"\xff" * 7 + b"\x3f",  # BINUNICODE8
        b"\x95" + b"\xff" * 7 + b"\x3f",  # FRAME
        b"\x8b\xff\xff\xff\x7f",  # LONG4 of 2 gigabytes
        b"L" + b"9" * 100_000 + b"L\n",  # LONG of many digits
        b"]r\xff\xff\xff\x7f",  # LONG_BINPUT into a table of 2 billion
        b"]q\x00h\x00a",  # a list in itself
        b"}q\x00X\x01\x00\x00\x00ah\x00s",  # a dictionary in itself
        b")" + b"\x85" * 50_000,  # tuples in tuples
        b"})" + b"\x85" * 50_000 + b"Ns",  # the same as a key
        b"(" * 100_000,
        b"0",  # POP of nothing
        b"h\x05",  # never put
        b"t",  # TUPLE without a mark
        b"R",  # REDUCE of nothing
        b"(}}u",  # SETITEMS of nothing
        b"\xff",  # no instruction
        b"",
    ],
)
def test_instructions_that_no_state_dict_has(refuses, written, instruction):
    refuses(written(b"\x80\x02" + instruction + b"."))
    refuses(written(b"\x80\x02" + instruction))
    refuses(b"\x80\x02" + instruction + b".")


@pytest.mark.parametrize("write", [archive, torch_writer.stream])
@pytest.mark.parametrize(
    "tensor",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**80},
        {"strides": [5]},
        {"strides": [-1]},
        {"strides": [-1], "offset": 3},
        {"strides": [1, 1]},
        {"strides": []},
        {"shape": [5]},
        {"shape": [-4]},
        {"shape": [2**62]},
        {"shape": [2**62, 2**62], "strides": [0, 0]},
        {"shape": [1] * 100, "strides": [0] * 100},
        {"size": 3},
        {"size": 5},
        {"size": -4},
        {"size": 2**62},
        {"kind": "DoubleStorage"},
        {"kind": "ByteStorage"},
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(refuses, write, tensor):
    refuses(write(ONE, **tensor))


def test_a_tensor_may_repeat_its_numbers(read):
    """A view of endless length takes no memory; no model has a place for it."""
    for write in (archive, torch_writer.stream):
        found = read(write(ONE, shape=[2**40], strides=[0]))
        assert found["params", "bn1", "bias"][1].shape == (2**40,)


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": 7},
        {"magic": 2**100},
        {"sizes": [3]},
        {"sizes": [5]},
        {"sizes": [-1]},
        {"sizes": [2**62]},
        {"keys": b"]"},
        {"keys": b"}"},
        {"keys": b"](" + torch_writer.text("1") + b"e"},
        {"keys": b"](" + torch_writer.text("0") * 2 + b"e"},
        {"keys": b"]()" + b"\x85" * 100_000 + b"e"},
        {"view": b"N" + torch_writer.numbers([0, 4])},
        {"program": b"\x80\x02K\x01."},
    ],
)
def test_a_stream_whose_parts_disagree_is_refused(refuses, changes):
    if "view" in changes:
        changes = {"program": torch_writer.state_dict(ONE, view=changes["view"])}
    refuses(torch_writer.stream(ONE, **changes))


def test_other_byte_orders(refuses):
    assert "big-endian" in refuses(torch_writer.stream(ONE, little=False))
    assert "big-endian" in refuses(archive(ONE, byteorder=b"big"))


def test_what_is_no_state_dict_is_named(refuses):
    assert "no state dict but tuple" in refuses(streamed(b"\x80\x02)."))
    epoch = b"}" + torch_writer.text("epoch") + b"K\x03s."
    for written in (streamed, archived):
        message = refuses(written(b"\x80\x02" + epoch))
        assert "epoch is no array but int; accepted is a state dict alone" in message
    old = pickle.dumps({"old": 1}, protocol=2)
    assert "not one written by torch.save" in refuses(old)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a.npy", b"")
    assert "not one written by torch.save" in refuses(file.getvalue())


def test_archives_that_unfold_are_refused(refuses):
    """Compressed zeros, and a thousand entries over the same bytes."""
    zeros = {"bn1.bias": np.zeros(50_000_000, np.float32)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x/data.pkl", torch_writer.state_dict(zeros))
        packed.writestr("x/data/0", bytes(200_000_000))
    assert "compressed or overlap" in refuses(file.getvalue())
    shared = np.zeros(1_000_000, np.float32)
    names = [f"a{number}.bias" for number in range(1000)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        program = torch_writer.state_dict(dict.fromkeys(names, shared))
        packed.writestr("x/data.pkl", program)
        packed.writestr("x/data/0", shared.tobytes())
        entry = packed.getinfo("x/data/0")
        for number in range(1, 1000):
            other = zipfile.ZipInfo(f"x/data/{number}")
            other.header_offset, other.CRC = entry.header_offset, entry.CRC
            other.file_size = other.compress_size = entry.file_size
            packed.filelist.append(other)
    assert "compressed or overlap" in refuses(file.getvalue())


def test_tensors_that_share_a_storage_take_it_once(read):
    shared = np.zeros(1_000_000, np.float32)
    program = b"\x80\x02}(" + b"".join(
        torch_writer.text(f"a{number}.bias") + torch_writer.tensor("0", shared)
        for number in range(1000)
    )
    found = read(archive({"a": shared}, program=program + b"u."))
    assert len(found) == 1000
    assert np.shares_memory(*[array for _, array in found.values()][:2])


@pytest.mark.parametrize(
    "how",
    [
        {"behind": b"\0"},
        {"length": 2**63},
        {"length": 5},
        {"changes": [("bn1.bias", "shape", [5])]},
        {"changes": [("bn1.bias", "shape", [-4])]},
        {"changes": [("bn1.bias", "shape", [2**62, 2**62])]},
        {"changes": [("bn1.bias", "shape", 4)]},
        {"changes": [("bn1.bias", "dtype", "F8")]},
        {"changes": [("bn1.bias", "dtype", ["F32"])]},
        {"changes": [("bn1.bias", "data_offsets", [-16, 0])]},
        {"changes": [("bn1.bias", "data_offsets", [1, 17])]},
        {"changes": [("bn1.bias", "data_offsets", [0, 2**70])]},
        {"changes": [("bn1.bias", "data_offsets", None)]},
    ],
)
def test_a_header_that_does_not_fit_is_refused(refuses, how):
    assert "damaged" in refuses(safetensors(ONE, **how))


def test_headers_of_other_shapes_are_refused(refuses):
    for header in (
        b"{" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": 1}',
        b'{"a": [], "a": []}',
        b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 0]}}',
        b"{\xff}",
    ):
        refuses(struct.pack("<Q", len(header)) + header)
