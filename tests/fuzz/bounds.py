"""Runs a command or a reader under bounds, and says what must hold of it whatever it is given."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch  # noqa: F401 - its libraries take more of the address space than a file may
from hypothesis import HealthCheck, settings

SECONDS = 20  # of CPU time; a file of a few kilobytes that takes longer is a hang
MEMORY = 2 << 30  # bytes beyond what the process has before
LONGEST = 2300  # characters of an error's line


def examples(size: str, few: int, many: int) -> settings:
    """Settings of a property: few examples or many, the same each time.

    Args:
        size: ``few`` or ``many``, the parameter of a test. ``FUZZ_EXAMPLES`` says how many are
            many, and they are then new ones each time: a search of hours.
    """
    searched = os.environ.get("FUZZ_EXAMPLES", "")
    most = int(searched or many)
    return settings(
        max_examples=few if size == "few" else most,
        derandomize=size == "few" or not searched,
        deadline=None,  # the bounds below are ours
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


class TooLong(BaseException):
    """A bound on time was reached; no ``except Exception`` on the way may take it for another."""


@contextlib.contextmanager
def bounded(seconds: int = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Bounds on time and memory; what goes beyond is an error, or the end with all stacks."""

    def too_long(*_: Any) -> None:
        raise TooLong(f"it takes more than {seconds} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # the clock of a busy machine says little
    faulthandler.dump_traceback_later(30 * seconds, exit=True, file=sys.__stderr__)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def call(argv: Sequence[str], command: Callable[..., int] | None = None) -> Ended:
    """``cerviclip ARGV`` in this process, as the console script calls it.

    Status 0, 1 or 2; with 2 one line on stderr; never a traceback. Anything that ``cli_main`` lets
    through is an error of the test.
    """
    from cerviclip import cli

    out, err = io.StringIO(), io.StringIO()
    stdout, showwarning, folder = sys.stdout, warnings.showwarning, os.getcwd()
    with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what a user's session has
            warnings.showwarning = lambda *_, **__: None
            try:
                status = (command or cli.main)(list(argv))
            except SystemExit as end:  # --help
                status = int(end.code or 0)
    assert sys.stdout is stdout and os.getcwd() == folder, argv
    warnings.showwarning = showwarning
    ended = Ended(status, out.getvalue(), err.getvalue())
    shown = f"{argv}: {ended.status}\n{ended.out[-2000:]}\n{ended.err[-3000:]}"
    assert ended.status in (0, 1, 2), shown
    assert "Traceback (most recent call last)" not in ended.out + ended.err, shown
    if ended.status == 2:
        lines = [line for line in ended.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1 and ended.err.rstrip().endswith(lines[0]), shown
        assert 10 < len(lines[0]) < LONGEST, shown
    return ended


def refused_or(read: Callable[[], Any]) -> Any:
    """What a reader gives, or None where it refuses in one line; anything else is an error."""
    from dassl.errors import UserError

    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except UserError as error:
            assert str(error).strip(), "an error without a word"
            return None
