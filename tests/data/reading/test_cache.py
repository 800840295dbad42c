import numpy as np
import pytest

from hierjax.data.reading import cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def made():
    calls = []

    def make():
        calls.append(1)
        return {"a": np.arange(3), "b": np.array(["x", "ü"])}

    return make, calls


def check(arrays):
    assert arrays["a"].tolist() == [0, 1, 2] and arrays["b"].tolist() == ["x", "ü"]


def test_made_once_and_anew_from_another_source(home, made):
    make, calls = made
    for source, count in (("1", 1), ("1", 1), ("2", 2), ("2", 2), ("1", 3)):
        check(cache.remember("set", source, ("a", "b"), make))
        assert len(calls) == count
    assert [file.name for file in (home / "hierjax").iterdir()] == ["set.npz"]


def test_damage_and_other_arrays_are_made_anew(home, made):
    make, calls = made
    cache.remember("set", "1", ("a", "b"), make)
    file = home / "hierjax" / "set.npz"
    file.write_bytes(file.read_bytes()[:-100])
    check(cache.remember("set", "1", ("a", "b"), make))
    assert len(calls) == 2
    cache.remember("set", "1", ("a", "b", "c"), make)
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_only_warns(home, made):
    make, calls = made
    (home / "hierjax").write_text("a file where the folder should be")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"set: .*could not be kept in .*set.npz"):
            check(cache.remember("set", "1", ("a", "b"), make))
    assert len(calls) == 2
