"""Rows on disk: made once, whatever happens to the file in between."""

import resource
import shutil
import threading
import warnings

import numpy as np
import pytest

from hierjax.data.reading.row_cache import remember_rows
from hierjax.errors import DataNotice, UserError

COUNT, BLOCK = 10, 3
ROWS = np.random.default_rng(0).normal(size=(COUNT, 2, 5)).astype(np.float16)
RECORD = 4 + ROWS[0].nbytes


class Maker:
    """Gives the true rows and remembers which it was asked for."""

    def __init__(self, after=None):
        self.asked, self.after = [], after

    def __call__(self, rows):
        if self.after is not None and len(self.asked) >= self.after:
            raise KeyboardInterrupt
        self.asked += rows.tolist()
        return ROWS[rows].astype(np.float32)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "folder" / "rows.npy"


def remember(file, make, rows=range(COUNT), **changes):
    settings = {"block": BLOCK, "what": "rows"} | changes
    return remember_rows(file, ROWS.shape, np.array(rows), make, **settings)


def test_rows_are_made_once(file):
    first = Maker()
    assert np.array_equal(remember(file, first), ROWS)
    assert sorted(first.asked) == list(range(COUNT))
    again = Maker()
    found = remember(file, again)
    assert again.asked == []
    assert found.dtype == np.float16
    assert np.array_equal(found, ROWS)
    assert not found.flags.writeable
    # An array that numpy maps into memory, too.
    assert np.array_equal(np.load(file, mmap_mode="r")["values"], ROWS)


def test_only_wanted_rows_are_made(file):
    make = Maker()
    found = remember(file, make, rows=[7, 2, 9])
    assert sorted(make.asked) == [2, 7, 9]
    assert np.array_equal(found[[2, 7, 9]], ROWS[[2, 7, 9]])
    rest = Maker()
    assert np.array_equal(remember(file, rest), ROWS)
    assert sorted(rest.asked) == [0, 1, 3, 4, 5, 6, 8]


def test_what_a_killed_process_made_is_kept(file):
    killed = Maker(after=2 * BLOCK)
    with pytest.raises(KeyboardInterrupt):
        remember(file, killed)
    rest = Maker()
    assert np.array_equal(remember(file, rest), ROWS)
    assert sorted(killed.asked + rest.asked) == list(range(COUNT))


HEAD = 192
# Before and behind every boundary of the file.
LENGTHS = (
    *(0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + 4),
    *(HEAD + RECORD - 1, HEAD + RECORD, HEAD + RECORD + 1),
    HEAD + COUNT * RECORD - 1,
)


def test_the_head_is_as_long_as_assumed_here(file):
    remember(file, Maker())
    assert file.stat().st_size == HEAD + COUNT * RECORD


@pytest.mark.parametrize("length", LENGTHS)
def test_a_file_that_was_cut_is_mended_and_said(file, length):
    remember(file, Maker())
    content = file.read_bytes()
    file.write_bytes(content[:length])
    rest = Maker()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataNotice)
        assert np.array_equal(remember(file, rest), ROWS)
    # Nothing tells an empty file from one that was just begun.
    assert any(str(file) in str(notice.message) for notice in told) == (length > 0)
    whole = max(length - HEAD, 0) // RECORD
    assert sorted(rest.asked) == list(range(whole, COUNT))
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("place", "remade"),
    [
        (0, range(COUNT)),
        (150, range(COUNT)),
        (HEAD, [0]),
        (HEAD + 4, [0]),
        (HEAD + 4 * RECORD - 1, [3]),
        (HEAD + COUNT * RECORD - 1, [9]),
    ],
)
def test_damage_costs_the_rows_that_it_hit(file, place, remade):
    remember(file, Maker())
    content = bytearray(file.read_bytes())
    content[place] ^= 64
    file.write_bytes(content)
    rest = Maker()
    with pytest.warns(DataNotice, match="damaged"):
        assert np.array_equal(remember(file, rest), ROWS)
    assert sorted(rest.asked) == list(remade)


def test_what_is_too_long_is_cut(file):
    remember(file, Maker())
    content = file.read_bytes()
    file.write_bytes(content + b"more")
    assert np.array_equal(remember(file, rest := Maker()), ROWS)
    assert rest.asked == []
    assert file.read_bytes() == content


def test_a_row_of_zeros_is_a_row(file):
    asked = []

    def zeros(rows):
        asked.extend(rows.tolist())
        return np.zeros((len(rows), 2, 5))

    for _ in range(2):
        assert not remember(file, zeros).any()
    assert sorted(asked) == list(range(COUNT))


def test_two_at_once_share_the_work(file):
    inner = Maker()

    class Outer(Maker):
        def __call__(self, rows):
            if not self.asked:  # Another process comes, is quicker, and ends.
                assert np.array_equal(remember(file, inner), ROWS)
            return super().__call__(rows)

    outer = Outer()
    assert np.array_equal(remember(file, outer), ROWS)
    assert sorted(inner.asked) == list(range(COUNT))
    assert len(outer.asked) <= BLOCK


def test_many_at_once_all_end_right(file):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(remember(file, Maker(), block=1)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(rows, ROWS) for rows in found)


def test_a_file_may_be_deleted_at_any_time(file):
    class Deleting(Maker):
        def __call__(self, rows):
            file.unlink(missing_ok=True)
            return super().__call__(rows)

    assert np.array_equal(remember(file, Deleting()), ROWS)
    assert np.array_equal(remember(file, rest := Maker()), ROWS)
    assert sorted(rest.asked) == list(range(COUNT))


def test_a_disk_without_room_is_refused_before_the_work(file, monkeypatch):
    usage = shutil.disk_usage(file.parents[1])
    full = usage._replace(free=COUNT * RECORD - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    make = Maker()
    with pytest.raises(UserError, match=r"No space left.*make room.*cache_dir"):
        remember(file, make)
    assert make.asked == []
    full = usage._replace(free=COUNT * RECORD)
    assert np.array_equal(remember(file, make), ROWS)


def test_a_disk_that_fills_up_keeps_what_there_is(tmp_path):
    file = tmp_path / "rows.npy"
    # A limit on the size of files, in the place of a full disk; of larger rows, for
    # what pytest writes itself.
    rows = np.random.default_rng(0).normal(size=(8, 2**16)).astype(np.float16)
    settings = {"block": 1, "what": "rows"}

    def make(wanted):
        made.extend(wanted.tolist())
        return rows[wanted]

    made = []
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    remember_rows(file, rows.shape, np.array([0, 1, 2]), make, **settings)
    resource.setrlimit(resource.RLIMIT_FSIZE, (rows[:5].nbytes, held[1]))
    try:
        with pytest.raises(UserError, match=r"cannot be written.*used again"):
            remember_rows(file, rows.shape, np.arange(8), make, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    before, made = set(made), []
    found = remember_rows(file, rows.shape, np.arange(8), make, **settings)
    assert np.array_equal(found, rows)
    assert {0, 1, 2} <= before
    assert not {0, 1, 2} & set(made)


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        remember(tmp_path / "file" / "rows.npy", Maker())


@pytest.mark.parametrize("value", [np.nan, np.inf, 65520.0, -1e6])
def test_numbers_that_float16_has_not_are_refused(file, value):
    with pytest.raises(UserError, match="float16"):
        remember(file, lambda rows: np.full((len(rows), 2, 5), value))
    largest = remember(file, lambda rows: np.full((len(rows), 2, 5), 65504.0))
    assert (largest == 65504).all()
