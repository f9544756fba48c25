"""Atomic files and hashes."""

from __future__ import annotations

import hashlib
import os

import pytest

from dassl.utils import atomic_write, file_sha256


def test_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    with atomic_write(path) as handle:
        handle.write("one\n")
    with pytest.raises(RuntimeError), atomic_write(path) as handle:
        handle.write("two")
        raise RuntimeError("power cut")
    assert path.read_text() == "one\n"
    assert os.listdir(path.parent) == ["a.txt"]


def test_bytes_and_wrong_mode(tmp_path):
    with atomic_write(tmp_path / "b", "wb") as handle:
        handle.write(b"\0\r\n")
    assert (tmp_path / "b").read_bytes() == b"\0\r\n"
    with pytest.raises(ValueError, match="'a'"), atomic_write(tmp_path / "b", "a"):
        pass


def test_hash_follows_the_content(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    path.write_bytes(b"abcd")
    assert file_sha256(str(path)) == hashlib.sha256(b"abcd").hexdigest()
