"""An index of results.json files: what tables need of each, so that it is parsed once.

The files are the truth. A row holds for a file of the same size and times alone, and `Index.check`
compares contents; a row that does not hold is made anew, and so is the whole index where it cannot
be read. It lies in the cache folder: nobody who edits a folder of runs edits its index with it.
Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.environment import cache_folder
from cerviclip.runs.many.slim import slim_results
from cerviclip.runs.settings.folders import find_results
from cerviclip.shapes import plain_json

_VERSION = 3  # of what a row holds; another one begins anew
_TABLE = """CREATE TABLE IF NOT EXISTS results (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    sha256 BLOB, slim BLOB) WITHOUT ROWID"""
_ROW = "SELECT size, mtime_ns, ctime_ns, sha256, slim FROM results WHERE path = ?"
_WRITE = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)"
_BATCH = 2000


@dataclass(frozen=True)
class Found:
    """One file.

    Attributes:
        path: the results.json.
        results: as `slim_results` gives them; None where it cannot be read.
        error: why not.
        altered: its bytes differ from those that the index knows, its size and time do not.
    """

    path: Path
    results: dict[str, Any] | None
    error: Exception | None = None
    altered: bool = False


class Index:
    """The index of one folder of runs; a context manager that keeps what was read anew.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        name = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()
        self.file = cache_folder() / "results" / f"{name[:16]}.sqlite"
        self.new: list[tuple[Any, ...]] = []

    def __enter__(self) -> Index:
        self.database = self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._keep()
        self.database.close()

    def read(self, advance: Callable[[Any], object] = lambda _: None) -> Iterator[Found]:
        """Every run's results, sorted by path; a file is read where its size or times are new."""
        return self._all(False, advance)

    def check(self, advance: Callable[[Any], object] = lambda _: None) -> Iterator[Found]:
        """The same, but every file is read, and compared with what the index knows of it."""
        return self._all(True, advance)

    def _all(self, by_content: bool, advance: Callable[[Any], object]) -> Iterator[Found]:
        count = 0
        for path in find_results(self.root):
            yield self._found(path, by_content)
            advance(path)
            count += 1
        self._forget_gone(count)

    def _found(self, path: Path, by_content: bool) -> Found:
        key = os.fsencode(os.path.relpath(path, self.root))
        altered = False
        try:
            stat = os.stat(path)
            row = self._row(key)
            same = row is not None and row[:2] == (stat.st_size, stat.st_mtime_ns)
            if same and row[2] == stat.st_ctime_ns and not by_content:
                if (known := _unpacked(row[4])) is not None:
                    return Found(path, known)
            raw = path.read_bytes()
            digest = hashlib.sha256(raw).digest()
            altered = same and row[3] != digest
            results = slim_results(raw, path)
        except (OSError, ValueError) as error:  # a UserError is one
            return Found(path, None, error, altered)
        new = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest, _packed(results))
        # An altered file's row stays: else the next reading, for a table or an audit, would take
        # the new bytes for the ones that were always there.
        if row != new and not altered:
            self.new.append((key, *new))
            if len(self.new) >= _BATCH:
                self._keep()
        return Found(path, results, altered=altered)

    def _row(self, key: bytes) -> tuple[Any, ...] | None:
        try:
            return self.database.execute(_ROW, (key,)).fetchone()
        except sqlite3.Error:  # damaged: it is begun anew
            self.database.close()
            self.database = self._open(anew=True)
            return None

    def _keep(self) -> None:
        """Write what was read anew; where that cannot be, the next reading reads it again."""
        with suppress(sqlite3.Error):
            with self.database:
                self.database.executemany(_WRITE, self.new)
        self.new.clear()

    def _forget_gone(self, count: int) -> None:
        """Begin anew next time where most rows are of files that are gone."""
        self._keep()
        with suppress(sqlite3.Error):
            rows = self.database.execute("SELECT COUNT(*) FROM results").fetchone()[0]
            if rows > 2 * count + 100:
                with self.database:
                    self.database.execute("DELETE FROM results")

    def _open(self, anew: bool = False) -> sqlite3.Connection:
        """The file, made anew where it is of another version or none; one in memory where there
        can be no file."""
        for again in (anew, True):
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                if again:
                    self.file.unlink(missing_ok=True)
                database = sqlite3.connect(self.file, timeout=10)
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    database.close()
                    continue
                database.execute("PRAGMA synchronous = OFF")  # a torn one is begun anew
                database.execute(_TABLE)
                database.execute(f"PRAGMA user_version = {_VERSION}")
                return database
            except (OSError, sqlite3.Error):
                continue
        database = sqlite3.connect(":memory:")
        database.execute(_TABLE)
        return database


def _packed(results: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(results, separators=(",", ":")).encode(), 1)


def _unpacked(slim: bytes) -> dict[str, Any] | None:
    """What a row holds; None where it is damaged."""
    try:
        return plain_json(zlib.decompress(slim))
    except (zlib.error, ValueError, TypeError):
        return None
