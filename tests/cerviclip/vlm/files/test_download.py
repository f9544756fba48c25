from __future__ import annotations

import hashlib

import pytest

from cerviclip.backbones import names
from cerviclip.vlm import load_backbone
from cerviclip.vlm.files import download
from cerviclip.vlm.towers.clip_package import import_clip
from dassl.errors import MissingFileError, UserError


@pytest.fixture
def official(tmp_path, monkeypatch, files):
    """A stand-in for the official server: a folder laid out as its addresses are."""
    content = files["vit"].read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    server = tmp_path / "server"
    (server / sha256).mkdir(parents=True)
    (server / sha256 / "ViT-B-32.pt").write_bytes(content)
    monkeypatch.setitem(download.OPENAI_FILES, "ViT-B/32", ("ViT-B-32.pt", sha256))
    monkeypatch.setattr(download, "OPENAI_URL", server.as_uri())
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")
    return server / sha256 / "ViT-B-32.pt"


def test_names_and_hashes_are_those_of_the_clip_package():
    official = import_clip().clip._MODELS
    for name, (file, sha256) in names.OPENAI_FILES.items():
        assert official[name] == f"{names.OPENAI_URL}/{sha256}/{file}"


def test_downloads_once_to_where_the_clip_package_looks(official, tmp_path):
    path = download.openai_file("ViT-B/32")
    assert path == tmp_path / "cache" / "ViT-B-32.pt"
    assert path.read_bytes() == official.read_bytes()
    official.unlink()
    assert download.openai_file("ViT-B/32") == path
    assert [p.name for p in path.parent.iterdir()] == ["ViT-B-32.pt"]


def test_a_broken_download_leaves_nothing(official, tmp_path):
    official.write_bytes(b"half")
    with pytest.raises(UserError, match="arrived broken"):
        download.openai_file("ViT-B/32")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_put_there_by_hand_must_be_the_official_one(official, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "ViT-B-32.pt").write_bytes(b"other")
    with pytest.raises(UserError, match="not OpenAI's ViT-B-32.pt") as caught:
        download.openai_file("ViT-B/32")
    assert "--weights" in str(caught.value)


def test_offline_one_sentence_says_which_file_to_put_where(official, tmp_path):
    official.unlink()
    with pytest.raises(MissingFileError) as caught:
        load_backbone("ViT-B/32")
    words = str(caught.value)
    assert str(tmp_path / "cache" / "ViT-B-32.pt") in words and "--weights FILE" in words
    assert "\n" not in words and words.count("Error") <= 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_cache_folder_is_the_clip_packages():
    assert str(download.cache_dir()).endswith("/.cache/clip")
