"""What stops a run from outside: disks, memory, killed processes, vanished files.

Such a run is not at fault. It goes on from its last checkpoint when it is tried again, while a run
that its own code broke begins anew.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from dassl.errors import AGAIN, disk_sentence

#: Set under ``runtime`` of a failed run's results.json.
FROM_OUTSIDE = "stopped_from_outside"

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENOTCONN, errno.EIO}
_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory")
_LOADER = "DataLoader worker"


def outside_cause(error: BaseException, place: str = "") -> str:
    """What stopped the work, and the way out, in one sentence; "" where its own code broke.

    Args:
        error: that ended it.
        place: the folder that was written to, where the error names no file.
    """
    for cause in _chain(error):
        if isinstance(cause, OSError) and (text := _of_files(cause, place)):
            return text
    for cause in _chain(error):
        text = str(cause)
        if isinstance(cause, MemoryError) or any(words in text for words in _MEMORY):
            return (
                "memory ran out; give a smaller DATALOADER batch size or fewer --jobs, or close "
                f"other programs, {AGAIN}"
            )
        if text.startswith(_LOADER):
            return (
                "a process that loads images was killed, as the system does when memory runs out; "
                f"give fewer DATALOADER.NUM_WORKERS, {AGAIN}"
            )
    return ""


def disk_cause(error: BaseException, place: str = "") -> str:
    """The same, of a disk that nothing more can be written to; "" of all else."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and (text := disk_sentence(cause, place)):
            return text
    return ""


def describe(error: BaseException, place: str = "") -> str:
    """A failure as tables and the console say it: one line."""
    text = outside_cause(error, place) or f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _of_files(error: OSError, place: str) -> str:
    if text := disk_sentence(error, place):
        return text
    file = error.filename or place or "a file"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission: {file}; give this user the right to it, {AGAIN}"
    if error.errno in _GONE:
        return f"{file} is not there ({error.strerror}); bring it back, {AGAIN}"
    if isinstance(error, FileNotFoundError):  # `MissingFileError`, which says the way out itself
        return str(error)
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
