"""Content hashes: read once, across processes, and never stale."""

from __future__ import annotations

import hashlib
import os
import time

from cerviclip.data.files import hashes
from cerviclip.data.files.hashes import HashCache


def old_file(path, content: bytes):
    path.write_bytes(content)
    os.utime(path, (time.time() - 100,) * 2)
    return path


def test_a_second_process_reads_no_file(tmp_path):
    image = old_file(tmp_path / "a.png", b"one")
    first = HashCache(tmp_path / "hashes")
    digest = first.sha256(image)
    assert digest == hashlib.sha256(b"one").hexdigest()
    first.flush()
    second = HashCache(tmp_path / "hashes")
    assert second.sha256(image) == digest
    assert (first.files_read, second.files_read) == (1, 0)


def test_changed_content_is_read_again(tmp_path):
    image = old_file(tmp_path / "a.png", b"one")
    cache = HashCache(tmp_path / "hashes")
    cache.sha256(image)
    image.write_bytes(b"two")
    assert cache.sha256(image) == hashlib.sha256(b"two").hexdigest()


def test_a_file_written_just_now_is_not_remembered(tmp_path):
    # It could change again within the clock's grain, with the same size.
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    stat = image.stat()
    cache = HashCache(tmp_path / "hashes")
    cache.sha256(image)
    image.write_bytes(b"two")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.sha256(image) == hashlib.sha256(b"two").hexdigest()


def test_a_line_cut_off_is_left_out(tmp_path):
    folder = tmp_path / "hashes"
    image = old_file(tmp_path / "a.png", b"one")
    first = HashCache(folder)
    first.sha256(image)
    first.flush()
    (path,) = folder.glob("*.tsv")
    path.write_text(path.read_text()[:-4])
    assert HashCache(folder)._known == {}


def test_many_files_become_one(tmp_path):
    folder = tmp_path / "hashes"
    images = [old_file(tmp_path / f"{n}.png", b"%d" % n) for n in range(hashes._MERGE_ABOVE + 1)]
    for image in images:
        cache = HashCache(None)
        cache.folder = folder
        cache.sha256(image)
        cache.flush()
    HashCache(folder)
    assert len(list(folder.glob("*.tsv"))) == 1
    last = HashCache(folder)
    for image in images:
        last.sha256(image)
    assert last.files_read == 0


def test_without_a_folder_it_still_hashes(tmp_path):
    image = old_file(tmp_path / "a.png", b"one")
    assert HashCache(None).sha256(image) == hashlib.sha256(b"one").hexdigest()
