"""A folder that one process at a time writes into, whichever host it runs on.

The lock is a file in the folder that says who holds it. It is made with ``O_EXCL``,
which is atomic on local disks and on NFS from version 3 on; ``flock`` and ``fcntl``
are not used, as network folders are often mounted such that those hold on one host
only, without saying so.

A holder that was killed leaves its lock behind. On the same machine (same boot, same
process namespace) it is gone if its process is, or if another one has its number,
which the time of its start tells. From elsewhere it is known by its silence: a holder
touches its lock every `BEAT_SECONDS`, and one that has not for `SILENT_SECONDS`, by
the clock of the file system, is taken to be gone.

Of several that find one stale lock, one takes it over: only who has made the file
``<lock>.<token of the stale lock>`` may replace that lock, and does so by renaming this
very file, after a look that the lock is still the stale one. That file can be left
behind by a kill as well, and is taken over in the same way.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator

from hierjax.errors import UserError

NAME = "lock.json"
"""Of the file, unless another is asked for."""
BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_UNKNOWN = -1
_OWN: list["Lock"] = []
"""What this process holds, or is about to."""


class InUseError(UserError):
    """Another process, or another thread of this one, holds the lock of a folder."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who holds a lock, as its file says.

    Attributes:
      host: name of the machine, for people.
      machine: text that is the same where process numbers mean the same.
      pid: number of the process.
      started: when the process began, in ticks of its kernel; -1 where unknown.
      since: when the lock was taken, seconds since 1970.
      purpose: what for, such as 'training'.
      token: of this lock alone.
    """

    host: str
    machine: str
    pid: int
    started: int
    since: float
    purpose: str
    token: str

    @classmethod
    def here(cls, purpose: str) -> "Owner":
        """This process."""
        return cls(
            socket.gethostname(),
            _machine(),
            os.getpid(),
            _start_of(os.getpid()),
            time.time(),
            purpose,
            uuid.uuid4().hex,
        )

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, {self.purpose} since {since}"


class Lock:
    """A lock that this process holds; `locked` makes it."""

    def __init__(self, path: pathlib.Path, owner: Owner):
        self.path, self.owner = path, owner
        self._thread = threading.get_ident()
        self._folder = None
        self._over = threading.Event()

    def take(self, folder: pathlib.Path) -> None:
        """Make the folder and the lock in it, or raise `InUseError`."""
        try:
            self._make(folder)
        except FileNotFoundError:
            # Another process has just removed the folder that it had made.
            self._make(folder)
        self._folder = _identity(self.path.parent)
        threading.Thread(target=self._beat, name="lock", daemon=True).start()

    def _make(self, folder: pathlib.Path) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(self.path, self.owner, folder)

    def check(self) -> None:
        """Look whether the folder is still this process's, before writing into it.

        Raises:
          UserError: the folder was removed, or the lock was taken over, as from a
            machine that was suspended for long.
        """
        if _identity(self.path.parent) != self._folder:
            raise UserError(f"{self.path.parent} was removed while it was in use")
        # Somebody may have removed the lock alone.
        with contextlib.suppress(FileExistsError):
            _create(self.path, self.owner)
        holder = _look(self.path).holder
        if holder != self.owner:
            raise InUseError(
                f"{self.path.parent} was taken over by {holder or 'another process'} "
                "while this process was silent, which writes no more"
            )

    def is_own(self) -> bool:
        """Whether the calling thread of this very process holds it."""
        return self.owner.pid == os.getpid() and self._thread == threading.get_ident()

    def release(self) -> None:
        """Remove the lock if it is still this process's."""
        self._over.set()
        with contextlib.suppress(OSError):
            if self.owner.pid == os.getpid() and _look(self.path).holder == self.owner:
                self.path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                if _look(self.path).holder == self.owner:
                    os.utime(self.path)


