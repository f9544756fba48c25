"""Content hashes of images, remembered by (path, size, mtime) across processes.

A second sweep over the same folder asks the file system for 800 sizes and dates instead of reading
800 images. Each process appends to a file of its own. A line begins with its checksum: one that a
kill has cut off, or that has a flipped bit, is not taken.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import zlib
from pathlib import Path

from cerviclip.data.images.facts import reading_of
from cerviclip.environment import cache_folder
from dassl.paths import is_dir

# A file changed again within the clock's grain keeps its size and date; so young ones are not
# remembered.
SETTLED_SECONDS = 2.0
_MERGE_ABOVE = 32


class HashCache:
    """SHA-256 of files, kept in ``folder``; ``None`` keeps them in this process only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.files_read = 0
        self._known: dict[tuple[str, int, int], str] = {}
        self._pending: list[str] = []
        self._name = uuid.uuid4().hex[:12]
        if folder is not None and is_dir(folder):
            self._load(folder)

    def sha256(self, path: str | os.PathLike[str]) -> str:
        """Hex SHA-256 of the file's bytes, read only when its size or date is new."""
        name = os.path.abspath(path)
        stat = os.stat(name)
        key = (name, stat.st_size, stat.st_mtime_ns)
        known = self._known.get(key)
        if known is None:
            with open(name, "rb") as file:
                known = hashlib.sha256(file.read()).hexdigest()
            self.files_read += 1
            if abs(time.time() - stat.st_mtime) > SETTLED_SECONDS:
                self._remember(key, known)
        return known

    def pixels(self, path: str) -> str:
        """What stands for an image as it is read: the hash of its bytes, and of the way they are
        read where that is more than decoding (turned, laid over a colour, scaled)."""
        digest, how = self.sha256(path), reading_of(path)
        return hashlib.sha256(f"{digest} {how}".encode()).hexdigest() if how else digest

    def flush(self) -> None:
        """Make what this process has learnt visible to others."""
        if not self._pending or self.folder is None:
            return
        # Named by process: a forked child must not write into its parent's file.
        target = self.folder / f"{os.getpid():x}-{self._name}.tsv"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(target, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write("".join(self._pending))
        except OSError:  # a full or read-only disk: the next process hashes again
            self.folder = None
        self._pending.clear()

    def _remember(self, key: tuple[str, int, int], digest: str) -> None:
        self._known[key] = digest
        name, size, mtime = key
        if self.folder is not None and "\n" not in name and "\t" not in name:
            self._pending.append(_line(key, digest))

    def _load(self, folder: Path) -> None:
        files = sorted(folder.glob("*.tsv"))
        for path in files:
            try:
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
            except OSError:
                continue
            for line in text.split("\n")[:-1]:  # what follows the last newline is a line cut off
                checksum, _, rest = line.partition("\t")
                if checksum == _checksum(rest):
                    digest, size, mtime, name = rest.split("\t", 3)
                    self._known[(name, int(size), int(mtime))] = digest
        if len(files) > _MERGE_ABOVE:
            self._merge(folder, files)

    def _merge(self, folder: Path, files: list[Path]) -> None:
        """Many small files into one. A file that a live process still appends to may go: at worst
        the images it names are hashed once more."""
        temporary = folder / f".tmp-{uuid.uuid4().hex}"
        try:
            with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as out:
                for key, digest in self._known.items():
                    out.write(_line(key, digest))
            os.replace(temporary, folder / f"merged-{uuid.uuid4().hex[:12]}.tsv")
            for path in files:
                path.unlink(missing_ok=True)
        except OSError:
            temporary.unlink(missing_ok=True)


def _line(key: tuple[str, int, int], digest: str) -> str:
    name, size, mtime = key
    rest = f"{digest}\t{size}\t{mtime}\t{name}"
    return f"{_checksum(rest)}\t{rest}\n"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


_caches: dict[str, HashCache] = {}


def image_hashes(root: Path | None = None) -> HashCache:
    """This process's hash cache: one per cache folder, shared by all runs of a sweep.

    Args:
        root: the cache's folder; None takes that of the environment.
    """
    folder = (root or cache_folder()).absolute() / "hashes"
    if str(folder) not in _caches:
        _caches[str(folder)] = HashCache(folder)
    return _caches[str(folder)]
