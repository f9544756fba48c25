"""Arrays unpacked to pictures."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.data.files.unpacked import fingerprint, unpacked_folder, write_pictures
from dassl.errors import UserError
from dassl.utils.images import decode_image


def test_a_folder_is_named_by_what_its_source_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "cache"))
    a, b = tmp_path / "a.h5", tmp_path / "b.h5"
    a.write_bytes(bytes(3 * 2**20))
    b.write_bytes(bytes(3 * 2**20 + 1))
    assert fingerprint(a) != fingerprint(b)
    assert unpacked_folder(a).parent == tmp_path / "cache/unpacked"
    before = unpacked_folder(a).name.removeprefix("a")
    a.rename(tmp_path / "moved.h5")
    assert unpacked_folder(tmp_path / "moved.h5").name == f"moved{before}"


def test_only_absent_and_empty_pictures_are_asked_for(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert write_pictures(tmp_path, ["x/0.png", "x/1.png"], lambda path: pixels) == 2
    (tmp_path / "x/1.png").write_bytes(b"")
    asked = []
    assert (
        write_pictures(tmp_path, ["x/0.png", "x/1.png"], lambda p: asked.append(p) or pixels) == 1
    )
    assert asked == ["x/1.png"] and sorted(p.name for p in tmp_path.glob("x/*")) == [
        "0.png",
        "1.png",
    ]
    assert np.array_equal(decode_image(str(tmp_path / "x/1.png")), pixels)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot unpack.*CERVICLIP_CACHE"):
        write_pictures(tmp_path / "file", ["a.png"], lambda path: np.zeros((2, 2), np.uint8))