@contextlib.contextmanager
def locked(
    folder: str | pathlib.Path, purpose: str, *, name: str = NAME
) -> Iterator[Lock]:
    """Hold the lock of a folder, which is made where it is missing.

    A thread that holds it already may hold it again. Of the processes of a run on
    several hosts only one is to take it.

    Args:
      folder: to lock. One that was made here and is empty at the end is removed again.
      purpose: what is done meanwhile, for whoever comes second: 'training'.
      name: of the file in it, for several locks in one folder.

    Yields:
      The lock, to `Lock.check` before something is written.

    Raises:
      InUseError: somebody holds it, naming host, process and time. A holder elsewhere
        that has been silent is watched for up to `SILENT_SECONDS` before.
      UserError: the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    path = folder.resolve() / name
    for lock in list(_OWN):
        if lock.path == path and lock.is_own():
            yield lock
            return
    lock = Lock(path, Owner.here(purpose))
    is_new = not folder.exists()
    # From now on `release_all` removes it, and other threads know that it is alive.
    _OWN.append(lock)
    try:
        try:
            lock.take(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from None
        yield lock
    finally:
        lock.release()
        _OWN.remove(lock)
        if is_new:
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def check_held(folder: str | pathlib.Path) -> None:
    """`Lock.check` of the usual lock of a folder, if this thread holds that."""
    path = pathlib.Path(folder).resolve() / NAME
    for lock in list(_OWN):
        if lock.path == path and lock.is_own():
            lock.check()


def release_all() -> None:
    """Remove the locks of this process, which is about to leave at once."""
    for lock in list(_OWN):
        lock.release()


def is_lock(path: pathlib.Path) -> bool:
    """Whether a file is a lock of the usual name, or what a take-over left of one."""
    return path.name == NAME or path.name.startswith(f"{NAME}.")


def _acquire(path: pathlib.Path, owner: Owner, folder: pathlib.Path) -> None:
    while True:
        try:
            _create(path, owner)
            return
        except FileExistsError:
            found = _look(path)
        if found.holder == owner:
            # A network that repeats a request refuses what it has just granted.
            return
        if found.stamp is None:
            continue
        lives = found.holder and _lives(found.holder)
        if lives is None:
            lives = _is_heard(path, found, folder)
        if lives:
            # What was heard may have been the end of the lock, or its beginning.
            if found.holder is None or _look(path).holder != found.holder:
                continue
            raise InUseError(
                f"{folder} is in use by {found.holder}; wait until that has ended, or "
                "choose another folder"
            )
        guard = path.with_name(f"{path.name}.{found.mark}")
        _acquire(guard, owner, folder)
        if _look(path) == found:
            guard.replace(path)
            return
        guard.unlink()


@dataclasses.dataclass(frozen=True)
class _Look:
    """What a lock was like at one moment.

    Attributes:
      stamp: inode and time of the last beat in nanoseconds; None without a file.
      holder: None without a file, and where it cannot be read, as one that is just
        being written.
    """

    stamp: tuple[int, int] | None
    holder: Owner | None

    @property
    def mark(self) -> str:
        """Text that no later lock has."""
        return self.holder.token if self.holder else "-".join(map(str, self.stamp))


def _look(path: pathlib.Path) -> _Look:
    try:
        # On NFS it is opening a file that brings its times up to date.
        with path.open("rb") as file:
            status, text = os.fstat(file.fileno()), file.read(10_000)
    except FileNotFoundError:
        return _Look(None, None)
    stamp = (status.st_ino, status.st_mtime_ns)
    try:
        return _Look(stamp, _checked(json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        return _Look(stamp, None)


def _checked(content: object) -> Owner | None:
    """The owner, or None where the file says something else."""
    if not isinstance(content, dict):
        return None
    owner = Owner(**content)
    is_whole = (
        all(
            type(getattr(owner, field.name)) is field.type
            for field in dataclasses.fields(Owner)
        )
        and owner.pid > 0
        and 0 <= owner.since < 1e11
        # These are printed; the token becomes part of a file's name.
        and f"{owner.host}{owner.purpose}".isprintable()
        and owner.token.isalnum()
        and len(owner.token) < 99
    )
    return owner if is_whole else None


def _create(path: pathlib.Path, owner: Owner) -> None:
    """Make the file of a lock; FileExistsError where there is one."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(dataclasses.asdict(owner), file, indent=1)
    except OSError:
        path.unlink()
        raise


def _lives(holder: Owner) -> bool | None:
    """Whether the process of a lock is there; None where that cannot be told."""
    if holder.machine != _machine():
        return None
    if holder.pid == os.getpid():
        return any(lock.owner == holder for lock in list(_OWN))
    started = _start_of(holder.pid)
    if started is None:
        return False
    if _UNKNOWN in (started, holder.started):
        return None
    return started == holder.started


def _is_heard(path: pathlib.Path, found: _Look, folder: pathlib.Path) -> bool:
    """Whether a lock changes before it has been silent for long enough."""
    with tempfile.TemporaryFile(dir=path.parent) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    silent = max(now - found.stamp[1] / 1e9, 0.0)
    start, is_said = time.monotonic(), False
    while _look(path) == found:
        waited = time.monotonic() - start
        if silent + waited > SILENT_SECONDS:
            return False
        if waited > 1 and not is_said:
            is_said = True
            print(
                f"{folder} is locked by {found.holder or 'an unknown process'}: waiting"
                f" up to {SILENT_SECONDS - silent:.0f} s for a sign of life",
                file=sys.stderr,
            )
        time.sleep(_POLL_SECONDS)
    return True


def _identity(folder: pathlib.Path) -> tuple[int, int] | None:
    """What tells a folder from another one of its name; None where there is none."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _machine() -> str:
    """The running kernel and its process namespace; the host's name elsewhere."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _start_of(pid: int) -> int | None:
    """Start of a process in ticks of the kernel; None where it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _start_without_proc(pid)
    # The name of the program comes before, and may have blanks and brackets.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def _start_without_proc(pid: int) -> int | None:
    if os.name != "posix":
        return _UNKNOWN
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    return _UNKNOWN
