"""Locks of folders: one holder, stale ones taken over by one, nothing left behind."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from hierjax import locking
from hierjax.errors import UserError
from hierjax.locking import InUseError, Owner, locked

DEAD = 2**22 + 1
"""Above any process number of Linux."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(locking, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(locking, "_POLL_SECONDS", 0.01)


def leave(folder, *, age=0.0, **changes):
    """A lock as another process has left it; gives its file."""
    folder.mkdir(exist_ok=True)
    owner = dataclasses.replace(Owner.here("training"), pid=DEAD, started=1)
    record = dataclasses.asdict(dataclasses.replace(owner, **changes))
    path = folder / locking.NAME
    path.write_text(json.dumps(record))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def in_thread(function):
    """Calls a function in another thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def take(folder):
    with locked(folder, "testing"):
        return True


def test_the_second_is_told_who_holds_it(tmp_path):
    with locked(tmp_path, "training") as lock:
        assert names(tmp_path) == [locking.NAME]
        words = f"{tmp_path} is in use by process {os.getpid()} on .*, training since 2"
        with pytest.raises(InUseError, match=words):
            in_thread(lambda: take(tmp_path))
        lock.check()
    assert names(tmp_path) == []
    assert in_thread(lambda: take(tmp_path))


def test_a_thread_may_hold_it_twice_and_locks_of_other_names(tmp_path):
    with locked(tmp_path, "training"):
        with locked(tmp_path / ".." / tmp_path.name, "evaluating"):
            pass
        assert names(tmp_path) == [locking.NAME]
        with locked(tmp_path, "testing", name="seed0.lock"):
            assert names(tmp_path) == [locking.NAME, "seed0.lock"]
    assert names(tmp_path) == []


def test_nothing_is_left_after_an_error_not_even_the_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyError), locked(folder, "testing"):
        raise KeyError
    assert names(tmp_path / "a") == []
    with locked(folder, "testing"):
        (folder / "kept").touch()
    assert names(folder) == ["kept"]


def test_those_who_leave_at_once_remove_their_locks(tmp_path):
    with locked(tmp_path, "testing"):
        locking.release_all()
        assert names(tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        # The number is that of another process now.
        {"pid": os.getppid(), "started": 1},
        # The process is another program now, by `exec`, or lost count of its locks.
        {"pid": os.getpid()},
        # A machine that has been silent.
        {"machine": "elsewhere", "age": 0.6},
        {"machine": "elsewhere", "age": 0.3},
        # A clock that was ahead.
        {"machine": "elsewhere", "age": -1e6},
        # The start of the process is not known: only silence tells.
        {"pid": os.getppid(), "started": -1},
    ],
)
def test_stale_locks_are_taken_over(tmp_path, changes):
    leave(tmp_path, **changes)
    with locked(tmp_path, "testing") as lock:
        lock.check()
        assert names(tmp_path) == [locking.NAME]
    assert names(tmp_path) == []


def test_what_lives_is_not_taken_over(tmp_path):
    parent = os.getppid()
    path = leave(tmp_path, pid=parent, started=locking._start_of(parent), age=1e6)
    with pytest.raises(InUseError, match=f"process {parent} on"):
        take(tmp_path)
    # On another machine nothing but its beat tells.
    path = leave(tmp_path, machine="elsewhere", host="far")
    beat = threading.Timer(0.2, os.utime, (path,))
    beat.start()
    with pytest.raises(InUseError, match=f"process {DEAD} on far"):
        take(tmp_path)
    beat.join()
    assert names(tmp_path) == [locking.NAME]


def test_a_holder_beats(tmp_path):
    with locked(tmp_path, "testing") as lock:
        os.utime(lock.path, (0, 0))
        end = time.monotonic() + 10
        while lock.path.stat().st_mtime < 1 and time.monotonic() < end:
            time.sleep(0.02)
        assert lock.path.stat().st_mtime > 1e9


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"[" * 5000,
        b"\xff\x00",
        b'{"pid": 1}',
        json.dumps(
            dataclasses.asdict(Owner("h", "m", 1, 1, 1.0, "p", "../../x"))
        ).encode(),
        json.dumps(
            dataclasses.asdict(Owner("\x1b[31m", "m", 1, 1, 1.0, "p", "x"))
        ).encode(),
    ],
)
def test_a_lock_that_nobody_can_read_is_watched(tmp_path, content):
    (tmp_path / locking.NAME).write_bytes(content)
    start = time.monotonic()
    assert take(tmp_path)
    assert time.monotonic() - start > 0.4
    assert names(tmp_path) == []


def contend(folder, number):
    """How many of some threads hold a lock at one time, and how many got it."""
    barrier, inside, most, won = threading.Barrier(number), [], [], []

    def run(_):
        barrier.wait()
        with contextlib.suppress(InUseError), locked(folder, "testing"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            won.append(inside.pop())

    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        list(pool.map(run, range(number)))
    return max(most), len(won)


def test_of_many_one_holds_it_and_one_takes_over_a_stale_one(tmp_path):
    for turn in range(30):
        if turn % 3 == 1:
            leave(tmp_path)
        if turn % 3 == 2:
            # Who was about to take over was killed as well.
            token = json.loads(leave(tmp_path).read_text())["token"]
            path = tmp_path / locking.NAME
            stale = path.read_text()
            leave(tmp_path, token="second").rename(f"{path}.{token}")
            path.write_text(stale)
        most, won = contend(tmp_path, 6)
        assert most == 1 and won >= 1
        assert names(tmp_path) == []


def test_a_holder_notices_what_happened_to_its_folder(tmp_path):
    folder = tmp_path / "run"
    with locked(folder, "testing") as lock:
        lock.path.unlink()
        lock.check()
        assert names(folder) == [locking.NAME]
        leave(folder, host="far")
        with pytest.raises(InUseError, match=f"taken over by process {DEAD} on far"):
            lock.check()
    assert names(folder) == [locking.NAME]
    with locked(folder, "testing") as lock:
        folder.rename(tmp_path / "moved")
        with pytest.raises(UserError, match="was removed while"):
            lock.check()
        folder.mkdir()
        with pytest.raises(UserError, match="was removed while"):
            lock.check()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run cannot be written: Not a directory"):
        take(tmp_path / "file" / "run")


def test_killed_processes_are_gone_even_before_they_are_waited_for(tmp_path):
    code = (
        "import sys, time\nfrom hierjax.locking import locked\n"
        "with locked(sys.argv[1], 'testing'):\n print('held', flush=True)\n"
        " time.sleep(60)"
    )
    root = pathlib.Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(InUseError, match=f"process {process.pid} "):
                take(tmp_path)
        finally:
            process.kill()
        end = time.monotonic() + 10
        while locking._start_of(process.pid) and time.monotonic() < end:
            time.sleep(0.01)
        assert take(tmp_path)
