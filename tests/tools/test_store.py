"""tools/store.py: what it lists, removes and finds damaged."""

from __future__ import annotations

import importlib.util
import os
import time

import numpy as np
import pytest

from cerviclip.features.store import FeatureStore, Space, make_key
from dassl.errors import UserError


@pytest.fixture
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location("store_tool", repo_dir / "tools" / "store.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def filled() -> FeatureStore:
    store = FeatureStore()
    for kind in ("pooled", "patches"):
        space = Space("b" * 64, "ViT-B/16", "v1 Resize", kind)
        store.put(space, [make_key("0" * 64, 0)], np.ones((1, 4), np.float16))
    return store


def test_ls_names_what_is_there(tool, filled, capsys):
    assert tool.main(["ls"]) == 0
    out = capsys.readouterr().out
    assert "ViT-B/16" in out and "bbbbbbbb" in out and "pooled" in out and "total: 2 rows" in out


def test_rm_by_the_start_of_an_id(tool, filled, capsys):
    space = filled.spaces()[0]
    tool.main(["rm", space["id"][:8]])
    assert "removed 1 of 2" in capsys.readouterr().out
    assert [s["id"] for s in FeatureStore().spaces()] != [space["id"]]
    with pytest.raises(UserError, match="0 spaces"):
        tool.main(["rm", "zzz"])
    with pytest.raises(UserError, match="rm needs ids"):
        tool.main(["rm"])


def test_rm_unused_and_all(tool, filled):
    old = filled.spaces()[0]["id"]
    for path in (filled.folder / old).glob("*.shard"):
        os.utime(path, (time.time() - 10 * 86400,) * 2)
    tool.main(["rm", "--unused", "5"])
    assert old not in [s["id"] for s in FeatureStore().spaces()]
    tool.main(["rm", "--all"])
    assert FeatureStore().spaces() == []


def test_unpacked_pictures_are_listed_and_removed_too(tool, filled, capsys):
    old, new = (filled.root / "unpacked" / name for name in ("old-1", "new-2"))
    for folder, age in ((old, 10), (new, 0)):
        (folder / "train").mkdir(parents=True)
        for number in (1, 2):
            path = folder / "train" / f"{number}.png"
            path.write_bytes(b"x" * 1500)
            os.utime(path, (time.time() - age * 86400,) * 2)
    assert tool.main(["ls"]) == 0
    out = capsys.readouterr().out
    assert "unpacked/old-1  2 files  3.0 kB" in out and "and 6.0 kB unpacked (no bound)" in out
    tool.main(["rm", "--unused", "5"])
    assert not old.exists() and new.exists() and len(filled.spaces()) == 2
    tool.main(["rm", "unpacked/n"])
    assert "removed 1 of 3 spaces, 3.0 kB" in capsys.readouterr().out
    assert not new.exists() and len(filled.spaces()) == 2


def test_verify_finds_damage_and_repairs(tool, filled, capsys):
    assert tool.main(["verify"]) == 0
    path = next(filled.folder.glob("*/*.shard"))
    path.write_bytes(path.read_bytes()[:-1])
    assert tool.main(["verify"]) == 1
    assert "1 damaged shards" in capsys.readouterr().out
    assert tool.main(["verify", "--repair"]) == 0
    assert tool.main(["verify"]) == 0
