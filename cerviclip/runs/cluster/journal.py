"""What has happened to a job's runs, a line for each event, so that whoever submitted it can follow
and a job that starts again knows what is done. Needs no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cerviclip.shapes import plain_json

STARTED, ENDED, STOPPED = "started", "ended", "stopped"


@dataclass(frozen=True)
class Event:
    """One line.

    Attributes:
        what: ``started`` or ``ended`` of a run, ``stopped`` of the job on a signal.
        folder: the run's.
        error: of a run that ended badly, one line.
        trace: its traceback.
        final: trying again cannot help.
        disk: the error is of a disk that nothing more can be written to.
        progress: of a stopped job, how far its run is (`progress_of`).
        timed_out: of a stopped job, that its time was over.
        job: the scheduler's id.
        node: the machine.
        log: what the job printed.
        time: UTC.
    """

    what: str
    folder: str = ""
    error: str | None = None
    trace: str = ""
    final: bool = False
    disk: bool = False
    progress: str = ""
    timed_out: bool = False
    job: str = ""
    node: str = ""
    log: str = ""
    time: str = ""


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Journal:
    """One job's file of events.

    Args:
        path: made with the first event.
        job: who writes; from `job_record`.
    """

    def __init__(self, path: Path, job: Mapping[str, str] | None = None) -> None:
        self.path, self.job = path, dict(job or {})
        self._read = 0

    def write(self, event: Event) -> None:
        """Append a line in one write. A kill may have cut the last line short: it ends here."""
        facts = {k: v for k, v in asdict(event).items() if v not in ("", None, False)}
        line = json.dumps({**facts, **self.job, "time": now()}) + "\n"
        with open(self.path, "ab+") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - 1))
            if size and handle.read(1) != b"\n":
                line = "\n" + line
            handle.write(line.encode())

    def events(self) -> list[Event]:
        """All of them so far."""
        return _events(self._bytes(0))

    def news(self) -> list[Event]:
        """Those that came since the last call; a line that is being written waits."""
        content = self._bytes(self._read)
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        return _events(whole)

    def _bytes(self, start: int) -> bytes:
        try:
            with open(self.path, "rb") as handle:
                handle.seek(start)
                return handle.read()
        except FileNotFoundError:
            return b""


def _events(content: bytes) -> list[Event]:
    return [event for line in content.split(b"\n") if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    """The event of a line; None of one that is cut short, or of a newer version's."""
    try:
        facts: dict[str, Any] = plain_json(line)
        return Event(**{k: v for k, v in facts.items() if k in Event.__dataclass_fields__})
    except (ValueError, TypeError, AttributeError):
        return None


def progress_of(folder: str | Path) -> str:
    """How far a stopped run is: the checkpoints it would go on from; "" where it would begin anew.

    It changes with every checkpoint, so a run whose progress stays the same gets nowhere.
    """
    marks = []
    for path in sorted(Path(folder).glob("*/checkpoint")):
        try:
            marks.append(f"{path.parent.name} {path.read_text(encoding='utf-8').strip()}")
        except OSError:
            continue
    return ", ".join(marks)
