"""Rows for lists of images: from this process's tables, from the store, or freshly encoded."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cerviclip.features.encode import FrozenEncoder, to_tensor
from cerviclip.features.pixels import ImageView, PixelReader
from cerviclip.features.store import FeatureStore, Space, get_store, make_key
from dassl.errors import UserError
from dassl.utils.distributed import own_share, wait_for_all, world_size

TABLE_BYTES = 2 * 2**30  # of all tables of this process
# A run has a table for each of its lists (train, val, test, centres), a sweep those of many draws.
# A draw comes back only with the next trainer, and is then read from the store in milliseconds.
TABLE_COUNT = 12
_FLUSH_BYTES = 64 * 2**20  # a kill loses at most this much encoding, or this many seconds of it
_FLUSH_SECONDS = 20.0


class Table:
    """The rows of a list of images, in memory.

    Args:
        rows: (N, V, ...) in the store's number format.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.views = rows.shape[1]
        self.nbytes = rows.numel() * rows.element_size()

    def gather(self, index: Tensor, view: Tensor | int = 0) -> Tensor:
        """Rows (B, ...) of the images ``index`` (B,), in float32."""
        return self.rows[index, view].float()


class StoredTable:
    """The same over memory-mapped shards, for lists that are larger than memory should hold."""

    def __init__(self, store: FeatureStore, space: Space, keys: list[list[bytes]]) -> None:
        self.store, self.space, self.keys = store, space, keys
        self.views = len(keys[0])
        self.nbytes = 0

    def gather(self, index: Tensor, view: Tensor | int = 0) -> Tensor:
        views = view.tolist() if isinstance(view, Tensor) else [view] * len(index)
        keys = [self.keys[i][v] for i, v in zip(index.tolist(), views, strict=True)]
        return to_tensor(_all_rows(self.store, self.space, keys)).float()


class _Tables:
    """Tables by content, the longest unused dropped first."""

    def __init__(self) -> None:
        self.items: OrderedDict[tuple, Table] = OrderedDict()

    def get(self, key: tuple) -> Table | None:
        table = self.items.get(key)
        if table is not None:
            self.items.move_to_end(key)
        return table

    def add(self, key: tuple, table: Table) -> None:
        self.items[key] = table
        total = sum(t.nbytes for t in self.items.values())
        while (total > TABLE_BYTES or len(self.items) > TABLE_COUNT) and len(self.items) > 1:
            total -= self.items.popitem(last=False)[1].nbytes


_tables = _Tables()


def clear_tables() -> None:
    """Forget every table of this process."""
    _tables.items.clear()


