"""ROIs on disk, each found once per source, kind and image content.

One small file for each, in the feature store's folder: a rename puts it there whole, so any number
of processes may write, and two that find the same ROI write the same. A file carries its checksum;
one that does not match it is as good as absent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import uuid
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cerviclip.environment import cache_folder
from cerviclip.shapes import plain_json

_FORMAT = "v1"  # raised when boxes are made of masks in another way


@dataclass(frozen=True)
class StoredRoi:
    """What was found in one image.

    Args:
        size: (height, width) of the image in px.
        found: first row of a box that runs to the bottom, a mask packed to bits, or None where
            there is no tissue.
    """

    size: tuple[int, int]
    found: int | bytes | None

    def image(self) -> Image.Image:
        """Mode L, 255 inside; all inside where nothing was found."""
        height, width = self.size
        if isinstance(self.found, bytes):
            bits = np.unpackbits(np.frombuffer(self.found, np.uint8), count=height * width)
            return Image.fromarray(bits.reshape(height, width) * np.uint8(255))
        roi = Image.new("L", (width, height), 0)
        roi.paste(255, (0, self.found or 0, width, height))
        return roi

    def dumps(self) -> str:
        """One line of JSON behind its own checksum."""
        found: int | str | None
        if isinstance(self.found, bytes):
            found = base64.b85encode(zlib.compress(self.found)).decode()
        else:
            found = self.found
        text = json.dumps([list(self.size), found])
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]} {text}"

    @classmethod
    def loads(cls, line: str) -> StoredRoi | None:
        """The inverse of ``dumps``; None of anything else."""
        checksum, _, text = line.partition(" ")
        if hashlib.sha256(text.encode()).hexdigest()[:16] != checksum:
            return None
        try:
            (height, width), found = plain_json(text)
            if isinstance(found, str):
                found = zlib.decompress(base64.b85decode(found))
        except (ValueError, TypeError, zlib.error, binascii.Error):
            return None
        return cls((height, width), found)


class RoiStore:
    """The stored ROIs of one source and kind.

    Args:
        version: of the source; an empty one stores nothing.
        kind: ``box`` or ``mask``.
        root: folder; None takes the feature store's.
    """

    def __init__(self, version: str, kind: str, root: Path | None = None) -> None:
        name = hashlib.sha256(f"{version} {kind}".encode()).hexdigest()[:32]
        self.folder = (root or cache_folder()) / "rois" / _FORMAT / name
        self.active = bool(version)

    def get(self, image_sha256: str) -> StoredRoi | None:
        """The ROI of an image, None where there is none or a damaged one."""
        if not self.active:
            return None
        try:
            return StoredRoi.loads(self._file(image_sha256).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def put(self, image_sha256: str, roi: StoredRoi) -> None:
        """Store one. A folder that cannot be written is reported once and then left alone."""
        if not self.active:
            return
        file = self._file(image_sha256)
        temporary = file.with_name(f".tmp-{uuid.uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(roi.dumps(), encoding="utf-8")
            os.replace(temporary, file)
        except OSError as error:
            self.active = False
            warnings.warn(f"ROIs are not stored: {self.folder}: {error}", stacklevel=2)

    def _file(self, image_sha256: str) -> Path:
        return self.folder / image_sha256[:2] / image_sha256[2:]
