"""A tile of a slide and a frame of a DICOM file are pictures by their names, and by the API."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.parts.dicom import dicom_frames
from cerviclip.app.parts.names import Tile, is_there, split
from cerviclip.app.predict_command import find_pictures
from cerviclip.app.server.settings import Limits
from cerviclip.data.files.folders import Skipped
from dassl.errors import MissingFileError, UserError

pytest.importorskip("openslide")
pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (384, 512, 3), np.uint8)


@pytest.fixture(scope="module")
def slide(pixels, tmp_path_factory):
    """A pyramid of two levels."""
    path = tmp_path_factory.mktemp("slides") / "S1.tiff"
    options = {"photometric": "rgb", "tile": (64, 64)}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, subifds=0, **options)
        tiff.write(pixels[::2, ::2].copy(), subfiletype=1, **options)
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A DICOM file of three grey frames; its path, and the frames."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    frames = np.random.default_rng(1).integers(0, 255, (3, 40, 48), np.uint8)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path_factory.mktemp("scans") / "scan.dcm"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    file.Rows, file.Columns, file.NumberOfFrames = 40, 48, 3
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = frames.tobytes()
    file.save_as(path)
    return path, frames


def test_a_tile_is_the_slides_pixels(predictor, slide, pixels):
    whole = predictor.predict(pixels[100:164, 40:120])
    half = predictor.predict(pixels[::2, ::2][50:82, 20:60].copy())
    said = predictor.predict([f"{slide}#40,100,80,64", f"{slide}#40,100,40,32,1"])
    for one, truth in zip(said, (whole, half), strict=True):
        assert not one.error
        np.testing.assert_allclose(one.probabilities, truth.probabilities, rtol=0, atol=1e-6)
    assert said[0].path == f"{slide.as_posix()}#40,100,80,64"


@pytest.mark.parametrize(
    "part, why",
    [
        ("500,0,40,40", "reaches beyond the slide, which has 512x384 px"),
        ("0,0,300,10,1", "has 256x192 px on this level"),
        ("0,0,10,10,7", "levels 0 to 1, and no 7"),
        ("0,0,0,10", "0x10 px is not taken"),
        ("0,0,99999,99999", "px is not taken"),
        ("0,0,10", "is no tile"),
        ("-1,0,10,10", "is no tile"),
    ],
)
def test_no_such_tile(predictor, slide, part, why):
    answer = predictor.predict(f"{slide}#{part}")
    assert why in answer.error and "\n" not in answer.error and not answer.probabilities


def test_a_frame_of_a_scan(predictor, scan, tmp_path):
    path, frames = scan
    said = predictor.predict([f"{path}#{n}" for n in range(3)])
    wanted = predictor.predict([np.repeat(f[..., None], 3, axis=2) for f in frames])
    assert [a.probabilities for a in said] == [a.probabilities for a in wanted]
    for part, why in (("#3", "3 frames, counted from 0, and no frame 3"), ("#x", "no number")):
        assert why in predictor.predict(f"{path}{part}").error
    assert "has 3 frames" in predictor.predict(path).error
    assert "choose one" in predictor.predict(path).error
    (tmp_path / "no.dcm").write_bytes(b"no scan")
    assert predictor.predict(tmp_path / "no.dcm").error


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colours_of_a_file_and_of_its_frames(scan, kind, frames):
    """A file whose frames were all read was turned from YBR into RGB twice."""
    import io

    import pydicom

    colour = (200, 60, 30)
    stored = Image.new("RGB", (6, 4), colour).convert("YCbCr" if kind == "YBR_FULL" else "RGB")
    file = pydicom.dcmread(scan[0])
    file.Rows, file.Columns, file.SamplesPerPixel, file.PlanarConfiguration = 4, 6, 3, 0
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PhotometricInterpretation, file.NumberOfFrames = kind, frames
    file.PixelData = np.asarray(stored).tobytes() * frames
    data = io.BytesIO()
    file.save_as(data)
    for only in (None, 0):
        read = dicom_frames(data.getvalue(), 10**6, 9, only)
        assert len(read) == (frames if only is None else 1)
        assert all(np.abs(frame.astype(int) - colour).max() <= 2 for frame in read)


def test_names(tmp_path, slide):
    odd = tmp_path / "a#1,2,3,4"
    odd.write_text("x")
    assert split(str(odd)) == (str(odd), "") and split("a.svs#1") == ("a.svs", "1")
    assert Tile.parse("1,2,3,4") == Tile(1, 2, 3, 4, 0) and Tile.parse("1,2,3,4,2").level == 2
    assert is_there(f"{slide}#0,0,1,1") and not is_there("gone.svs#0,0,1,1")
    found = find_pictures([f"{slide}#0,0,8,8"], Skipped())
    assert found == {f"{slide.as_posix()}#0,0,8,8": "S1.tiff#0,0,8,8"}
    with pytest.raises(MissingFileError):
        find_pictures(["gone.svs#0,0,8,8"], Skipped())
    with pytest.raises(UserError):
        Tile.parse("1,2,3")


def test_a_whole_slide_is_no_picture(predictor, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.svs")
    assert "name a tile" in predictor.predict(tmp_path / "a.svs").error


@pytest.fixture(scope="module")
def client(predictor, slide, tmp_path_factory):
    from starlette.testclient import TestClient

    from cerviclip.app.server.application import create_app
    from cerviclip.app.server.settings import Settings

    home = tmp_path_factory.mktemp("server")
    (slide.parent / "broken.tiff").write_bytes(b"nothing")
    (slide.parent.parent / "secret.tiff").write_bytes(slide.read_bytes())
    limits = Limits(pixels=10_000, files=3)
    settings = Settings(home / "a.jsonl", home / "j.jsonl", limits=limits, slides=slide.parent)
    with TestClient(create_app({"m": predictor}, settings)) as client:
        yield client


def test_tiles_by_the_api(client, predictor, slide):
    where = [{"x": 40, "y": 100, "width": 80, "height": 64}]
    where.append({"x": 0, "y": 0, "width": 40, "height": 32, "level": 1})
    said = client.post("/v1/tiles", json={"slide": "S1.tiff", "tiles": where})
    assert said.status_code == 200
    wanted = predictor.predict([f"{slide}#40,100,80,64", f"{slide}#0,0,40,32,1"])
    for number, (one, truth) in enumerate(zip(said.json()["answers"], wanted, strict=True), 1):
        assert one["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
        assert (one["file"], one["entry"] != "") == (number, True)


@pytest.mark.parametrize(
    "slide_name, tile, status",
    [
        ("gone.tiff", (0, 0, 8, 8), 404),
        ("../secret.tiff", (0, 0, 8, 8), 404),
        ("/etc/passwd", (0, 0, 8, 8), 404),
        ("a\0b", (0, 0, 8, 8), 404),
        ("broken.tiff", (0, 0, 8, 8), 422),
        ("S1.tiff", (510, 0, 8, 8), 422),
        ("S1.tiff", (0, 0, 200, 200), 413),
        ("S1.tiff", (0, 0, 0, 8), 422),
        ("S1.tiff", (-1, 0, 8, 8), 422),
    ],
)
def test_what_is_refused(client, slide_name, tile, status):
    tile = dict(zip(("x", "y", "width", "height"), tile, strict=True))
    said = client.post("/v1/tiles", json={"slide": slide_name, "tiles": [tile]})
    assert said.status_code == status, said.text
    many = client.post("/v1/tiles", json={"slide": "S1.tiff", "tiles": [tile] * 4})
    assert many.status_code in (413, 422)


def test_a_frame_by_the_api(client, predictor, scan):
    path, _ = scan
    files = [("files", ("scan.dcm", path.read_bytes()))]
    assert len(client.post("/v1/predict", files=files).json()["answers"]) == 3
    (one,) = client.post("/v1/predict", files=files, data={"frame": "2"}).json()["answers"]
    truth = predictor.predict(f"{path}#2")
    assert one["frame"] == 2 and one["probabilities"] == pytest.approx(truth.by_class, abs=1e-6)
    for frame in ("3", "x", "-1"):
        said = client.post("/v1/predict", files=files, data={"frame": frame})
        assert said.status_code == 422 and "frame" in said.json()["detail"]
    files = [("files", ("a.bmp", _bmp()))]
    assert client.post("/v1/predict", files=files, data={"frame": "0"}).status_code == 422


def _bmp() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "BMP")
    return buffer.getvalue()


def changed(scan, **elements) -> bytes:
    """The scan's first frame alone, with other elements; None takes one out."""
    import io

    import pydicom

    file = pydicom.dcmread(scan[0])
    file.NumberOfFrames, file.PixelData = 1, scan[1][0].tobytes()
    for name, value in elements.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    out = io.BytesIO()
    file.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "elements, why",
    [
        ({"PixelData": None}, r"no pixels \(PixelData\)"),
        ({"Rows": None}, "has no Rows; export it again"),
        ({"BitsStored": None, "PixelRepresentation": None}, "BitsStored, PixelRepresentation"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "RedPaletteColorLookupTableDescriptor"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "RescaleSlope is 0"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "WindowWidth is not above 0"),
        ({"WindowCenter": [5, 6], "WindowWidth": [4, 0]}, "WindowWidth is not above 0"),
        ({"PixelData": b"abcd"}, "cut off: 4 of 1920 bytes"),
    ],
)
def test_a_header_without_what_pixels_need_is_told_by_name(scan, elements, why):
    with pytest.raises(UserError, match=why):
        dicom_frames(changed(scan, **elements), 10**6, 1)


def test_bits_that_end_at_the_top_are_refused(scan):
    """pydicom cuts off the upper bits of such a file: a torn picture, and no error."""
    values = scan[1][0].astype(np.uint16) * 16
    deep = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 15}
    with pytest.raises(UserError, match="12 bits end at bit 15 of 16.*HighBit 11"):
        dicom_frames(changed(scan, PixelData=(values << 4).tobytes(), **deep), 10**6, 1)
    usual = changed(scan, PixelData=values.tobytes(), **deep | {"HighBit": 11})
    (frame,) = dicom_frames(usual, 10**6, 1)
    assert frame.min() == 0 and frame.max() == 255


def test_a_file_that_is_called_dcm_and_is_none_is_no_slide(predictor, tmp_path):
    (tmp_path / "no.dcm").write_bytes(b"no scan")
    assert "it is no DICOM file" in predictor.predict(tmp_path / "no.dcm").error
