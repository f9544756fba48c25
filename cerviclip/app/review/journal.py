"""What one reader decided, in an append-only file: a line of JSON for each key press.

A line is on disk (fsync) before the next picture is shown. The state is what the lines say when
they are read from the first to the last, so a crash or a reload loses nothing that was confirmed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from cerviclip.shapes import parse_json
from dassl.errors import UserError

LABEL, ACCEPT, FLAG, UNDO = "label", "accept", "flag", "undo"
_READER = re.compile(r"\w[\w .-]{0,39}")
_LOCKED = "is no line of a review; move the file away, or take the line out"


@dataclass(frozen=True)
class Decision:
    """One line.

    Attributes:
        action: ``label``, ``accept`` (the model's class), ``flag`` (put aside) or ``undo``.
        image: path of the picture below the folder of the queue.
        label: the class; "" for ``flag`` and ``undo``.
        suggested: the class that the model named and the page showed; "" without.
        model: identity of that model.
        time: UTC, ISO 8601.
    """

    action: str
    image: str
    label: str = ""
    suggested: str = ""
    model: str = ""
    time: str = ""


def queue_folder(reviews: Path, images: Path, classnames: Sequence[str]) -> Path:
    """Where the journals of a folder of pictures lie; another list of classes is another queue."""
    told = json.dumps([str(images.resolve()), list(classnames)]).encode()
    return reviews / f"{images.resolve().name}-{hashlib.sha256(told).hexdigest()[:8]}"


def readers_of(folder: Path) -> list[str]:
    """Names of the readers who have a journal in the folder of a queue."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


class Journal:
    """The decisions of one reader of one queue.

    Several pages may have it open: each reads on what the others have appended.

    Args:
        folder: of the queue, see ``queue_folder``; made with the first decision.
        reader: a name of at most 40 letters, digits, spaces, dots and dashes.

    Raises:
        UserError: no such name, or a file that is something else.
    """

    def __init__(self, folder: Path, reader: str) -> None:
        if not _READER.fullmatch(reader):
            raise UserError(
                f"a reader's name has 1 to 40 letters, digits, spaces, dots and dashes, and begins "
                f"with a letter or digit; {reader!r} is not taken"
            )
        self.reader, self.path = reader, Path(folder) / f"{reader}.jsonl"
        self._read_to = 0  # bytes
        self._line = 0
        self._stack: list[Decision] = []
        self.refresh()

    def refresh(self) -> None:
        """Take in the whole lines that were appended since."""
        try:
            with open(self.path, "rb") as handle:
                handle.seek(self._read_to)
                lines = handle.read().split(b"\n")[:-1]  # behind the last line end: broken off
        except FileNotFoundError:
            return
        for line in lines:
            self._line += 1
            self._read_to += len(line) + 1
            self._apply(self._parse(line))

    def decide(self, action: str, image: str, **more: str) -> None:
        """Append a decision; it is on disk when this returns.

        Args:
            action: see `Decision`.
            image: path of the picture.
            more: other fields of `Decision`.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        decision = Decision(action, image, time=now, **more)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(decision), ensure_ascii=False)
        start = "" if self._ends_whole() else "\n"
        with open(self.path, "a", encoding="utf-8", newline="") as handle:
            handle.write(f"{start}{text}\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.refresh()

    def undo(self) -> str:
        """Take the last decision back; its picture, or "" where there is none."""
        last = self.last
        if last is None:
            return ""
        self.decide(UNDO, last.image)
        return last.image

    @property
    def decisions(self) -> dict[str, Decision]:
        """Picture -> the decision that stands, in the order in which they were made."""
        return {decision.image: decision for decision in self._stack}

    @property
    def last(self) -> Decision | None:
        """The decision that `undo` takes back, with what other pages have appended."""
        self.refresh()
        return self._stack[-1] if self._stack else None

    def __len__(self) -> int:
        return len(self._stack)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._stack)

    def _apply(self, decision: Decision | None) -> None:
        if decision is None:
            return
        standing = [one for one in self._stack if one.image != decision.image]
        self._stack = standing if decision.action == UNDO else [*standing, decision]

    def _parse(self, line: bytes) -> Decision | None:
        """The decision of a line; None for a blank one, or half a line that a crash has left."""
        if not line.strip():
            return None
        try:
            return Decision(**parse_json(line.decode("utf-8"), any_text=True))
        except (ValueError, TypeError) as error:
            if not line.rstrip().endswith(b"}"):
                return None
            raise UserError(f"{self.path}, line {self._line}, {_LOCKED}") from error

    def _ends_whole(self) -> bool:
        """Whether the file is new or ends with a line end."""
        try:
            with open(self.path, "rb") as handle:
                handle.seek(-1, os.SEEK_END)
                return handle.read() == b"\n"
        except OSError:
            return True
