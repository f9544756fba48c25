"""The command that renders phantoms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from cerviclip.data.phantoms import CENTERS
from cerviclip.tools import make_phantom
from dassl.errors import cli_main


@pytest.fixture(autouse=True)
def small_centers(monkeypatch):
    for name, center in list(CENTERS.items()):
        small = replace(center, patients=(1, 1, 1, 1, 1), frames=(1, 1))
        monkeypatch.setitem(CENTERS, name, small)


def test_centers_are_rendered_and_reported(tmp_path, capsys):
    assert make_phantom.main(["--root", str(tmp_path), "--centers", "mixed", "huaxi_b"]) == 0
    out = capsys.readouterr().out
    assert "mixed: 5 patients, 5 frames" in out and "huaxi_b: 5 patients" in out
    assert (tmp_path / "phantom" / "huaxi_b" / "phantom.json").is_file()


def test_an_unknown_center_is_one_line(tmp_path, capsys):
    arguments = ["--root", str(tmp_path), "--centers", "mars"]
    assert cli_main(make_phantom.main, arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "no phantom centre mars" in err
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_shows_every_class(tmp_path):
    path = tmp_path / "sheet.png"
    assert make_phantom.main(["--sheet", str(path), "--centers", "mixed"]) == 0
    with Image.open(path) as sheet:
        assert sheet.mode == "L" and sheet.height > 5 * 224
