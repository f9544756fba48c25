"""Goal: an append-only, hash-chained record of every answer that a server gave, and its check.

Usage:
    cerviclip audit-log verify audit.jsonl
    cerviclip audit-log verify audit.jsonl --head 5d41...   # a hash that you noted elsewhere

A line is one entry in JSON: number, time, who asked, the model's hash, the input's hash (never the
image or its name), the output. Each entry holds the hash of the one before it. ``audit.jsonl.head``
holds how many entries there are and the hash of the last one, so that a cut tail shows too.

A chain without a secret shows accidents and careless changes. Who may write both files can make a
new chain; compare with a hash that you keep elsewhere (``--head``) to see that.

Exit status: 0 the log is whole, 1 it is not, 2 something to correct in the command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cerviclip.app.answer import Prediction
from cerviclip.app.append_file import AppendFile
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from cerviclip.shapes import parse_json
from dassl.errors import MissingFileError, UserError, cli_main

START = "0" * 64  # what the first entry names as the one before it
_KEYS = ("n", "when", "kind", "previous", "hash")  # what every entry has
_HEAD_BYTES = 20 + 1 + 64 + 1
MOST_ANSWERS = 100_000  # whose model and classes an open log knows


@dataclass(frozen=True)
class Fault:
    """Where a log is not what was written.

    Attributes:
        line: from 1; 0 where the head file is at fault.
        why: in words.
    """

    line: int
    why: str


@dataclass(frozen=True)
class Answered:
    """What an answer in the log was of.

    Attributes:
        model: its identity.
        classes: that the model tells apart.
    """

    model: str
    classes: tuple[str, ...]


def digest_of(entry: Mapping[str, Any]) -> str:
    """sha256 in hex of an entry without its own hash; keys sorted, no blanks."""
    rest = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(_canonical(rest).encode()).hexdigest()


def entry_id(entry: Mapping[str, Any]) -> str:
    """The short name of an entry that answers and reports carry."""
    return f"{entry['n']}-{entry['hash'][:12]}"


def answer_entry(
    answer: Prediction, who: str, route: str, model: str, sha256: str, frame: int | None = None
) -> dict[str, Any]:
    """What an answer's entry states besides what `AuditLog.append` adds.

    Args:
        who: asked.
        route: by which way, such as ``/v1/predict``.
        model: its identity.
        sha256: of the input.
        frame: of a file with several, from 0.
    """
    output: dict[str, Any] = {"error": answer.error}
    if not answer.error:
        output = {"predicted": answer.predicted, "probabilities": answer.by_class}
    return {
        "kind": "answer",
        "who": who,
        "route": route,
        "model": model,
        "input": sha256,
        "frame": frame,
        "output": output,
    }


def head_path(path: Path) -> Path:
    return path.with_name(path.name + ".head")


class AuditLog:
    """A log that is open for appending, by one process at a time.

    Opening settles what a killed process has left: half a last line is cut off, and whole lines
    behind the head file's count are taken up. Both are stated in an entry of kind ``recovered``.

    Args:
        path: of the log; made where it is not there.

    Raises:
        UserError: another process has it open, it is broken, or it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._file = AppendFile(self.path, "audit log")
        self.count, self.last = 0, START
        self._answers: OrderedDict[str, Answered] = OrderedDict()
        self._kinds: dict[Answered, Answered] = {}  # one object for all answers of a model
        try:
            self._head = os.open(head_path(self.path), os.O_RDWR | os.O_CREAT, 0o600)
            self._settle()
        except OSError as error:
            self._file.close()
            raise UserError(f"{head_path(self.path)} cannot be written") from error
        except UserError:
            self.close()
            raise

    def append(self, entries: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write entries; they are on disk when this returns.

        Args:
            entries: each with ``kind`` and whatever it states; number, time and hashes are added.

        Returns:
            The id of each.

        Raises:
            DiskFullError: they could not be written, and none of them is in the log.
        """
        with self._lock:
            made, last = [], self.last
            for number, entry in enumerate(entries, start=self.count + 1):
                whole = {"n": number, "when": _now(), "previous": last, **entry}
                whole["hash"] = last = digest_of(whole)
                made.append(whole)
            self._file.append("".join(_canonical(entry) + "\n" for entry in made).encode())
            self.count, self.last = self.count + len(made), last
            self._write_head()
            self._learn(made)
            return [entry_id(entry) for entry in made]

    def answered(self, id: str) -> Answered | None:
        """The model and the classes of an answer by its entry's id; None where no answer with
        probabilities has it, or more than `MOST_ANSWERS` came after it."""
        with self._lock:
            return self._answers.get(id)

    def close(self) -> None:
        with self._lock:
            self._file.close()
            os.close(self._head)

    def _learn(self, entries: Iterable[Mapping[str, Any]]) -> None:
        for entry in entries:
            classes = tuple((entry.get("output") or {}).get("probabilities") or ())
            if entry["kind"] == "answer" and classes:
                found = Answered(entry["model"], classes)
                self._answers[entry_id(entry)] = self._kinds.setdefault(found, found)
                if len(self._answers) > MOST_ANSWERS:
                    self._answers.popitem(last=False)

    def _write_head(self) -> None:
        """In place, not by `atomic_write`: 86 bytes of one block for every batch of answers, whose
        length never changes, so that a full disk cannot stop it once the file is there."""
        os.pwrite(self._head, f"{self.count:020d} {self.last}\n".encode(), 0)
        os.fsync(self._head)

    def _settle(self) -> None:
        """Find the end of the log, and put right what a kill between two writes left.

        Raises:
            UserError: the log is broken in another way.
        """
        lines = self._file.lines
        head = read_head(self.path) if os.fstat(self._head).st_size else None
        faults = list(check_entries(lines))
        if head is not None and not faults:
            faults += check_head(head, hashes_of(lines), strict=False)
        if head is None and lines and not faults:
            faults.append(Fault(0, f"{head_path(self.path).name} is missing"))
        if faults:
            raise UserError(
                f"audit log {self.path}, line {faults[0].line}: {faults[0].why}; keep it as "
                "evidence and give another --audit-log"
            )
        self._file.cut_half_line()
        self.count = len(lines)
        self.last = json.loads(lines[-1])["hash"] if lines else START
        self._learn(map(json.loads, lines[-MOST_ANSWERS:]))
        behind, cut = self.count - (head[0] if head else 0), self._file.cut
        self._file.lines = []
        self._write_head()
        if behind or cut:
            self.append([{"kind": "recovered", "entries_past_head": behind, "bytes_cut": cut}])


def hashes_of(lines: Sequence[str]) -> list[str]:
    """The hash of each entry of a log whose chain holds."""
    return [json.loads(line)["hash"] for line in lines]


def check_entries(lines: Sequence[str]) -> Iterator[Fault]:
    """Faults of a log's lines, in their order: changed, dropped, inserted, or no entry at all."""
    last = START
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_json(line, any_text=True)
            known = isinstance(entry, dict) and all(key in entry for key in _KEYS)
        except ValueError:
            known = False
        if not known:
            yield Fault(number, "is no entry of an audit log")
            return
        if digest_of(entry) != entry["hash"] or _canonical(entry) != line:
            yield Fault(number, f"entry {entry['n']} was changed: its hash is another")
        elif entry["previous"] != last or entry["n"] != number:
            yield Fault(number, f"entry {entry['n']} does not follow: a line is missing or added")
        last = entry["hash"]


def check_head(head: tuple[int, str], hashes: Sequence[str], strict: bool) -> Iterator[Fault]:
    """Faults that the head file shows in a log whose chain holds.

    Args:
        head: number of entries and hash of the last one.
        hashes: of the log's entries.
        strict: entries behind the head are a fault too.
    """
    count, last = head
    if len(hashes) < count:
        yield Fault(len(hashes), f"the tail is cut: {count} entries were written")
    elif last != (hashes[count - 1] if count else START):
        yield Fault(count, f"entry {count} is not the one that the head file names")
    elif strict and len(hashes) > count:
        yield Fault(
            count + 1,
            f"{len(hashes) - count} entries stand behind the {count} of the head file: added, or "
            "the server was killed between two writes (its next start then records them)",
        )


def read_head(path: Path) -> tuple[int, str]:
    """Number of entries and last hash by the head file of a log.

    Raises:
        UserError: the file is missing or is something else.
    """
    head = head_path(path)
    try:
        text = head.read_text(encoding="ascii")
        count, last = text.split()
        if len(text) == _HEAD_BYTES and len(last) == 64:
            return int(count), last
    except FileNotFoundError:
        raise MissingFileError(f"no head file {head}; without it a cut tail cannot show") from None
    except ValueError:
        pass
    raise UserError(f"head file {head} is broken; restore it from a copy")


def verify(path: str | Path, noted: str = "") -> tuple[int, list[Fault]]:
    """Check a log.

    Args:
        path: of the log, with its head file beside it.
        noted: a hash that some entry must have.

    Returns:
        Number of lines, and what is wrong with them.

    Raises:
        UserError: no log, or no head file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no audit log {path}")
    text = path.read_bytes().decode("utf-8", "replace")
    lines = text.split("\n")
    half = lines.pop()
    faults = list(check_entries(lines))
    if half:
        faults.append(Fault(len(lines) + 1, "the last line has no end"))
    if not faults:
        hashes = hashes_of(lines)
        faults += check_head(read_head(path), hashes, strict=True)
        if noted and noted not in hashes:
            faults.append(Fault(0, f"no entry has the hash {noted}: this is another chain"))
    return len(lines), faults


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip audit-log") -> int:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["verify"], help="check every line")
    parser.add_argument("file", metavar="FILE", type=Path, help="the log that a server wrote")
    parser.add_argument("--head", default="", metavar="HASH", help="a hash that must be in it")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    count, faults = verify(args.file, args.head)
    for fault in faults:
        print(f"{args.file}, line {fault.line}: {fault.why}")
    if faults:
        return 1
    print(f"{args.file}: {count} entries, none changed, dropped or added")
    if count:
        print(f"head {read_head(args.file)[1]}")
    return 0


def _canonical(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    sys.exit(cli_main(main))
