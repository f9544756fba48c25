"""What strangers send is refused by name, and the server lives."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.parts import jpeg
from cerviclip.app.parts.dicom import DicomError, dicom_frames
from cerviclip.app.server.settings import Limits
from cerviclip.app.server.uploads import read_upload

sys.path.insert(0, str(Path(__file__).parent))
from hostile import (  # noqa: E402
    J2K,
    JPEG,
    RLE,
    bomb,
    codestream,
    dicom,
    fuzzed,
    grey,
    hostile,
    pages,
    picture,
    rle,
)

CASES = hostile()


@pytest.mark.parametrize("name", CASES)
def test_hostile_files_are_refused(client, name):
    data, status = CASES[name]
    answer = client.post("/v1/predict", files=[("files", ("a.png", data))])
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status and problem["detail"].startswith("file 1 ")
    assert "Zhang" not in answer.text and "1962" not in answer.text


def test_the_server_lives_after_all_of_them(client):
    answer = client.post("/v1/predict", files=[("files", ("a.png", picture()))])
    assert answer.status_code == 200 and client.get("/ready").status_code == 200


def test_limits_of_a_request(client):
    one = ("files", ("a.png", picture()))
    many = client.post("/v1/predict", files=[one] * 9)
    assert many.status_code == 413 and "at most 8 files" in many.json()["detail"]
    large = client.post("/v1/predict", content=b"x" * 400_001)
    assert large.status_code == 413
    parts = (b"x" * 100_000 for _ in range(10))  # chunked: no length is stated
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/predict", content=parts, headers=headers).status_code in (400, 413)
    pixels = [("files", ("a.jpg", picture("JPEG", (200, 200))))] * 3
    summed = client.post("/v1/predict", files=pixels)
    assert summed.status_code == 413 and "file 3 " in summed.json()["detail"]
    assert client.post("/v1/predict", json={}).status_code == 415
    assert client.post("/v1/predict", content=b"zz", headers=headers).status_code in (400, 422)
    assert client.post("/v1/predict", files=[("other", ("a", b"x"))]).status_code == 422


@pytest.mark.parametrize(
    "data",
    [
        picture("JPEG") + picture("JPEG", seed=1),  # as cameras append a preview
        picture("JPEG", progressive=True),
        picture("JPEG", exif=b"Exif\0\0" + picture("JPEG", (8, 8)) + b"<?php"),
        picture("BMP") + bytes(3),
        picture("TIFF", compression="tiff_lzw", description="<?xml version='1.0'?><OME/>"),
        dicom(preamble=b"II*\0\x08\0\0\0"),
    ],
)
def test_what_only_looks_like_two_kinds_is_taken(data):
    (upload,) = read_upload("", data, Limits(), None)
    assert upload.pixels.shape == (20, 24, 3)


def test_where_a_jpeg_ends():
    for more in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        data = picture("JPEG", (90, 70), exif=b"Exif\0\0" + picture("JPEG"), **more)
        assert jpeg.end(data + b"\xff\xd9 tail \xff\xd9") == len(data)
        assert jpeg.sizes(data) == [(90, 70)]
    assert jpeg.end(b"\xff\xd8 no segment \xff\xd9 tail") == 16


def test_pages_that_are_left_out_are_said(client):
    answer = client.post("/v1/predict", files=[("files", ("a.tif", pages("TIFF", 2)))])
    assert "page 1 of 2" in answer.json()["answers"][0]["note"]


def test_large_bodies_stay_off_the_disk(make_client, tmp_path, monkeypatch):
    import tempfile

    def rolled(self):
        raise AssertionError("an upload went to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rolled)
    with make_client(tmp_path) as client:
        data = picture("BMP", (1000, 900))
        assert len(data) > 2 * 1024 * 1024
        assert client.post("/v1/predict", files=[("files", ("a.bmp", data))]).status_code == 200


def test_dicom_frames_and_no_tag(client, predictor, caplog):
    data = dicom(frames=3)
    with caplog.at_level(logging.DEBUG, "cerviclip.server"):
        answer = client.post("/v1/predict", files=[("files", ("a.dcm", data))])
    said = answer.json()["answers"]
    assert [one["frame"] for one in said] == [0, 1, 2] and {one["file"] for one in said} == {1}
    assert "Zhang" not in answer.text + caplog.text
    values = (np.arange(3 * 480) % 251).astype(np.uint8).reshape(3, 20, 24)
    for one, frame in zip(said, values, strict=True):
        assert one["probabilities"] == pytest.approx(predictor.predict(frame).by_class, abs=1e-6)


def test_dicom_is_shown_as_its_tags_say():
    stored = (np.arange(480) % 251).astype(float).reshape(20, 24)
    (plain,) = dicom_frames(dicom(), 10**6, 1)
    assert (plain[..., 0] == stored).all()
    (inverted,) = dicom_frames(dicom(PhotometricInterpretation="MONOCHROME1"), 10**6, 1)
    assert (inverted[..., 1] == 255 - stored).all()
    (windowed,) = dicom_frames(dicom(WindowCenter=100, WindowWidth=50), 10**6, 1)
    # PS3.3 C.11.2.1.2.1, linear
    wanted = np.clip((stored - 99.5) / 49 + 0.5, 0, 1) * 255
    assert np.abs(windowed[..., 0] - wanted).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "name, words",
    [
        ("a DICOM around a large JPEG", "compressed with 999x99 px, and the header has 24x20"),
        ("a DICOM around a large JPEG 2000", "compressed with 99x99 px"),
        ("a DICOM around a large RLE", "more than the 24x20 px"),
        ("a DICOM of more frames than it says", "more than the 2 frames"),
    ],
)
@pytest.mark.parametrize("only", [None, 0])
def test_a_compressed_dicom_of_another_size_is_not_decoded(name, words, only):
    with pytest.raises(DicomError, match=words):
        dicom_frames(CASES[name][0], 10**6, 10, only)


def test_compressed_dicom_of_its_own_size_is_read():
    for syntax, data in ((JPEG, grey("JPEG")), (J2K, codestream()), (RLE, rle(480))):
        frames = dicom_frames(dicom(compressed=(syntax, [data] * 2), NumberOfFrames=2), 10**6, 2)
        assert [frame.shape for frame in frames] == [(20, 24, 3)] * 2
        if syntax == JPEG:
            assert (frames[1][..., 0] == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.slow
def test_500_fuzzed_uploads(client):
    statuses = {}
    for data in fuzzed(500):
        answer = client.post("/v1/predict", files=[("files", ("a.png", data))])
        assert answer.status_code < 500, answer.text
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert statuses[200] > 20 and statuses[422] > 20  # both kinds were met
    assert client.post("/v1/predict", files=[("files", ("a", bomb(9, 9)))]).status_code < 500
    assert client.get("/ready").status_code == 200
