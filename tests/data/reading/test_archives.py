import io
import time
import zipfile

import numpy as np
import pytest

from hierjax.data.reading.archives import read_arrays
from hierjax.errors import UserError


def head(shape, dtype="<f8"):
    """The head of an array that is not there."""
    text = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, facts)
    return text.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def test_arrays_are_read_as_written(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.array(["x", "yy"]),
        "c": np.zeros((0, 3), np.int8),
        "d": np.array(7),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        found = read_arrays(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == array.dtype


@pytest.mark.parametrize("rows", [10**12, 10**30, -5, 3])
def test_a_head_that_claims_more_than_is_there_gets_no_memory(tmp_path, rows):
    path = archive(tmp_path / "a.npz", x=head((rows,)) + bytes(16))
    start = time.perf_counter()
    with pytest.raises(UserError, match="a.npz: array 'x' (is damaged|cannot be read)"):
        read_arrays(path)
    assert time.perf_counter() - start < 1


def test_other_members_and_kinds_of_archive_are_refused(tmp_path):
    path = archive(tmp_path / "a.npz", x=b"no array")
    with pytest.raises(
        UserError, match="a.npz: array 'x' cannot be read; accepted are"
    ):
        read_arrays(path)
    whole = bytearray(archive(path, x=head((2,)) + bytes(16)).read_bytes())
    for what, message in ((1, "encrypted"), (None, "compression")):
        content = bytearray(whole)
        for mark, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
            place = content.index(mark)
            if what:
                content[place + flags] |= what
            else:
                content[place + method] = 97
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"a.npz: .*{message}.*numpy.savez"):
            read_arrays(path)
