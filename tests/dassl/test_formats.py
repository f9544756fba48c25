"""Which formats are let at a file, whatever its name says."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dassl.errors import UserError
from dassl.formats import FORMATS
from dassl.utils.images import read_image

REPO = Path(__file__).resolve().parents[2]

_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
_PSD = b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x08\0\0\0\x08\0\x08\0\3" + bytes(12 + 2 + 3 * 64)


def _picture():
    return Image.fromarray(np.full((8, 8, 3), 90, np.uint8))


@pytest.mark.parametrize("ending", sorted({end for ends in FORMATS.values() for end in ends}))
def test_each_ending_is_read(ending, tmp_path):
    path = tmp_path / f"cell.{ending}"
    _picture().save(path, {"jfif": "JPEG", "jpe": "JPEG"}.get(ending))
    assert np.abs(np.asarray(read_image(str(path))).astype(int) - 90).max() <= 1


@pytest.mark.parametrize("content", [_EPS, _PSD], ids=["eps", "psd"])
def test_a_file_that_would_reach_another_plug_in_is_refused(content, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: ran.append(a))
    path = tmp_path / "cell.png"
    path.write_bytes(content)
    with Image.open(path) as image:  # Pillow itself takes both, whatever the name says
        assert image.format in ("EPS", "PSD")
    with pytest.raises(UserError, match=r"cell\.png.*no image of a format that is read: PNG, "):
        read_image(str(path))
    assert not ran


def test_no_other_place_lets_pillow_choose():
    own = {  # they open what this program wrote itself
        "cerviclip/data/phantoms/store.py",
        "cerviclip/data/variants/corruptions.py",
        "cerviclip/report/writers/pdf.py",
        "dassl/utils/deep_images.py",
    }
    found = set()
    for package in ("dassl", "cerviclip", "datasets", "trainers"):
        for file in (REPO / package).rglob("*.py"):
            if re.search(
                r"(?<!`)\bImage\.open\((?!.*formats=\((?:kind|\"JPEG\"))", file.read_text("utf-8")
            ):
                found.add(file.relative_to(REPO).as_posix())
    assert found == own
