"""Tables of features: what is encoded, what is found, and that neither changes a number."""

from __future__ import annotations

import errno
import os
import time
import weakref
from functools import lru_cache
from types import SimpleNamespace

import pytest
import torch
from torchvision import transforms as T

from cerviclip.features import source
from cerviclip.features.encode import FrozenEncoder
from cerviclip.features.source import FeatureSource, StoredTable, Table, clear_tables
from cerviclip.features.store import FeatureStore
from cerviclip.vlm.towers.openai import build_backbone
from helpers import tiny_clip_state_dict, write_images

PLAIN = T.Compose([T.Resize(32), T.CenterCrop(32), T.ToTensor()])
CROP = T.Compose([T.RandomResizedCrop(32), T.ToTensor()])


@pytest.fixture
def place(tmp_path):
    clear_tables()
    paths = [str(p) for p in write_images(tmp_path / "images", {"a": 7, "b": 6})]
    for path in paths:
        os.utime(path, (time.time() - 100,) * 2)
    yield SimpleNamespace(root=tmp_path / "cache", paths=paths)
    clear_tables()


@lru_cache
def backbone(seed: int = 0, sha: str = "0" * 64):
    return build_backbone(
        "CLIP", tiny_clip_state_dict(seed=seed), source="tiny", weights_sha256=sha
    )


def make(place, kind="pooled", transform=PLAIN, views=1, model=None, **store) -> FeatureSource:
    encoder = FrozenEncoder(model or backbone(), kind)
    return FeatureSource(encoder, transform, views, FeatureStore(place.root, **store))


def rows(table) -> torch.Tensor:
    number = len(table.rows) if isinstance(table, Table) else len(table.keys)
    return torch.stack([table.gather(torch.arange(number), v) for v in range(table.views)], 1)


@pytest.mark.parametrize(("transform", "views"), [(PLAIN, 1), (CROP, 3)])
def test_fresh_stored_and_tabled_rows_are_the_same_bits(place, transform, views):
    first = make(place, transform=transform, views=views)
    fresh = rows(first.table(place.paths))
    assert dict(first.counts) == {"hits": 0, "misses": 13 * views}
    assert torch.equal(rows(first.table(place.paths)), fresh)  # this process's table
    clear_tables()
    second = make(place, transform=transform, views=views)
    assert torch.equal(rows(second.table(place.paths)), fresh)
    assert second.counts["misses"] == 0
    clear_tables()
    some = make(place, transform=transform, views=views).table(place.paths[4:2:-1])
    assert torch.equal(rows(some), fresh[[4, 3]])


def test_a_half_filled_store_gives_what_an_empty_one_does(place):
    make(place).table(place.paths[2:5])
    mixed = make(place)
    result = rows(mixed.table(place.paths))
    assert mixed.counts["misses"] == 10
    clear_tables()
    place.root = place.root / "other"
    assert torch.equal(rows(make(place).table(place.paths)), result)


def test_the_same_image_twice_is_encoded_once(place):
    maker = make(place)
    table = maker.table([place.paths[0], place.paths[1], place.paths[0]])
    assert maker.counts["misses"] == 2
    assert torch.equal(table.rows[0], table.rows[2])


def test_changed_weights_transform_view_or_image_hit_no_old_entry(place):
    make(place).table(place.paths)

    def misses(maker: FeatureSource) -> int:
        clear_tables()
        maker.table(place.paths)
        return maker.counts["misses"]

    assert misses(make(place)) == 0
    assert misses(make(place, model=backbone(1, "1" * 64))) == 13
    assert (
        misses(make(place, transform=T.Compose([*PLAIN.transforms, T.Normalize(0.5, 0.5)]))) == 13
    )
    assert misses(make(place, transform=CROP, views=2)) == 26
    assert misses(make(place, kind="hidden:1")) == 13
    with open(place.paths[0], "ab") as file:
        file.write(b"changed")
    assert misses(make(place)) == 1


def test_a_list_larger_than_memory_is_read_from_the_store(place, monkeypatch):
    whole = rows(make(place, kind="hidden:1").table(place.paths))
    clear_tables()
    monkeypatch.setattr(source, "TABLE_BYTES", 13 * 16 * 64)
    table = make(place, kind="hidden:1").table(place.paths)
    assert isinstance(table, StoredTable)
    assert torch.equal(rows(table), whole)
    # Encoded anew and flushed on the way, so that it is never in memory as a whole.
    clear_tables()
    monkeypatch.setattr(source, "_FLUSH_BYTES", 1)
    place.root = place.root / "other"
    table = make(place, kind="hidden:1").table(place.paths)
    assert isinstance(table, StoredTable)
    assert torch.equal(rows(table), whole)


def test_tables_are_bounded_the_longest_unused_going_first(place, monkeypatch):
    maker = make(place)
    monkeypatch.setattr(source, "TABLE_BYTES", 2 * 3 * 32 * 2)
    for start in (0, 3, 0, 6):
        maker.table(place.paths[start : start + 3])
    assert len(source._tables.items) == 2
    kept = [key[-1] for key in source._tables.items]
    maker.table(place.paths[0:3])
    assert sorted(key[-1] for key in source._tables.items) == sorted(kept)


def test_a_store_that_cannot_be_written_still_gives_rows(place):
    whole = rows(make(place).table(place.paths))
    clear_tables()
    place.root.with_name("file").write_text("")
    place.root = place.root.with_name("file") / "below"
    with pytest.warns(UserWarning, match="not stored"):
        assert torch.equal(rows(make(place).table(place.paths)), whole)


def test_a_store_that_fills_up_leaves_the_rows_in_memory(place, monkeypatch):
    whole = rows(make(place).table(place.paths))
    clear_tables()
    place.root = place.root.with_name("other")
    monkeypatch.setattr(source, "TABLE_BYTES", 1)  # all rows are too many, were there a store
    monkeypatch.setattr("cerviclip.features.store.write_shard", _full)
    with pytest.warns(UserWarning, match="No space left"):
        assert torch.equal(rows(make(place).table(place.paths)), whole)


def _full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_encoders_arrays_are_let_go_at_once(place):
    """Kept until the end they split the memory that the encoder needs for each batch."""
    maker, made = make(place, transform=CROP, views=3), []
    encode = maker.encoder.rows_of_files

    def noting(reader, views):
        for batch in encode(reader, views):
            assert not any(ref() is not None for ref in made[:-1])
            made.append(weakref.ref(batch))
            yield batch

    maker.encoder.rows_of_files = noting
    maker.table(place.paths)
    assert len(made) == 5


def test_encoding_stored_in_pieces_survives_a_stop(place, monkeypatch):
    monkeypatch.setattr(source, "_FLUSH_BYTES", 1)
    maker = make(place)
    calls = []
    encode = maker.encoder._encode

    def failing(pixels):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(pixels)

    maker.encoder._encode = failing
    with pytest.raises(KeyboardInterrupt):
        maker.table(place.paths)
    after = make(place)
    after.table(place.paths)
    assert (after.counts["hits"], after.counts["misses"]) == (8, 5)
