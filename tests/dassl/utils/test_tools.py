"""Small helpers."""

from __future__ import annotations

import pathlib

import pytest
import torch

from dassl.utils import (
    check_isfile,
    collect_env_info,
    download_url,
    get_most_similar_str_to_a_from_b,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    tolist_if_not,
    write_json,
)


def test_json_goes_round(tmp_path):
    path = str(tmp_path / "sub" / "split.json")
    write_json({"train": [["a.png", 0, "normal"]]}, path)
    assert read_json(path) == {"train": [["a.png", 0, "normal"]]}
    assert pathlib.Path(path).read_text().startswith('{\n    "train"')


def test_mkdir_twice_and_check_isfile(tmp_path):
    mkdir_if_missing(str(tmp_path / "a" / "b"))
    mkdir_if_missing(str(tmp_path / "a" / "b"))
    (tmp_path / "f").touch()
    assert check_isfile(str(tmp_path / "f"))
    with pytest.warns(UserWarning, match="No file found"):
        assert not check_isfile(str(tmp_path / "g"))


@pytest.mark.parametrize("sort", [False, True])
def test_listing_is_sorted_and_without_hidden(tmp_path, sort):
    for name in ("b", ".hidden", "a", "c"):
        (tmp_path / name).touch()
    assert listdir_nohidden(str(tmp_path), sort=sort) == ["a", "b", "c"]


def test_listing_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr("os.listdir", lambda path: ["z", "a", ".x", "m"])
    assert listdir_nohidden(str(tmp_path)) == ["a", "m", "z"]


def test_nearest_string():
    assert get_most_similar_str_to_a_from_b("RandomSampler1", ["SeqSampler", "RandomSampler"]) == (
        "RandomSampler"
    )
    assert get_most_similar_str_to_a_from_b("x", []) is None


def test_tolist():
    assert tolist_if_not(3) == [3]
    assert tolist_if_not([3]) == [3]
    assert tolist_if_not((3,)) == [(3,)]


def test_env_info_even_when_torch_cannot_tell(monkeypatch):
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: 1 / 0, raising=False)
    info = collect_env_info()
    assert f"PyTorch version: {torch.__version__}" in info and "Pillow (" in info


def test_download_is_whole_or_absent(tmp_path, capfd):
    source = tmp_path / "source.bin"
    source.write_bytes(b"x" * 3_000_000)
    download_url(source.as_uri(), str(tmp_path / "got" / "file.bin"))
    assert (tmp_path / "got" / "file.bin").read_bytes() == source.read_bytes()
    assert "100%" in capfd.readouterr().err
    with pytest.raises(OSError):
        download_url((tmp_path / "absent").as_uri(), str(tmp_path / "got" / "other"))
    assert not (tmp_path / "got" / "other").exists()
