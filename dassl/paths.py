"""Whether a path is there, for names that a user, a config file or a table has given.

``Path.is_file`` and its like raise of a name that is longer than the file system's. No file can
have such a name, so the answer is no. What may not be looked at raises as before: "does not exist"
would be wrong.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file of this name.

    Raises:
        PermissionError: a folder above it may not be entered.
    """
    return _asked(Path(path).is_file)


def is_dir(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder of this name. Raises as `is_file`."""
    return _asked(Path(path).is_dir)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything of this name. Raises as `is_file`."""
    return _asked(Path(path).exists)


def at_home(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder for ``~``; as it is where there is no such user.

    ``Path.expanduser`` raises there.
    """
    return Path(os.path.expanduser(path))


def can_be_written(text: str) -> bool:
    """Whether a text can name a file or stand in one: no zero byte, no half of a character."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _asked(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
