"""The gray of a JPEG's lost data is told from a gray margin."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from planted_faults import picture, write_clean

from cerviclip.data.checks.lost_rows import lost_rows
from cerviclip.data.checks.run import check_survey
from cerviclip.data.checks.survey import survey_folder

WAYS = {
    "usual": {},
    "whole colours": {"subsampling": 0},
    "optimal codes": {"optimize": True},
    "restarts": {"restart_marker_blocks": 5},
}


def photograph(number: int, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(picture(number, 160)).crop((0, 0, 160, 140)).convert(mode)


def with_bar(image: Image.Image, height: int) -> Image.Image:
    gray = 128 if image.mode == "L" else (128, 128, 128)
    wider = Image.new(image.mode, (image.width, image.height + height), gray)
    wider.paste(image)
    return wider


def encoded(image: Image.Image, kind: str = "JPEG", **way: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **way)
    return stream.getvalue()


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9"


def found(data: bytes) -> tuple[int, bool]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return lost_rows(image, data if image.format == "JPEG" else b"")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_file_that_lacks_data_is_told_from_a_margin(mode, way):
    for number in range(1, 7):
        image = photograph(number, mode)
        assert found(encoded(image, **way)) == (0, False)
        for height in (8, 13, 16, 40):
            assert found(encoded(with_bar(image, height), **way)) == (0, False)
        for share in (0.5, 0.6, 0.75):
            rows, lacks = found(cut(encoded(image, **way), share))
            assert rows >= 8
            assert lacks


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_cut_file_that_was_saved_anew_is_found_by_its_step(mode, kind):
    for number in (1, 2, 3, 4, 6, 7):  # cut within a row of blocks, as most are
        data = cut(encoded(photograph(number, mode)), 0.55 + number / 50)
        with Image.open(io.BytesIO(data)) as image:
            anew = encoded(image.convert(mode), kind)
        rows, lacks = found(anew)
        assert rows >= 8
        assert not lacks


def test_gray_beside_or_around_the_picture_is_no_lost_data():
    padded = Image.new("RGB", (192, 192), (128, 128, 128))
    padded.paste(photograph(1))  # gray on the right and below
    disc = np.full((160, 160, 3), 128, np.uint8)
    y, x = np.mgrid[:160, :160]
    for lowest in range(120, 136):
        disc[:] = 128
        inside = (x - 80) ** 2 + (y - lowest + 80) ** 2 < 80**2
        disc[inside] = picture(2, 160)[inside]
        assert found(encoded(Image.fromarray(disc), "PNG")) == (0, False)
    for kind in ("PNG", "JPEG"):
        assert found(encoded(padded, kind)) == (0, False)


def test_the_same_step_in_many_whole_files_is_something_that_lies_there(tmp_path):
    folder = write_clean(tmp_path / "set")

    def kinds() -> dict[str, list[str]]:
        findings = check_survey(survey_folder(folder, r"(P\d+)"), alike=False).findings
        return {finding.kind: list(finding.paths) for finding in findings}

    for number in range(901, 905):
        pixels = picture(number)
        pixels[48:] = 128
        pixels[40:48, 32:] = 128
        Image.fromarray(pixels).save(folder / f"train/alpha/P{number}.png")
    assert "lost_rows" not in kinds()
    data = cut(encoded(Image.fromarray(picture(905))), 0.6)
    (folder / "train/alpha/P905.jpg").write_bytes(data)
    assert kinds()["lost_rows"] == ["train/alpha/P905.jpg"]


def test_one_step_in_a_whole_file_is_named_as_saved_anew(tmp_path):
    folder = write_clean(tmp_path / "set")
    pixels = picture(901)
    pixels[48:] = 128
    pixels[40:48, 32:] = 128
    Image.fromarray(pixels).save(folder / "train/alpha/P901.png")
    found = check_survey(survey_folder(folder, r"(P\d+)"), alike=False).findings
    texts = [finding.text for finding in found if finding.kind == "lost_rows"]
    assert len(texts) == 1
    assert "1 of them saved anew" in texts[0]
