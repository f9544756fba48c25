"""Names of files that are there, are not there, or that no file can have."""

from __future__ import annotations

import os

import pytest

from dassl.paths import at_home, can_be_written, exists, is_dir, is_file


def test_files_folders_and_what_is_not_there(tmp_path):
    (tmp_path / "a.txt").touch()
    assert is_file(tmp_path / "a.txt") and not is_dir(tmp_path / "a.txt")
    assert is_dir(str(tmp_path)) and not is_file(str(tmp_path))
    assert exists(tmp_path / "a.txt") and exists(tmp_path)
    assert not any(ask(tmp_path / "absent") for ask in (is_file, is_dir, exists))


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300, "a/" * 3000, "a\0b"])
@pytest.mark.parametrize("ask", [is_file, is_dir, exists])
def test_a_name_that_no_file_can_have_is_not_there(ask, name):
    assert ask(name) is False


def test_the_home_folder_of_a_user_and_of_nobody(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert str(at_home("~/a")) == "/home/ann/a" and str(at_home("a~/b")) == "a~/b"
    assert str(at_home("~no-such-user/a")) == "~no-such-user/a"


def test_texts_that_no_file_could_hold():
    assert can_be_written("é 日本 \U0001f600") and not can_be_written("a\0b")
    assert not can_be_written("\ud800")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_not_called_absent(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PermissionError):
        is_file(tmp_path / "closed" / "a.txt")
