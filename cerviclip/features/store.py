"""Frozen features on disk, stored once per weights, preprocessing, kind and image content.

The store is a folder of spaces. A space is one (weights, preprocessing, kind, precision, device,
number format); its rows are keyed by the SHA-256 of an image's bytes and a view's number, so a
changed weight file, transform or image never meets an old row. Rows lie in immutable shards (see
`features.shards`): any number of processes may write at once, and a kill leaves every finished
shard in place. A process compares a shard with its checksum before it first uses it. A lock is
held only while shards are dropped or merged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.data.files.hashes import image_hashes
from cerviclip.environment import cache_folder
from cerviclip.features.shards import (
    SUFFIX,
    DamagedShardError,
    Shard,
    make_key,
    open_shard,
    write_shard,
)
from cerviclip.locks import locked
from cerviclip.shapes import parse_json
from dassl.errors import UserError
from dassl.utils.files import atomic_write

DEFAULT_MAX_BYTES = 20 * 2**30
DTYPES = ("float16", "bfloat16")
_VERSION = "v1"
_MERGE_ABOVE = 64  # shards in a space, most of them small: one per few-shot draw
_SMALL_SHARD = 4 * 2**20
_LEFTOVER_SECONDS = 3600.0


@dataclass(frozen=True)
class Space:
    """Everything besides the image that a stored row depends on."""

    weights_sha256: str
    arch: str
    preprocess: str  # version and every parameter of the transform, as text
    kind: str  # "pooled", "unprojected", "patches" or "hidden:K"
    precision: str = "fp32"
    device: str = "cpu"  # kernels of other devices round differently
    dtype: str = "float16"

    @property
    def id(self) -> str:
        """Folder name: a hash of all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Index:
    """The open shards of one space and where each key lies.

    Args:
        folder: the space's.
        tend: name damaged shards in a warning and remove them; else they are only left out.
    """

    def __init__(self, folder: Path, tend: bool = True) -> None:
        self.folder, self.tend = folder, tend
        self.shards: dict[str, Shard] = {}
        self.where: dict[bytes, tuple[str, int]] = {}
        self.used: dict[str, float] = {}
        self.bad: set[str] = set()  # shards that cannot be read

    def refresh(self) -> None:
        """Open shards that appeared since the last look, forget those that are gone."""
        try:
            names = {e.name for e in os.scandir(self.folder) if e.name.endswith(SUFFIX)}
        except OSError:  # not made yet, or not to be made
            names = set()
        self.forget(self.shards.keys() - names)
        for name in sorted(names - self.shards.keys()):
            self.open(name)

    def open(self, name: str) -> None:
        if name in self.bad:
            return
        try:
            shard = open_shard(self.folder / name)
        except FileNotFoundError:  # another process dropped it
            return
        except DamagedShardError as error:
            self.drop_damaged(name, error)
            return
        except OSError as error:  # it may be whole: another process, or a later one, reads it
            self.bad.add(name)
            if self.tend:
                warnings.warn(f"features cannot be read and are computed: {error}", stacklevel=2)
            return
        self.shards[name] = shard
        self._register(name, shard)

    def check(self, keys: Iterable[bytes]) -> None:
        """Compare with their checksums the shards that hold these keys, each once per process."""
        unchecked = {place[0] for key in keys if (place := self.where.get(key))}
        while unchecked:
            for name in unchecked:
                try:
                    self.shards[name].check()
                except DamagedShardError as error:
                    self.drop_damaged(name, error)
            places = (self.where.get(key) for key in keys)  # another shard may hold the same keys
            unchecked = {p[0] for p in places if p and not self.shards[p[0]].checked}

    def drop_damaged(self, name: str, error: Exception) -> None:
        """Forget a damaged shard and remove it: its rows count as absent, and are computed anew."""
        self.bad.add(name)
        self.forget({name})
        if self.tend:
            warnings.warn(f"damaged features are removed and computed again: {error}", stacklevel=2)
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()

    def forget(self, gone: Iterable[str]) -> None:
        """Take shards out; what other shards hold of their keys comes from there."""
        lost = [self.shards.pop(name) for name in gone if name in self.shards]
        for shard in lost:
            for key in shard.keys:
                if self.where.get(key, ("", 0))[0] == shard.path.name:
                    del self.where[key]
        if lost:
            for name, shard in self.shards.items():
                self._register(name, shard)

    def _register(self, name: str, shard: Shard) -> None:
        for row, key in enumerate(shard.keys):
            self.where.setdefault(key, (name, row))


