"""Files that a stranger may send: name -> (bytes, the status that refuses them)."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

JPEG, J2K, RLE = (f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.90", "5"))  # transfer syntaxes


def picture(
    kind: str = "PNG", size: tuple[int, int] = (24, 20), seed: int = 0, dark=False, **save
) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    pixels *= not dark
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **save)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its few bytes do not have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a.txt", "hello")
    return buffer.getvalue()


def pages(kind: str, count: int) -> bytes:
    images = [Image.new("RGB", (20, 20), (i * 10, 0, 0)) for i in range(count)]
    buffer = io.BytesIO()
    images[0].save(buffer, kind, save_all=True, append_images=images[1:])
    return buffer.getvalue()


def grey(kind: str, size: tuple[int, int] = (24, 20)) -> bytes:
    """A grey picture in a file's format."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(size=size))).convert("L").save(buffer, kind)
    return buffer.getvalue()


def codestream(size: tuple[int, int] = (24, 20)) -> bytes:
    """JPEG 2000 as DICOM holds it: without the boxes of a file."""
    data = grey("JPEG2000", size)
    return data[data.index(b"\xff\x4f\xff\x51") :]


def rle(pixels: int) -> bytes:
    """A frame of one RLE segment, black."""
    head = struct.pack("<16I", 1, 64, *[0] * 14)
    whole, rest = divmod(pixels, 128)
    data = b"\x81\0" * whole + (bytes((257 - rest, 0)) if rest > 1 else b"\0\0" * rest)
    return head + data


def dicom(
    frames: int = 1,
    rows: int = 20,
    columns: int = 24,
    compressed: tuple[str, list[bytes]] | None = None,
    preamble: bytes = b"",
    **tags,
) -> bytes:
    """A DICOM file that names its patient; ``compressed`` is a transfer syntax and its frames."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("", {}, file_meta=meta, preamble=preamble.ljust(128, b"\0"))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    file.PatientName, file.PatientID = "Zhang^San", "1962"
    file.Rows, file.Columns, file.SamplesPerPixel = rows, columns, 1
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PhotometricInterpretation = "MONOCHROME2"
    if frames > 1:
        file.NumberOfFrames = frames
    values = np.arange(frames * rows * columns, dtype=np.uint64) % 251
    file.PixelData = values.astype(np.uint8).tobytes()
    if compressed is not None:
        meta.TransferSyntaxUID = UID(compressed[0])
        file.PixelData = encapsulate(compressed[1])
        file["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def hostile() -> dict[str, tuple[bytes, int]]:
    png, jpeg, tiff, bmp = map(picture, ("PNG", "JPEG", "TIFF", "BMP"))
    php, script = b"<?php system('ls'); ?>", b"<SCRIPT>alert(1)</SCRIPT>"
    rar, end = b"Rar!\x1a\x07\x01\0" + bytes(40), b"\xff\xd9"
    lying = bmp[:2] + struct.pack("<I", len(bmp + php)) + bmp[6:]  # the size takes in what follows
    return {
        "0 bytes": (b"", 400),
        "a 50,000 x 50,000 header": (bomb(50_000, 50_000), 413),
        "more pixels than Pillow reads": (bomb(200_000, 200_000), 413),
        "pixels over the limit": (picture("PNG", (400, 300)), 413),
        "bytes over the limit": (picture("BMP", (300, 300)), 413),
        "a zip renamed .png": (archive(), 415),
        "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', 415),
        "an XML with entities": (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>', 415),
        "an animated GIF": (pages("GIF", 3), 415),
        "an animated PNG": (pages("PNG", 3), 415),
        "a WebP": (picture("WEBP"), 415),
        "a PDF": (b"%PDF-1.7\n%%EOF", 415),
        "text": (b"no picture", 415),
        "a PNG and a zip": (png + archive(), 422),
        "a JPEG and a zip": (jpeg + archive(), 422),
        "a JPEG and PHP": (jpeg + php, 422),
        "a JPEG, a script and an end": (jpeg + script + end, 422),
        "a JPEG, a RAR and an end": (jpeg + rar + end, 422),
        "a JPEG with an end in a comment": (
            jpeg[:2] + b"\xff\xfe\0\x06" + end * 2 + jpeg[2:] + script + end,
            422,
        ),
        "a BMP and PHP": (bmp + php, 422),
        "a BMP and PHP in its size": (lying + php, 422),
        "a TIFF and a zip": (tiff + archive(), 422),
        "a TIFF, a RAR and PHP": (tiff + rar + php, 422),
        "a TIFF of two pages and PHP": (pages("TIFF", 2) + php, 422),
        "a DICOM and a zip": (dicom() + archive(), 422),
        "a DICOM that begins as a PDF": (dicom(preamble=b"%PDF-1.7"), 422),
        "a DICOM that begins as HTML": (dicom(preamble=b"<html><script>"), 422),
        "a DICOM that begins as a program": (dicom(preamble=b"MZ"), 422),
        "a JPEG and a PDF": (jpeg[:20] + b"%PDF-1.7" + jpeg[20:], 422),
        "a PNG with a tail": (png + b"more", 422),
        "half a PNG": (png[: len(png) // 2], 422),
        "half a JPEG": (jpeg[: len(jpeg) // 2], 422),
        "a PNG's first bytes": (png[:8], 422),
        "a TIFF of many pages": (pages("TIFF", 9), 413),
        "a thin picture": (picture("PNG", (300, 2)), 422),
        "a DICOM of many frames": (dicom(frames=9), 413),
        "a DICOM of many pixels": (dicom(Rows=60_000, Columns=60_000), 413),
        "a DICOM without its pixels": (dicom(rows=20)[:-100], 422),
        "a DICOM around a large JPEG": (dicom(compressed=(JPEG, [grey("JPEG", (999, 99))])), 422),
        "a DICOM around a large JPEG 2000": (dicom(compressed=(J2K, [codestream((99, 99))])), 422),
        "a DICOM around a large RLE": (dicom(compressed=(RLE, [rle(9_000_000)])), 422),
        "a DICOM of more frames than it says": (
            dicom(compressed=(JPEG, [grey("JPEG")] * 9), NumberOfFrames=2),
            422,
        ),
        "a DICOM's first bytes": (b"\0" * 128 + b"DICM" + b"\1\2", 422),
    }


def fuzzed(count: int, seed: int = 0):
    """Files of every kind with some bytes changed, cut out or added."""
    rng = random.Random(seed)
    good = [picture(kind, seed=i) for i, kind in enumerate(("PNG", "JPEG", "TIFF", "BMP"))]
    good += [dicom(), dicom(frames=2), pages("TIFF", 2), picture("TIFF", compression="tiff_lzw")]
    for number in range(count):
        data = bytearray(good[number % len(good)])
        for _ in range(rng.choice((1, 3, 20))):
            at = (
                rng.randrange(len(data))
                if rng.random() < 0.5
                else rng.randrange(min(200, len(data)))
            )
            what = rng.random()
            if what < 0.7:
                data[at] = rng.randrange(256)
            elif what < 0.85:
                del data[at : at + rng.randrange(1, 40)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
            if not data:
                break
        yield bytes(data)
