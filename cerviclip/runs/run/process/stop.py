"""A request to stop: the signals that a scheduler sends before it takes a job's machine away.

A handler must not write files: it runs between any two instructions, also while a checkpoint is
being written, and may run twice. So it only notes the signal. The training looks at the note at the
end of each epoch (`rescue`), the job after each of its runs (`pack`). Needs no torch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: Sent some time before a job's limit (``sbatch --signal``), or by hand: save and queue again.
ASKS = ("SIGUSR1", "SIGUSR2")
#: Sent as Slurm ends a job, for whatever reason; who sent it says whether it runs again.
ENDS = ("SIGTERM",)


class Stopped(BaseException):
    """The run at work stops here, and can be gone on with. No Exception: it is no failure of the
    run, and nothing that catches failures may keep it."""


@dataclass
class Stop:
    """What has been asked so far.

    Attributes:
        signals: names of those that came, in order; empty: go on.
        at_once: raise `Stopped` as the signal comes. For a run in another process, which this one
            only waits for.
    """

    signals: list[str]
    at_once: bool = False

    @property
    def asked(self) -> bool:
        return bool(self.signals)

    @property
    def queue_again(self) -> bool:
        """Whether the job is to ask for another turn itself."""
        return any(name in ASKS for name in self.signals)

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """The signals' handler."""
        self.signals.append(signal.Signals(number).name)
        if self.at_once:
            self.at_once = False  # a second signal must not interrupt the first one's clearing up
            raise Stopped


_current: Stop | None = None


def current_stop() -> Stop | None:
    """The job's own; None where this process is no job, as in ``cerviclip train``."""
    return _current


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Note the signals instead of dying of them, for the length of a block (main thread only)."""
    global _current
    stop = Stop([])
    before = {name: signal.getsignal(getattr(signal, name)) for name in (*ASKS, *ENDS)}
    for name in before:
        signal.signal(getattr(signal, name), stop.note)
    outer, _current = _current, stop
    try:
        yield stop
    finally:
        _current = outer
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler or signal.SIG_DFL)
