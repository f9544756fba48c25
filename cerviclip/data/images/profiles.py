"""Colour profiles (ICC) that image files carry. Pixels are read without them, as everywhere in this
field; files of one data set that carry different ones do not mean the same colours."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable

from PIL import Image

#: What in a profile's name says that it is the usual one: sRGB (``c2`` is its shortest form).
_USUAL = ("srgb", "c2", "gray gamma 2.2", "sgray", "s-gray")


def profile_of(image: Image.Image) -> str:
    """The name of the colour profile in an open image file; "" for none and for sRGB."""
    content = image.info.get("icc_profile")
    if not content:
        return ""
    name = _name_of(bytes(content))
    return "" if name.lower().startswith(_USUAL) else name


def _name_of(content: bytes) -> str:
    try:
        from PIL import ImageCms

        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(content)))
    except Exception:  # a damaged profile, or Pillow without littlecms
        return "a profile that cannot be read"
    return " ".join(name.split())[:60] or "a profile without a name"


def unlike_profiles(names: Iterable[str]) -> str:
    """What to say of the profiles of a data set's images; "" where all have the same.

    Args:
        names: of each image, "" for none and for sRGB.
    """
    counts = Counter(names)
    if len(counts) < 2:
        return ""
    listed = ", ".join(f"{count} {name or 'none or sRGB'}" for name, count in counts.most_common())
    return f"different colour profiles ({listed}); pixel values are taken as they are"
