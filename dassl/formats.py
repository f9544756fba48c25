"""The image formats that are read. A module of its own, so that finding files needs no torch."""

from __future__ import annotations

#: Pillow's names of what is let at a file, with the endings of the files. Pillow chooses by first
#: bytes, not by name, and its other plug-ins do harm: EPS runs Ghostscript, and PSD wrote past its
#: memory until Pillow 12.1.1.
FORMATS = {
    "PNG": ("png",),
    "JPEG": ("jpg", "jpeg", "jfif", "jpe"),
    "MPO": ("jpg", "jpeg"),
    "BMP": ("bmp",),
    "DIB": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "JPEG2000": ("jp2", "j2k", "jpx", "jpf", "jpc", "j2c"),
}
#: Their plug-ins. MPO has none of its own: it is a JPEG with more behind it.
PLUGINS = tuple(name for name in FORMATS if name != "MPO")