class FeatureSource:
    """One kind of feature of one backbone behind one transform.

    Args:
        encoder: makes the rows.
        transform: image to pixels; random where ``views`` > 1.
        views: rows per image. 1 means that ``transform`` is deterministic.
        store: None takes this process's.
        counts: ``hits`` (rows found), ``misses`` (rows encoded) are added here.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        transform: Callable,
        views: int = 1,
        store: FeatureStore | None = None,
        counts: Counter | None = None,
    ) -> None:
        encoder.check_views(views)
        self.encoder = encoder
        self.reader = PixelReader(transform, seeded=views > 1)
        self.views = views
        self.store = get_store() if store is None else store
        self.counts = Counter() if counts is None else counts
        self.space = encoder.space(f"{'view' if views > 1 else 'plain'} {self.reader.text}")

    def table(self, paths: Sequence[str]) -> Table | StoredTable:
        """The rows of these images, encoding those that nobody has encoded yet.

        Of several processes each encodes its part, and finds the rest in the store.
        """
        if world_size() > 1:
            if own := [paths[n] for n in own_share(len(paths))]:
                self._table(own)
            wait_for_all()
        return self._table(paths)

    def _table(self, paths: Sequence[str]) -> Table | StoredTable:
        hashes = [self.encoder.content_of(path, self.store.hashes) for path in paths]
        self.store.hashes.flush()
        number = len(hashes) * self.views
        content = hashlib.sha256("".join(hashes).encode()).hexdigest()
        memo = (str(self.store.root), self.space.id, self.views, content)
        table = _tables.get(memo)
        if table is not None:
            self.counts["hits"] += number
            return table
        keys = [[make_key(h, v) for v in range(self.views)] for h in hashes]
        places = {key: (n, v) for n, row in enumerate(keys) for v, key in enumerate(row)}
        unique = list(places)  # the same image twice is encoded once
        present = self.store.contains(self.space, unique)
        missing = [key for key, there in zip(unique, present, strict=True) if not there]
        self.counts["hits"] += number - len(missing)
        self.counts["misses"] += len(missing)
        wanted = [
            ImageView(paths[n], hashes[n], view) for n, view in (places[key] for key in missing)
        ]
        fresh = self._encode_missing(missing, wanted)
        kept = self._in_memory(unique, present, fresh)
        if kept is None:
            return StoredTable(self.store, self.space, keys)
        position = {key: i for i, key in enumerate(unique)}
        order = torch.tensor([[position[key] for key in row] for row in keys])
        table = Table(to_tensor(kept)[order])
        _tables.add(memo, table)
        return table

    def _in_memory(
        self, unique: list[bytes], present: np.ndarray, fresh: np.ndarray | None
    ) -> np.ndarray | None:
        """Stored and fresh rows in the order of ``unique``; None where they lie on disk and are too
        many for memory."""
        if present.all() or fresh is not None:
            old = [key for key, there in zip(unique, present, strict=True) if there]
            sample = self.store.get(self.space, old[:1])[0] if old else fresh
            assert sample is not None
            if sample[:1].nbytes * len(unique) <= TABLE_BYTES or not self.store.writable:
                out = np.empty((len(unique), *sample.shape[1:]), sample.dtype)
                if old:
                    out[present] = _all_rows(self.store, self.space, old)
                    self.store.release(self.space)
                if fresh is not None:
                    out[~present] = fresh
                return out
        return None

    def _encode_missing(self, keys: list[bytes], views: list[ImageView]) -> np.ndarray | None:
        """Encode and store; the rows too, unless they are stored and too many for memory."""
        rows, since = _GrowingRows(len(keys)), time.monotonic()
        for batch in self.encoder.rows_of_files(self.reader, views):
            if not rows.has_room(batch):
                self._store(keys, rows)
                rows.make_room(batch, for_all=not self.store.writable)
            rows.add(batch)
            if rows.waiting_bytes > _FLUSH_BYTES or time.monotonic() - since > _FLUSH_SECONDS:
                self._store(keys, rows)
                since = time.monotonic()
        self._store(keys, rows)
        return rows.whole()

    def _store(self, keys: list[bytes], rows: _GrowingRows) -> None:
        if rows.waiting_bytes:
            place, new = rows.take_waiting()
            self.store.put(self.space, keys[place], new)


class _GrowingRows:
    """Freshly encoded rows in one array, all of them or as many as memory should hold.

    One small array for each batch would lie among the encoder's large ones and keep the allocator
    from using their memory again: 40,000 views took 11 GB in this way.

    Args:
        total: rows that will come.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.rows: np.ndarray | None = None
        self.first = 0  # which of the total the array's first row is
        self.filled = self.stored = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of rows that were not taken to the store."""
        return 0 if self.rows is None else self.rows[self.stored : self.filled].nbytes

    def has_room(self, batch: np.ndarray) -> bool:
        return self.rows is not None and self.filled + len(batch) <= len(self.rows)

    def make_room(self, batch: np.ndarray, for_all: bool) -> None:
        """An array for more rows; those that fill it were taken to the store.

        Args:
            for_all: keep all rows, however many, since the store cannot take them.
        """
        fit = max(len(batch), TABLE_BYTES // max(1, batch[:1].nbytes))
        old = self.rows
        if old is None or (for_all and self.first == 0):
            size = self.total if for_all else min(self.total, fit)
            self.rows = np.empty((size, *batch.shape[1:]), batch.dtype)
            if old is not None:
                self.rows[: self.filled] = old[: self.filled]
        else:
            self.first += self.filled
            self.filled = self.stored = 0

    def add(self, batch: np.ndarray) -> None:
        assert self.rows is not None
        self.rows[self.filled : self.filled + len(batch)] = batch
        self.filled += len(batch)

    def take_waiting(self) -> tuple[slice, np.ndarray]:
        """The rows that were not taken yet, and which of the total they are."""
        assert self.rows is not None
        new = slice(self.first + self.stored, self.first + self.filled)
        rows = self.rows[self.stored : self.filled]
        self.stored = self.filled
        return new, rows

    def whole(self) -> np.ndarray | None:
        """All rows; None where there are none, or where some were let go."""
        return self.rows if self.rows is not None and self.filled == self.total else None


def _all_rows(store: FeatureStore, space: Space, keys: list[bytes]) -> np.ndarray:
    rows, present = store.get(space, keys)
    if rows is None or not present.all():
        raise _too_small(store)
    return rows


def _too_small(store: FeatureStore) -> UserError:
    return UserError(
        f"features in {store.root} were dropped while in use: its limit of "
        f"{store.max_bytes / 2**30:.1f} GiB is too small for this run; raise CERVICLIP_CACHE_BYTES"
    )