class FeatureStore:
    """Rows of 16-bit numbers by (space, image hash, view), bounded in bytes.

    Args:
        root: folder; None takes ``$CERVICLIP_CACHE`` or ``~/.cache/cerviclip``.
        max_bytes: size at which the shards used longest ago are dropped; None takes
            ``$CERVICLIP_CACHE_BYTES`` (such as ``8G``) or 20 GiB.
    """

    def __init__(self, root: str | Path | None = None, max_bytes: int | None = None) -> None:
        self.root = Path(root) if root is not None else cache_folder()
        self.max_bytes = default_max_bytes() if max_bytes is None else int(max_bytes)
        self.folder = self.root / "features" / _VERSION
        self.writable = True
        self.hashes = image_hashes(self.root)
        self._indices: dict[str, _Index] = {}
        self._swept: set[str] = set()

    # -- reading and writing rows ------------------------------------------------------------

    def contains(self, space: Space, keys: Sequence[bytes]) -> np.ndarray:
        """Which of the keys are stored, whole and right: booleans (len(keys),).

        The first use of a shard in a process reads all of it and compares its checksum. A damaged
        one is named in a warning and removed.
        """
        index = self._index(space)
        if any(key not in index.where for key in keys):
            index.refresh()  # another process may have written them meanwhile
        index.check(keys)
        return np.array([key in index.where for key in keys], dtype=bool)

    def release(self, space: Space) -> None:
        """Give back the memory of the rows read so far, which the caller has copied."""
        for shard in self._index(space).shards.values():
            shard.release()

    def get(self, space: Space, keys: Sequence[bytes]) -> tuple[np.ndarray | None, np.ndarray]:
        """Look rows up.

        Args:
            space: where to look.
            keys: from `make_key`.

        Returns:
            Rows (len(keys), ...) with zeros where a key is absent (None when all are), and a
            boolean array saying which are present.
        """
        present = self.contains(space, keys)
        index = self._index(space)
        places = [index.where.get(key) for key in keys]
        out: np.ndarray | None = None
        by_shard: dict[str, list[tuple[int, int]]] = {}
        for position, place in enumerate(places):
            if place is not None:
                by_shard.setdefault(place[0], []).append((position, place[1]))
        for name, pairs in by_shard.items():
            rows = index.shards[name].rows
            if out is None:
                out = np.zeros((len(keys), *rows.shape[1:]), rows.dtype)
            positions, numbers = np.array(pairs).T
            out[positions] = rows[numbers]
            self._touch(index, name)
        return out, present

    def put(self, space: Space, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Add rows as one shard. A store that cannot be written is reported once and then left
        alone."""
        if not self.writable or not len(keys):
            return
        index = self._index(space)
        try:
            self._make_space(index.folder, space)
            path = write_shard(index.folder, keys, rows)
            index.open(path.name)
            index.used[path.name] = time.time()
            self.hashes.flush()
            self.tidy(space)
        except OSError as error:
            self.writable = False
            warnings.warn(
                f"features are not stored: {self.root}: {error}; the work goes on without, and "
                "computes them again next time",
                stacklevel=2,
            )

    def _make_space(self, folder: Path, space: Space) -> None:
        """The folder of a space, with what its rows are of."""
        if folder.name not in self._swept:  # what killed writers left
            self._swept.add(folder.name)
            self._sweep_leftovers(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = folder / "space.json"
        if not described.exists():
            with atomic_write(described) as file:
                file.write(json.dumps(asdict(space), indent=1, sort_keys=True))

    # -- upkeep ------------------------------------------------------------------------------

    def tidy(self, space: Space | None = None) -> int:
        """Drop the shards used longest ago until the store fits, merge the small ones of ``space``.

        Returns:
            How many shards were dropped.
        """
        sizes = self._shard_stats()
        total = sum(size for _, size, _ in sizes)
        many = space is not None and len(self._index(space).shards) > _MERGE_ABOVE
        if total <= self.max_bytes and not many:
            return 0
        dropped = 0
        with locked(self.root / "lock"):
            if total > self.max_bytes:
                sizes = self._shard_stats()  # another process may have dropped some already
                total = sum(size for _, size, _ in sizes)
                for _, size, path in sorted(sizes):
                    if total <= self.max_bytes:
                        break
                    path.unlink(missing_ok=True)
                    total -= size
                    dropped += 1
            if many and space is not None:
                self._merge(self._index(space))
        for index in self._indices.values():
            index.refresh()
        return dropped

    def spaces(self) -> list[dict[str, Any]]:
        """One dict per space: its fields, ``id``, ``rows``, ``shards``, ``bytes``,
        ``used``."""
        found = []
        for folder in sorted(self.folder.glob("*/")):
            try:
                entry = dict(parse_json((folder / "space.json").read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                entry = {}
            shards = list(folder.glob(f"*{SUFFIX}"))
            index = _Index(folder, tend=False)
            index.refresh()
            stats = [path.stat() for path in shards]
            entry.update(
                id=folder.name,
                rows=len(index.where),
                shards=len(shards),
                bytes=sum(s.st_size for s in stats),
                used=max((s.st_mtime for s in stats), default=0.0),
            )
            found.append(entry)
        return found

    def remove(self, space_id: str) -> None:
        """Delete one space."""
        with locked(self.root / "lock"):
            shutil.rmtree(self.folder / space_id, ignore_errors=True)
        self._indices.pop(space_id, None)

    def verify(self, *, repair: bool = False) -> list[str]:
        """Read every row back against its checksum.

        Args:
            repair: delete damaged shards (their rows are encoded anew when next asked for).

        Returns:
            One line per damaged shard.
        """
        problems = []
        for path in sorted(self.folder.glob(f"*/*{SUFFIX}")):
            try:
                open_shard(path, verify=True)
            except FileNotFoundError:
                continue
            except (DamagedShardError, OSError) as error:
                problems.append(str(error))
                if repair:
                    path.unlink(missing_ok=True)
        return problems

    # -- inner parts -------------------------------------------------------------------------

    def _index(self, space: Space) -> _Index:
        index = self._indices.get(space.id)
        if index is None:
            index = self._indices[space.id] = _Index(self.folder / space.id)
            index.refresh()
        return index

    def _touch(self, index: _Index, name: str) -> None:
        """The shard's date is its last use; once a minute is often enough to order them."""
        now = time.time()
        if now - index.used.get(name, 0.0) > 60.0:
            index.used[name] = now
            with contextlib.suppress(OSError):
                os.utime(index.folder / name)

    def _shard_stats(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob(f"*/*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _sweep_leftovers(self, folder: Path) -> None:
        """Remove what writers of a space were writing when they were killed."""
        limit = time.time() - _LEFTOVER_SECONDS
        for path in (*folder.glob(".tmp-*"), *folder.glob(".*.tmp")):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    path.unlink()

    def _merge(self, index: _Index) -> None:
        """One shard in place of the many small ones. Killed half-way it leaves doubles, which do
        no harm."""
        index.refresh()
        index.check(  # else damage would get a checksum that fits it
            [k for s in index.shards.values() if s.rows.nbytes < _SMALL_SHARD for k in s.keys]
        )
        small = [
            n
            for n, s in index.shards.items()
            if s.rows.nbytes < _SMALL_SHARD and s.checked and s.keys
        ]
        keys = [
            k for n in small for k in index.shards[n].keys if index.where.get(k, ("", 0))[0] == n
        ]
        if len(small) < 2 or not keys:
            return
        rows = np.stack([index.shards[index.where[k][0]].rows[index.where[k][1]] for k in keys])
        write_shard(index.folder, keys, rows)
        for name in small:
            (index.folder / name).unlink(missing_ok=True)


def default_max_bytes() -> int:
    """``$CERVICLIP_CACHE_BYTES`` as a number with an optional K, M, G or T, or 20 GiB."""
    text = os.environ.get("CERVICLIP_CACHE_BYTES", "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.upper())
    if match is None:
        raise UserError(f"CERVICLIP_CACHE_BYTES={text!r} is not a size; write for instance 8G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2] or " "))


_stores: dict[tuple[str, int], FeatureStore] = {}


def get_store() -> FeatureStore:
    """This process's store: one per folder, shared by all runs of a sweep."""
    key = (str(cache_folder().absolute()), default_max_bytes())
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = FeatureStore(key[0], key[1])
    return store


__all__ = ["FeatureStore", "Space", "get_store", "make_key"]
