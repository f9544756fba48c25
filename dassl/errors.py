"""Errors that a user can cause, and how a command shows them.

Every message is one line that names the file, key or number at fault and the way out. Commands
print that line and leave with status 2, or 1 where a disk stopped work that had begun; anything
else that escapes is a bug with its traceback.
"""

from __future__ import annotations

import difflib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

AGAIN = "then give the same command again"
GOES_ON = "the same command continues"  # after Ctrl-C
_ENDS = ("SIGTERM", "SIGHUP")  # kill, a scheduler; a closed terminal
_LONGEST = 2000  # characters of a message
#: What the system refuses of a name or a folder that the user has given.
_OF_FILES = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG),
    *(errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.EILSEQ),
)
#: Of files too, though reading raises them without the file's name: too big, a broken disk, a lost
#: network drive.
_NAMELESS = (errno.EFBIG, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV)


class UserError(ValueError):
    """Something the user asked for cannot be done; the message says what to change."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user named, or that a dataset needs, is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MisfitError(UserError, RuntimeError):
    """Saved weights do not fit the network; a RuntimeError, as torch raises."""


class UnknownNameError(UserError, KeyError):
    """A name that no registry, config tree or backbone list knows."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0]) if self.args else ""


class DuplicateNameError(UserError, KeyError):
    """Two modules register the same name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoppedError(RuntimeError):
    """Work was stopped by what the user must mend first; what was done by then stays."""


def disk_sentence(error: OSError, place: str = "") -> str:
    """What keeps a disk from being written to, and the way out; "" for any other error.

    Args:
        error: as the system raised it.
        place: what was written to, where the error does not say.
    """
    file = error.filename or place or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {file} cannot be written; make room, {AGAIN}"
    if error.errno == errno.EROFS:
        return (
            f"the file system is read-only: {file} cannot be written; mount it writable, {AGAIN}, "
            "or name another folder"
        )
    return ""


def similarity(a: str, b: str) -> float:
    """1 for equal strings, 0 for strings with nothing in common; capitals count a fifth."""
    exact = difflib.SequenceMatcher(None, a, b).ratio()
    folded = difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()
    return (exact + 4 * folded) / 5


def nearest(name: str, names: Iterable[str], cutoff: float = 0.55) -> str:
    """The name most like ``name``, or "" if none is like it."""
    best = max(names, key=lambda other: similarity(name, other), default="")
    return best if best and similarity(name, best) >= cutoff else ""


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.55) -> str:
    """``, did you mean 'x'?`` for a message, where a name is near; else nothing."""
    near = nearest(name, names, cutoff)
    return f", did you mean {near!r}?" if near else ""


def no_file(path: str | Path) -> str:
    """Why a path is not the file that is wanted: ``does not exist``, or it is a folder."""
    return "is a folder, and a file is needed" if os.path.isdir(path) else "does not exist"


def nearest_or_all(name: str, names: Sequence[str], shown_by: str, cutoff: float = 0.55) -> str:
    """The name that is meant, where one is near; else all of them, as many as they are.

    Args:
        name: as it was typed.
        names: those there are.
        shown_by: what lists them, for who means none that is near.
        cutoff: as of `nearest`.
    """
    hint = did_you_mean(name, names, cutoff)
    return f"{hint} ({shown_by} names all)" if hint else f" (known: {', '.join(names)})"


class Terminated(KeyboardInterrupt):
    """A signal that would have ended the process on the spot: it ends as by Ctrl-C, which takes its
    child processes along.

    Args:
        text: what stays.
        number: the signal's.
    """

    def __init__(self, text: str = "", number: int = signal.SIGTERM) -> None:
        super().__init__(text)
        self.number = number


@contextmanager
def says_what_stays(done: Callable[[], str], then: str = GOES_ON) -> Iterator[None]:
    """Long work that Ctrl-C, SIGTERM or a closed terminal may stop: the command's last line tells
    what is finished.

    Args:
        done: asked at that moment what is finished.
        then: what the same command does.

    Raises:
        KeyboardInterrupt: with that text; `Terminated` by a signal other than Ctrl-C's.
    """
    try:
        with _terminated_as_interrupted():
            yield
    except Terminated as stop:
        raise Terminated(f"{done()}; {then}", stop.number) from stop
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{done()}; {then}") from stop


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """`Terminated` in place of the death by SIGTERM and SIGHUP; what somebody else handles or
    ignores (``nohup``) stays so."""
    numbers = [getattr(signal, name) for name in _ENDS if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    ours = [n for n in numbers if main and signal.getsignal(n) is signal.SIG_DFL]

    def stop(number: int, _: Any) -> None:
        for one in ours:  # a second one must not interrupt the clearing up
            signal.signal(one, signal.SIG_IGN)
        raise Terminated(number=number)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def cli_main(
    main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None
) -> int:
    """Run a command's ``main(argv)`` and turn user errors into one line and status 2.

    Args:
        main: takes the arguments (None: the process's own), returns a status or None for 0.
        argv: arguments without the program's name.

    Returns:
        0 done, 1 as ``main`` says or stopped by a disk, 2 user's error, 130 Ctrl-C, 141 nobody
        reads on (``| head``), 128 and a signal's number for what else has stopped long work.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        status = int(main(argv) or 0)
        sys.stdout.flush()
        return status
    except UserError as error:
        if debug:
            raise
        print(f"{_error_word()} {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # its text says what stays
        number = stop.number if isinstance(stop, Terminated) else signal.SIGINT
        word = "interrupted"
        word += f" by {signal.Signals(number).name}" if number != signal.SIGINT else ""
        with suppress(OSError):  # the terminal may be gone
            print(one_line(f"{word}: {stop}" if str(stop) else word), file=sys.stderr, flush=True)
        return 128 + number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 141
    except (StoppedError, OSError) as error:
        stopped = disk_sentence(error) if isinstance(error, OSError) else str(error)
        if debug or not (stopped or _is_about_files(error)):
            raise
        print(f"{_error_word()} {one_line(stopped or _of_file(error))}", file=sys.stderr)
        return 1 if stopped else 2


def one_line(error: object) -> str:
    """An error's text in one line that a terminal can show.

    Names in it come from files of other people: what is no printable character is written as its
    escape, and of a very long text the middle is left out.
    """
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-200:]}"


def _is_about_files(error: BaseException) -> bool:
    if not isinstance(error, OSError):
        return False
    named = error.errno in _OF_FILES and error.filename is not None
    return named or error.errno in _NAMELESS


def _of_file(error: Any) -> str:
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{where}{error.strerror}; check the path, its permissions and the disk"


def _error_word() -> str:
    """On a terminal apart and in red: above it may stand the whole configuration, as upstream
    prints it before anything is loaded."""
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        return "\n\033[1;31merror:\033[0m"
    return "error:"
