"""Locks that the system frees when their holder dies, however it dies.

A lock is ``flock`` on an open file. The kernel frees it with its holder: after a kill, at a reboot,
and, on a network file system, when the holder's machine is gone. The text in a
lock file is used for messages only. So a process number that is used again blocks nobody, and
neither does the name of another machine.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dassl.errors import UserError

_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}

_held: set[int] = set()


class AtWorkError(UserError):
    """Another process is at work on what was to be claimed."""


def lock(handle: int, wait: bool = True) -> bool:
    """Lock an open file until it is closed.

    Args:
        handle: its descriptor.
        wait: until the present holder is done or dead.

    Returns:
        False where another process holds it. True also on systems and file systems that know no
        such locks: there it is the user's care that one process works at a time.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        warnings.warn(
            f"a file system here keeps no locks ({error.strerror}); let one sweep at a time work "
            "on a folder",
            stacklevel=2,
        )
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that stays there, waiting for it; the file is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        lock(file.fileno())
        yield


def claim_of(place: Path) -> Path:
    """The lock file of a `claimed` place."""
    return place.with_name(f".{place.name}.lock")


@contextmanager
def claimed(place: Path, wait: bool = False) -> Iterator[None]:
    """Keep a file or folder, there or not, for this process while the block runs.

    The lock file lies beside it, ``.<name>.lock``, and is gone afterwards, as are folders above it
    that were made for it. Where no lock file can be written, the block runs without: what it is to
    write there will fail with its own error.

    Args:
        place: what is claimed.
        wait: for the process that holds it, if there is one.

    Raises:
        AtWorkError: another process holds it, and ``wait`` is not given.
    """
    path = claim_of(place)
    absent = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(path, place, wait)
    except AtWorkError:
        raise
    except OSError:
        handle = -1
    _held.add(handle)
    try:
        yield
    finally:
        _held.discard(handle)
        if handle >= 0:
            with suppress(OSError):
                path.unlink()  # before it is free: who waits for it sees that it is another file
            os.close(handle)
        with suppress(OSError):
            for parent in absent:
                parent.rmdir()


def _take(path: Path, place: Path, wait: bool) -> int:
    """The descriptor of the locked file that lies at ``path``."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = lock(handle, wait)
            if free and _lies_at(handle, path):
                _sign(handle)
                return handle
        except OSError:
            os.close(handle)
            raise
        holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
        os.close(handle)
        if not free:
            raise AtWorkError(
                f"{holder} is at work on {place}; wait until it has ended, or name another folder"
            )


def _sign(handle: int) -> None:
    """Say in the file who holds it, for messages."""
    with suppress(OSError):  # a full disk
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _lies_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name: its last holder removes it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _leave_to_parent() -> None:
    """A forked child (a loader's worker) must not keep a lock that its parent took to its grave."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
