"""Pictures in formats that nobody reads: leaving them out changes what is trained on."""

from __future__ import annotations

import os
from collections import Counter

_PICTURES = (
    ".dcm .dicom .ima .heic .heif .avif .svs .ndpi .mrxs .scn .czi .vsi .bif .nii .gz "
    ".nrrd .mha .mhd .npy .npz .mat .raw .psd .exr .h5 .hdf5 .zip .rar .7z .tar .mp4 .avi .mov "
    ".pdf .tga .ico .dib .apng .pcx .jxl .jxr .dng .cr2 .nef .lif .lsm .oib .oif"
).split()
_TEXTS = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .md .rst .html .htm .log .ini .cfg .toml .py "
    ".ipynb .doc .docx .xls .xlsx .ods .odt .rtf .db .lnk .url .sha256 .md5 .geojson"
).split()
# How pictures begin, whatever they are called.
_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0"),
    *(b"MM\0+", b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51", b"8BPS", b"\x89HDF\r\n"),
)
_DICOM_AT = 128
_ASKED = 8  # files of a folder and suffix that are opened; the others are like them


class UnreadFiles:
    """The files of one folder that are not read.

    Attributes:
        all: by suffix.
        pictures: those that are pictures, by their suffix or by how they begin.
    """

    def __init__(self) -> None:
        self.all: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()

    def add(self, path: str) -> None:
        """Take account of a file."""
        suffix = os.path.splitext(path)[1].lower() or "without suffix"
        self.all[suffix] += 1
        if suffix in _PICTURES or (suffix not in _TEXTS and self._begins_as_one(path, suffix)):
            self.pictures[suffix] += 1

    def _begins_as_one(self, path: str, suffix: str) -> bool:
        if self.all[suffix] > _ASKED:
            return self.pictures[suffix] > 0
        try:
            with open(path, "rb") as file:
                start = file.read(_DICOM_AT + 4)
        except OSError:
            return False
        webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
        return start.startswith(_STARTS) or webp or start[_DICOM_AT:] == b"DICM"
