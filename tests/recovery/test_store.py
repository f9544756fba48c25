"""The feature store under damage, kills and full disks: never a wrong feature."""

from __future__ import annotations

import os
import warnings
from functools import partial

import numpy as np
import pytest
from recovery_fixtures import Life, disk, filled, read_only, until

from cerviclip.features import store as feature_store
from cerviclip.features.shards import SUFFIX
from cerviclip.features.store import FeatureStore, Space, make_key

SPACE = Space("a" * 64, "ViT-Tiny", "v1 Resize(32)", "pooled")


def keys_of(*numbers):
    return [make_key(f"{n:064x}", 0) for n in numbers]


def rows_of(*numbers, width=4):
    return np.stack([np.arange(n, n + width, dtype=np.float16) for n in numbers])


def filled_store(root, *groups):
    """A store with one shard for each group of numbers."""
    store = FeatureStore(root)
    for group in groups:
        store.put(SPACE, keys_of(*group), rows_of(*group))
    return store


def shards(store):
    return sorted(store.folder.glob(f"*/*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)


def right_or_absent(root, *numbers):
    """Which rows a new process finds; those must be right."""
    rows, present = FeatureStore(root).get(SPACE, keys_of(*numbers))
    for there, row, number in zip(present, () if rows is None else rows, numbers, strict=False):
        assert not there or np.array_equal(row, rows_of(number)[0])
    return present.tolist()


def test_a_flipped_bit_anywhere_gives_no_wrong_feature(tmp_path):
    store = filled_store(tmp_path, (1, 2))
    (path,) = shards(store)
    whole = path.read_bytes()
    bits = range(len(whole) * 8)
    lost = 0
    for bit in (*bits[::7], *bits[-128:]):  # each byte somewhere, the rows in full
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = right_or_absent(tmp_path, 1, 2)
        lost += found != [True, True]
        assert found == [True, True] or len(said) == 1
        assert path.exists() == (found == [True, True])
    assert lost > len(bits) // 14  # padding alone may be flipped unnoticed


@pytest.mark.parametrize("cut", [0, 3, 11, 40, 100, 140, -1])
def test_a_truncated_shard_is_removed_and_its_rows_are_made_again(tmp_path, cut):
    store = filled_store(tmp_path, (1, 2), (3,))
    path = shards(store)[0]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match=f"damaged features are removed.*{path.name}"):
        assert right_or_absent(tmp_path, 1, 2, 3) == [False, False, True]
    again = filled_store(tmp_path, (1, 2))
    assert right_or_absent(tmp_path, 1, 2, 3) == [True] * 3  # and not a word more
    assert again.verify() == [] and len(shards(again)) == 2


def test_what_another_shard_holds_too_is_taken_from_there(tmp_path):
    store = filled_store(tmp_path, (1, 2))
    filled_store(tmp_path)
    FeatureStore(tmp_path).put(SPACE, keys_of(2, 1), rows_of(2, 1))
    path = shards(store)[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    other = shards(store)[1]
    for first in (path, other):  # whichever of the two names comes first
        assert first.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert right_or_absent(tmp_path, 1, 2) == [True, True]


def test_merging_gives_damage_no_fresh_checksum(tmp_path, monkeypatch):
    store = filled_store(tmp_path, (1,), (2,), (3,))
    path = shards(store)[1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(feature_store, "_MERGE_ABOVE", 2)
    with pytest.warns(UserWarning, match="damaged features are removed"):
        filled_store(tmp_path, (4,))
    assert len(shards(store)) == 1
    assert right_or_absent(tmp_path, 1, 2, 3, 4) == [True, False, True, True]


def test_ls_and_verify_remove_nothing_unasked(tmp_path):
    store = filled_store(tmp_path, (1,))
    (path,) = shards(store)
    path.write_bytes(path.read_bytes()[:-1])
    assert store.spaces()[0]["rows"] == 0
    assert len(store.verify()) == 1 and path.exists()


def test_a_shard_that_cannot_be_opened_now_is_left_where_it_is(tmp_path, monkeypatch):
    store = filled_store(tmp_path, (1,))
    (path,) = shards(store)

    def refuse(*_, **__):
        raise OSError(24, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(feature_store, "open_shard", refuse)
        with pytest.warns(UserWarning, match="cannot be read and are computed"):
            assert right_or_absent(tmp_path, 1) == [False]
    assert right_or_absent(tmp_path, 1) == [True]


@pytest.mark.slow
def test_a_run_computes_damaged_features_again_and_says_so(tmp_path, monkeypatch, capsys):
    """The whole way: the same results, one line in the log, a store that is whole again."""
    import torch
    import yaml
    from recovery_fixtures import numbers

    import run_shell
    from cerviclip.features.source import clear_tables
    from dassl.errors import cli_main
    from helpers import tiny_clip_state_dict, write_images

    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path / "cells", dict.fromkeys(("red", "green"), 12), patients=6)
    torch.save(tiny_clip_state_dict(), tmp_path / "clip.pt")
    opts = {"DATASET.FOLDER": "cells", "DATASET.PATIENT_PATTERN": r"(P\d{7})",
            "DATASET.POSITIVE": ["red"], "DATALOADER.NUM_WORKERS": 0}  # fmt: skip
    plan = {"datasets": ["FolderDataset"], "trainers": ["LinearProbe"], "shots": [2], "seeds": [1],
            "backbone": "CLIP", "opts": opts}  # fmt: skip
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(plan))

    def sweep(out):
        argv = ["--sweep", str(tmp_path / "one.yaml"), "--root", str(tmp_path)]
        argv += ["--weights", str(tmp_path / "clip.pt")]
        assert cli_main(run_shell.main, [*argv, "--output-dir", str(tmp_path / out)]) == 0
        return numbers(tmp_path / out)

    first = sweep("first")
    store = FeatureStore(tmp_path / "cache")
    damaged = shards(store)
    assert damaged
    for n, path in enumerate(damaged):
        data = bytearray(path.read_bytes())
        data[-1] ^= 64
        path.write_bytes(data[: -1 if n % 2 else None])
    clear_tables()
    feature_store._stores.clear()
    with warnings.catch_warnings():  # said, not raised
        warnings.simplefilter("always")
        assert sweep("second") == first
    log = next((tmp_path / "second").rglob("log.txt")).read_text()
    said = [line for line in log.splitlines() if "damaged features are removed" in line]
    assert 1 <= len(said) <= len(damaged) and all("computed again" in line for line in said)
    assert FeatureStore(tmp_path / "cache").verify() == []


@pytest.mark.parametrize("pages", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_full_disk_costs_the_store_and_no_row(tmp_path, pages):
    root = tmp_path / "cache"
    numbers = [*range(600)]
    with disk(root, "2m"):
        store = filled_store(root, numbers[:10])
        with filled(root, 4096 * pages):
            with pytest.warns(UserWarning, match="No space left.*goes on without"):
                store.put(SPACE, keys_of(*numbers[10:]), rows_of(*numbers[10:]))
            store.put(SPACE, keys_of(*numbers[10:]), rows_of(*numbers[10:]))  # not said twice
            assert right_or_absent(root, *numbers[:20]) == [True] * 10 + [False] * 10
        assert not list(root.rglob(".tmp-*"))
        filled_store(root, numbers[10:])
        assert all(right_or_absent(root, *numbers))
        assert FeatureStore(root).verify() == []


def test_a_read_only_store_is_read_and_not_written(tmp_path):
    root = tmp_path / "cache"
    with disk(root, "1m"):
        filled_store(root, (1, 2))
        with read_only(root):
            assert right_or_absent(root, 1, 2) == [True, True]
            with pytest.warns(UserWarning, match="Read-only.*goes on without"):
                filled_store(root, (3,))
            (path,) = shards(FeatureStore(root))
        path.write_bytes(path.read_bytes()[:-1])
        with read_only(root), pytest.warns(UserWarning, match="damaged"):
            assert right_or_absent(root, 1, 2) == [False, False]
        assert path.exists()


def write(root, first, count):
    """Write rows one shard at a time, merging often, as many as come before the kill."""
    store = FeatureStore(root)
    for n in range(first, first + count):
        store.put(SPACE, keys_of(n), rows_of(n % 1000))
        (root / f"told_{n}").touch()
    return 0


def more_than(root, count):
    return len(list(root.glob("told_*"))) > count


@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_two_writers_killed_again_and_again(tmp_path, rounds, monkeypatch):
    monkeypatch.setattr(feature_store, "_MERGE_ABOVE", 8)
    (tmp_path / "cache").mkdir()
    root, told = tmp_path / "cache", set()
    for number in range(rounds):
        firsts = [10_000 * number + n for n in (0, 0, 5000)]
        lives = [Life(partial(write, root, first, 10**6)) for first in firsts]
        until(partial(more_than, root, 40 * (number + 1)))
        for life in lives:
            assert life.kill() == -9
        told = {int(path.name[5:]) for path in root.glob("told_*")}
        store = FeatureStore(root)
        rows, present = store.get(SPACE, keys_of(*sorted(told)))
        assert present.all()
        wanted = np.stack([rows_of(n % 1000)[0] for n in sorted(told)])
        assert np.array_equal(rows, wanted)
        assert store.verify() == []
    for path in root.rglob(".tmp-*"):  # hours later
        os.utime(path, (1, 1))
    FeatureStore(root).put(SPACE, keys_of(10**8), rows_of(1))
    assert not list(root.rglob(".tmp-*"))
