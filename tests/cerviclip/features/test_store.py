"""The store on disk: keys, several writers, kills, bounds, damage."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cerviclip.features import store as feature_store
from cerviclip.features.shards import SUFFIX
from cerviclip.features.store import FeatureStore, Space, default_max_bytes, make_key
from dassl.errors import UserError

SPACE = Space("a" * 64, "ViT-Tiny", "v1 Resize(32)", "pooled")


def keys_of(*numbers: int) -> list[bytes]:
    return [make_key(f"{n:064x}", 0) for n in numbers]


def rows_of(*numbers: int, width: int = 8) -> np.ndarray:
    return np.stack([np.full(width, n, np.float16) for n in numbers])


def test_rows_come_back_in_the_order_asked_for(tmp_path):
    FeatureStore(tmp_path).put(SPACE, keys_of(1, 2, 3), rows_of(1, 2, 3))
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(4), rows_of(4))
    rows, present = store.get(SPACE, keys_of(4, 2, 9, 3))
    assert present.tolist() == [True, True, False, True]
    assert rows[:, 0].tolist() == [4, 2, 0, 3]


def test_rows_are_mapped_not_read(tmp_path):
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(1), rows_of(1))
    (index,) = store._indices.values()
    (shard,) = index.shards.values()
    assert isinstance(shard.rows, np.memmap)


@pytest.mark.parametrize("field", [f for f in Space.__dataclass_fields__ if f != "dtype"])
def test_nothing_is_found_once_any_part_of_the_key_changed(tmp_path, field):
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(1), rows_of(1))
    other = replace(SPACE, **{field: "other"})
    assert other.id != SPACE.id
    assert not store.contains(other, keys_of(1)).any()
    assert not store.contains(SPACE, [make_key(f"{1:064x}", 1)]).any()


def test_another_process_sees_new_rows_without_reopening(tmp_path):
    reader = FeatureStore(tmp_path)
    assert not reader.contains(SPACE, keys_of(5)).any()
    FeatureStore(tmp_path).put(SPACE, keys_of(5), rows_of(5))
    assert reader.contains(SPACE, keys_of(5)).all()


def test_a_key_in_two_shards_outlives_either(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path)
    for _ in range(2):  # as two processes that encode the same image write it
        store.put(SPACE, keys_of(1), rows_of(1))
    (index,) = store._indices.values()
    first = index.where[keys_of(1)[0]][0]
    (index.folder / first).unlink()
    store.contains(SPACE, keys_of(2))  # looks at the folder again
    assert store.contains(SPACE, keys_of(1)).all()
    rows, present = store.get(SPACE, keys_of(1))
    assert present.all() and rows[0, 0] == 1
    monkeypatch.setattr(feature_store, "_MERGE_ABOVE", 1)
    for n in (2, 3):
        store.put(SPACE, keys_of(n), rows_of(n))
    assert store.contains(SPACE, keys_of(1, 2, 3)).all()
    assert len(index.shards) == 1


def write_many(root: Path, first: int, count: int, told) -> None:
    store = FeatureStore(root)
    for n in range(first, first + count):
        store.put(SPACE, keys_of(n), rows_of(n % 1000))
        told.put(n)


def start_writer(root: Path, first: int, count: int):
    context = multiprocessing.get_context("fork")  # quick: nothing is imported again
    told = context.SimpleQueue()
    writer = context.Process(target=write_many, args=(root, first, count, told))
    writer.start()
    return writer, told


def test_several_writers_at_once_lose_nothing(tmp_path):
    # More shards than a space keeps apart, so that merging runs among the writers too.
    writers = [start_writer(tmp_path, n, 40) for n in (0, 20, 100)]
    for writer, _ in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = FeatureStore(tmp_path)
    wanted = [*range(60), *range(100, 140)]
    rows, present = store.get(SPACE, keys_of(*wanted))
    assert present.all()
    assert rows[:, 0].tolist() == wanted
    assert store.verify() == []


def test_a_writer_killed_in_the_middle_leaves_whole_shards(tmp_path):
    writer, told = start_writer(tmp_path, 0, 10**6)
    stored = [told.get() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    store = FeatureStore(tmp_path)
    assert store.contains(SPACE, keys_of(*stored)).all()
    assert store.verify() == []


def test_a_shard_cut_short_counts_as_absent_and_verify_finds_it(tmp_path):
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(1), rows_of(1))
    store.put(SPACE, keys_of(2), rows_of(2))
    path = sorted(store.folder.glob(f"*/*{SUFFIX}"))[0]
    path.write_bytes(path.read_bytes()[:-3])
    again = FeatureStore(tmp_path)
    assert "cut short" in again.verify()[0]
    with pytest.warns(UserWarning, match="cut short"):
        assert again.contains(SPACE, keys_of(1, 2)).sum() == 1
    path.write_bytes(b"CCLIPFS1")
    assert "not a shard" in again.verify(repair=True)[0]
    assert again.verify() == []


def test_a_flipped_bit_is_found_by_verify(tmp_path):
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(1), rows_of(1))
    (path,) = store.folder.glob(f"*/*{SUFFIX}")
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    assert "do not match their checksum" in store.verify()[0]


def test_the_oldest_use_goes_first_and_the_bound_holds(tmp_path):
    store = FeatureStore(tmp_path, max_bytes=10**9)
    for n in range(4):
        store.put(SPACE, keys_of(n), rows_of(n, width=1000))
    paths = sorted(store.folder.glob(f"*/*{SUFFIX}"), key=lambda p: p.stat().st_mtime_ns)
    for age, path in zip((400, 300, 200, 100), paths, strict=True):
        os.utime(path, (time.time() - age,) * 2)
    later = FeatureStore(tmp_path, max_bytes=10**9)
    later.get(SPACE, keys_of(0))  # the oldest is used again
    later.max_bytes = 3 * paths[0].stat().st_size
    later.put(SPACE, keys_of(7), rows_of(7, width=1000))
    assert later.contains(SPACE, keys_of(0, 1, 2, 3, 7)).tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert sum(p.stat().st_size for p in store.folder.glob(f"*/*{SUFFIX}")) <= later.max_bytes


def test_many_small_shards_are_merged(tmp_path):
    store = FeatureStore(tmp_path)
    count = feature_store._MERGE_ABOVE + 2
    for n in range(count):
        store.put(SPACE, keys_of(n), rows_of(n))
    assert len(list(store.folder.glob(f"*/*{SUFFIX}"))) < 5
    rows, present = store.get(SPACE, keys_of(*range(count)))
    assert present.all() and rows[:, 0].tolist() == list(range(count))
    fresh, _ = FeatureStore(tmp_path).get(SPACE, keys_of(*range(count)))
    assert np.array_equal(fresh, rows)


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "below")
    with pytest.warns(UserWarning, match="features are not stored"):
        store.put(SPACE, keys_of(1), rows_of(1))
    store.put(SPACE, keys_of(1), rows_of(1))  # silent from then on
    assert not store.contains(SPACE, keys_of(1)).any()


def test_spaces_and_remove(tmp_path):
    store = FeatureStore(tmp_path)
    store.put(SPACE, keys_of(1, 2), rows_of(1, 2))
    (entry,) = store.spaces()
    assert (entry["rows"], entry["kind"], entry["arch"]) == (2, "pooled", "ViT-Tiny")
    store.remove(entry["id"])
    assert store.spaces() == [] and not store.contains(SPACE, keys_of(1)).any()


def test_size_from_the_environment(monkeypatch):
    monkeypatch.setenv("CERVICLIP_CACHE_BYTES", "1.5G")
    assert default_max_bytes() == int(1.5 * 2**30)
    monkeypatch.setenv("CERVICLIP_CACHE_BYTES", "many")
    with pytest.raises(UserError, match="CERVICLIP_CACHE_BYTES='many'"):
        default_max_bytes()
