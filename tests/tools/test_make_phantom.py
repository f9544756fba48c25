"""The command that renders phantoms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from cerviclip.data.phantoms import CENTRES
from cerviclip.tools import make_phantom
from dassl.errors import cli_main


@pytest.fixture(autouse=True)
def small_centres(monkeypatch):
    for name, centre in list(CENTRES.items()):
        small = replace(centre, patients=(1, 1, 1, 1, 1), frames=(1, 1))
        monkeypatch.setitem(CENTRES, name, small)


def test_centres_are_rendered_and_reported(tmp_path, capsys):
    assert make_phantom.main(["--root", str(tmp_path), "--centres", "mixed", "huaxi_b"]) == 0
    out = capsys.readouterr().out
    assert "mixed: 5 patients, 5 frames" in out and "huaxi_b: 5 patients" in out
    assert (tmp_path / "phantom" / "huaxi_b" / "phantom.json").is_file()


def test_an_unknown_centre_is_one_line(tmp_path, capsys):
    arguments = ["--root", str(tmp_path), "--centres", "mars"]
    assert cli_main(make_phantom.main, arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "no phantom centre mars" in err
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_shows_every_class(tmp_path):
    path = tmp_path / "sheet.png"
    assert make_phantom.main(["--sheet", str(path), "--centres", "mixed"]) == 0
    with Image.open(path) as sheet:
        assert sheet.mode == "L" and sheet.height > 5 * 224
