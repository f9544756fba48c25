"""Atomic files and hashes."""

from __future__ import annotations

import errno
import hashlib
import io
import os

import pytest
import torch

from dassl.utils import atomic_write, file_sha256
from dassl.utils.files import is_temporary, remove_temporaries


def test_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    with atomic_write(path) as handle:
        handle.write("one\n")
    with pytest.raises(RuntimeError), atomic_write(path) as handle:
        handle.write("two")
        raise RuntimeError("power cut")
    assert path.read_text() == "one\n"
    assert os.listdir(path.parent) == ["a.txt"]


class FullDisk(io.RawIOBase):
    """A file whose disk takes nothing more."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("write", [lambda h: h.write(b"x"), lambda h: torch.save({"a": 1}, h)])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, write):
    """torch.save hides the error of the disk behind one of its own."""
    path = tmp_path / "m.pth"
    with pytest.raises(OSError, match="No space left.*m.pth"), atomic_write(path, "wb"):
        write(FullDisk())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", [".", "/", "sub", "sub/.."])
def test_a_folder_is_not_written_over(tmp_path, monkeypatch, place):
    """``.`` and ``/`` have no name that a temporary file could be called after."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with pytest.raises(IsADirectoryError) as error, atomic_write(place):
        pass
    assert error.value.filename == place.rstrip("/") or place == "/"
    assert os.listdir(tmp_path) == ["sub"] and os.listdir(tmp_path / "sub") == []


def test_files_that_killed_processes_were_writing(tmp_path):
    with atomic_write(tmp_path / "a.b") as _:
        [name] = os.listdir(tmp_path)
        assert is_temporary(name) and not is_temporary("a.b") and not is_temporary(".a.tmp")
    (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["a.b"]


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
