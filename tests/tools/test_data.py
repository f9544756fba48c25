"""``cerviclip data``: releases unpacked safely, verified, resumed and counted."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from data_fixtures import write_herlev

from cerviclip import plugins
from cerviclip.data.files import archives
from cerviclip.data.files.archives import check_hash, unpack
from cerviclip.data.release_notes import releases
from cerviclip.tools.data import main
from dassl.errors import UserError

MANY = 10**9
OWN = "Centers CervixOCTDomains FolderDataset HuaxiOCT MixedCenterOCT XiangyaOCT".split()


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """A zip of Herlev's layout, 56 cells and their segmentations."""
    folder = tmp_path_factory.mktemp("download")
    write_herlev(folder / "New database pictures")
    file = folder / "smear2005.zip"
    with zipfile.ZipFile(file, "w") as packed:
        for path in sorted((folder / "New database pictures").rglob("*.*")):
            packed.write(path, f"smear2005/{path.relative_to(folder).as_posix()}")
    return file


def test_every_release_has_an_entry():
    found = plugins.discover()["dataset"]
    ours = {n for n, entry in found.items() if Path(entry.source).parent.name == "datasets"}
    expected = {n for n in ours - set(OWN) if not n.startswith("Phantom")}
    assert set(releases()) == expected
    for name, release in releases().items():
        assert release.homepage and release.licence and release.tree, name
        assert not release.classes or sum(release.classes.values()) == release.images, name


def test_says_where_without_files(capsys):
    assert main(["Herlev"]) == 0
    said = capsys.readouterr().out
    assert "mde-lab" in said and "none stated" in said and "ROOT/herlev" in said
    with pytest.raises(UserError, match="no release is known"):
        main(["Herlew"])


def test_unpacks_resumes_and_counts(download, tmp_path, capsys):
    words = ["Herlev", "--root", str(tmp_path), str(download)]
    assert main(words) == 1  # 56 of 917 cells
    said = capsys.readouterr().out
    assert "112 files written, 0 were there" in said and "-861" in said and "no hash" in said
    gone = next(tmp_path.rglob("*.BMP"))
    content = gone.read_bytes()
    gone.unlink()
    assert main(words) == 1
    assert "1 files written, 111 were there" in capsys.readouterr().out
    assert gone.read_bytes() == content
    gone.write_bytes(b"other")
    with pytest.raises(UserError, match="another content"):
        main(words)


def tar_of(path, name, kind=tarfile.REGTYPE, link=""):
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"abc"))
    return path


@pytest.mark.parametrize("name", ["../x.bmp", "/etc/x.bmp", "a/../../x.bmp", "C:\\x.bmp", "..\\x"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(zipfile.ZipInfo(name), b"abc")
    for file in (tmp_path / "a.zip", tar_of(tmp_path / "a.tar.gz", name)):
        with pytest.raises(UserError, match="leads out"):
            unpack(file, tmp_path / "inner" / "home", MANY)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar.gz", "a.zip"]


def test_links_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with pytest.raises(UserError, match="link or device"):
            unpack(tar_of(tmp_path / "l.tar.gz", "a", kind, "/etc/passwd"), tmp_path / "h", MANY)
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="a link"):
        unpack(tmp_path / "l.zip", tmp_path / "h", MANY)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "out").symlink_to(tmp_path)
    with pytest.raises(UserError, match="behind a link"):
        unpack(tar_of(tmp_path / "t.tar.gz", "out/x"), tmp_path / "home", MANY)


def test_bombs_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_FREELY", 1000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros.bmp", bytes(4_000_000))
    with pytest.raises(UserError, match="grows beyond"):
        unpack(tmp_path / "b.zip", tmp_path / "h", MANY)
    with pytest.raises(UserError, match="grows beyond 2 bytes"):
        unpack(tar_of(tmp_path / "t.tar.gz", "x"), tmp_path / "h", 2)
    assert not list((tmp_path / "h").rglob("*.bmp"))


def test_hashes_and_broken_files(download, tmp_path):
    md5 = "0" * 32
    with pytest.raises(UserError, match="another release"):
        check_hash(download, md5)
    import hashlib

    check_hash(download, hashlib.sha256(download.read_bytes()).hexdigest())
    cut = tmp_path / "cut.zip"
    cut.write_bytes(download.read_bytes()[:500])
    with pytest.raises(UserError, match="download it again"):
        unpack(cut, tmp_path / "h", MANY)


def rar_of(path, name, content):
    """A rar file (version 3) with one stored member."""

    def block(kind, flags, body, data=b""):
        head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + data

    crc, size, text = zlib.crc32(content), len(content), name.encode()
    fixed = struct.pack("<IIBIIBBHI", size, size, 3, crc, 0, 20, 0x30, len(text), 0o100644)
    path.write_bytes(
        b"Rar!\x1a\x07\x00"
        + block(0x73, 0, bytes(6))
        + block(0x74, 0x8000, fixed + text, content)
        + block(0x7B, 0x4000, b"")
    )
    return path


def test_rar_is_read_alike(tmp_path):
    pytest.importorskip("rarfile")
    assert unpack(rar_of(tmp_path / "a.rar", "im_A/1.bmp", b"cell"), tmp_path / "h", MANY) == (1, 0)
    assert (tmp_path / "h/im_A/1.bmp").read_bytes() == b"cell"
    with pytest.raises(UserError, match="leads out"):
        unpack(rar_of(tmp_path / "b.rar", "../1.bmp", b"cell"), tmp_path / "h", MANY)
