"""What image files say about themselves, and how it changes the way their pixels are read.

Orientation, alpha, bit depth and pages are asked of every image of a data set before anything is
trained. `reading_of` puts into words what besides a file's bytes its pixels depend on, for keys of
stored features; for ordinary 8-bit images it is empty, so that theirs stay what they were.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from cerviclip.data.images.profiles import profile_of, unlike_profiles
from dassl.errors import UserError
from dassl.utils.deep_images import (
    CONVENTIONAL,
    FAINT,
    FULL,
    MisreadError,
    Range,
    Windows,
    check_well_read,
    depth_of,
    is_inverted,
    is_sideways,
    open_image,
    set_windows,
    usual_range,
    values_of,
    windows_of,
)
from dassl.utils.images import has_alpha, orientation_of, shows_background, why_unreadable

MAX_ASPECT = 50  # longer than so many times its width a picture is blown up by a resize
_LOOKED_AT = 2000  # deep images whose values are read to find their data set's range
_NEVER_MAPPED = ("1", "LA", "RGB", "I", "F")  # modes that Pillow does not map into memory
_TAIL = 65536  # bytes at a PNG's end that are searched for an orientation


@dataclass(frozen=True)
class Facts:
    """What a file says of its picture.

    Attributes:
        mode: Pillow's.
        size: (width, height) as stored, px.
        depth: ``float``, ``integer``, ``colour`` (16 bits a channel), "" for 8 bits and less.
        orientation: EXIF's that reading follows, 1 for none.
        transparent: some pixels show the background.
        inverted: a deep image that counts from white.
        pages: it has more than one page or frame.
        bytes: of the file.
        profile: its colour profile, "" for none and for sRGB.
        torn_before: a TIFF on its side that Pillow 11 to 13 may give torn (`open_image`): features
            of it that were stored before are not to be found again.
    """

    mode: str
    size: tuple[int, int]
    depth: str = ""
    orientation: int = 1
    transparent: bool = False
    inverted: bool = False
    pages: bool = False
    bytes: int = 0
    profile: str = ""
    torn_before: bool = False


Known = Mapping[str, Facts]  # by path, files that are no images left out


_facts: dict[tuple[str, int, int], Facts | None] = {}
_ranges: dict[tuple[str, int, int], Range] = {}


def facts_of(path: str) -> Facts | None:
    """Facts of a file, read once per process; None of one that is no image."""
    key = _key(path)
    if key not in _facts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the reader itself warns of what matters
                _facts[key] = _ask(path)
        except (Image.DecompressionBombError, MisreadError) as error:
            raise UserError(f"image {path} cannot be read ({why_unreadable(error)})") from error
        except Exception:  # whatever Pillow's plug-ins raise: the reader says what is wrong
            _facts[key] = None
    return _facts[key]


def facts_of_all(paths: Iterable[str]) -> dict[str, Facts]:
    """Facts by path; files that are no images are left out, since reading them says what is
    wrong."""
    return {path: facts for path in paths if (facts := facts_of(path)) is not None}


def reading_of(path: str) -> str:
    """How a file's pixels are read where that is not by its bytes alone; else "" ."""
    facts = facts_of(path)
    if facts is None:
        return ""
    parts = [f"turned {facts.orientation}"] if facts.orientation > 1 else []
    parts += ["from its side"] if facts.torn_before else []
    parts += ["over black"] if facts.transparent else []
    parts += ["from white"] if facts.inverted else []
    if facts.depth:
        windows = windows_of(path)
        given = windows.floats if facts.depth == "float" else windows.integers
        if given is not None and (given != FULL or facts.depth == "float"):
            parts.append(f"{facts.depth} {given[0]:g} to {given[1]:g}")
        elif facts.depth == "float" or facts.mode in ("L", "I"):
            parts.append(f"{facts.depth} by its own range")
    return ", ".join(parts)


def declare_windows(
    name: str, folder: str, known: Known, bits: int = 0, window: Sequence[float] = ()
) -> list[str]:
    """Find the range of values of a data set's deep images and declare it for its folder.

    Args:
        name: of the data set, for the messages.
        folder: holds all its images.
        known: facts of its images.
        bits: ``INPUT.BITS``, 0 to see by the values.
        window: ``INPUT.WINDOW``, () to see by the values.

    Returns:
        What to warn of.
    """
    if window and (len(window) != 2 or window[0] >= window[1]):
        raise UserError(
            f"INPUT.WINDOW {tuple(window)} must be (lowest, highest), such as (0, 4095)"
        )
    if bits and not 1 <= bits <= 32:
        raise UserError(f"INPUT.BITS is {bits}; it takes 1 to 32, or 0 to see by the values")
    groups: dict[bool, list[str]] = {False: [], True: []}
    for path, facts in known.items():
        if facts.depth:
            groups[facts.depth == "float"].append(path)
    said: list[str] = []
    found: dict[bool, Range | None] = {False: None, True: None}
    for floats, members in groups.items():
        if window:
            found[floats] = (float(window[0]), float(window[1]))
        elif bits and not floats:
            found[floats] = (0.0, float(2**bits - 1))
        elif members:
            found[floats], text = _find_range(members, floats)
            said += [f"{name}: {text}"] if text else []
    set_windows(folder, Windows(integers=found[False], floats=found[True]))
    return said


def check_shapes(known: Known) -> None:
    """Refuse pictures so thin that a resize of their smaller edge would fill the memory."""
    thin = [path for path, facts in known.items() if _aspect(facts) > MAX_ASPECT]
    if thin:
        width, height = known[thin[0]].size
        raise UserError(
            f"image {thin[0]} is {width}x{height} px, longer than {MAX_ASPECT} times its width"
            f"{f' ({len(thin)} such images)' if len(thin) > 1 else ''}: resizing it would fill the "
            "memory; crop it or take it out"
        )


def describe_pictures(known: Known) -> str:
    """Sizes and modes of images in a few words, the frequent ones first."""
    if not known:
        return "not looked at; each is read when it is drawn"
    sizes = Counter(f"{facts.size[0]}x{facts.size[1]} px" for facts in known.values())
    modes = Counter(f.mode + " of 16 bits" * (f.depth == "colour") for f in known.values())
    return f"{_few(sizes)}; {_few(modes)}"


def odd_pictures(name: str, known: Known) -> list[str]:
    """What to warn of in a data set's images: pages, alpha, turned ones, unlike depths."""
    pages = [path for path, f in known.items() if f.pages]
    clear = [path for path, f in known.items() if f.transparent]
    turned = [path for path, f in known.items() if f.orientation > 1]
    said = []
    if pages:
        said.append(f"{_of(pages, known)} several pages or frames; the first of each is read")
    if clear:
        said.append(f"{_of(clear, known)} transparent pixels; they are laid over black")
    if turned and len(turned) < len(known):
        said.append(f"{_of(turned, known)} an EXIF orientation; they are turned upright")
    deep = [path for path, f in known.items() if f.depth]
    if deep and len(deep) < len(known):
        said.append(f"{_of(deep, known)} more than 8 bits, the others 8; each is read by its own")
    if text := unlike_profiles(f.profile for f in known.values()):
        said.append(f"the images have {text}")
    return [f"{name}: {text}" for text in said]


def _ask(path: str) -> Facts:
    with open_image(path) as image:
        many = image.format not in ("MPO", "ICNS", "ICO") and getattr(image, "is_animated", False)
        if many:
            image.seek(0)
        check_well_read(image)
        return Facts(
            bytes=os.path.getsize(path),
            mode=image.mode,
            size=image.size,
            depth=depth_of(image),
            inverted=is_inverted(image),
            orientation=_orientation(image, path),
            torn_before=is_sideways(image) and image.mode not in _NEVER_MAPPED,
            pages=bool(many),
            profile=profile_of(image),
            # Last, since it decodes the image.
            transparent=has_alpha(image) and shows_background(image),
        )


def _orientation(image: Image.Image, path: str) -> int:
    """The orientation, without decoding an image that has none. TIFFs come upright by Pillow."""
    if image.format == "TIFF":
        return 1
    if image.format == "PNG" and not any(
        word in str(key).lower() for key in image.info for word in ("exif", "xmp")
    ):
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            if b"eXIf" not in file.read():
                return 1
    return orientation_of(image)


def _find_range(paths: Sequence[str], floats: bool) -> tuple[Range, str]:
    """The range that deep images share, and what to say of it."""
    step = -(-len(paths) // _LOOKED_AT)
    some = paths[::step]
    lowest, highest = float("inf"), float("-inf")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(some), 16):
            for low, high in pool.map(_range_of, some[start : start + 16]):
                lowest, highest = min(lowest, low), max(highest, high)
            if not floats and usual_range(lowest, highest, floats) == FULL and highest > lowest:
                if highest - lowest > FULL[1] / 4:
                    break  # nothing wider is there to be found
    usual = usual_range(lowest, highest, floats)
    window = usual or ((lowest, highest) if highest > lowest else (lowest, lowest + 1))
    seen = f"values {lowest:g} to {highest:g} in {len(paths)} images of more than 8 bits"
    way_out = "INPUT.WINDOW (lowest, highest) says otherwise"
    if not floats:
        way_out = "INPUT.BITS or " + way_out
    if (usual in CONVENTIONAL) if floats else (usual == FULL):
        span = window[1] - window[0]
        narrow = highest - lowest <= span / FAINT
        taken = f"0 to {span:g}" if floats else "16 bits"
        return window, f"{seen} are taken as {taken} and have little contrast; {way_out}" * narrow
    return window, f"{seen} are scaled so that {window[0]:g} to {window[1]:g} is 0-255; {way_out}"


def _range_of(path: str) -> Range:
    key = _key(path)
    if key not in _ranges:
        try:
            with open_image(path) as image:
                values = values_of(image, path)
        except Exception as error:
            raise UserError(
                f"image {path} cannot be read ({why_unreadable(error)}); replace the file or take "
                "it out of the split"
            ) from error
        _ranges[key] = (float(values.min()), float(values.max()))
    return _ranges[key]


def _key(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (path, -1, -1)
    return (path, status.st_size, status.st_mtime_ns)


def _aspect(facts: Facts) -> float:
    return max(facts.size) / max(1, min(facts.size))


def _of(some: Sequence[str], known: Known) -> str:
    have = "has" if len(some) == 1 else "have"
    return f"{len(some)} of {len(known)} images (such as {some[0]}) {have}"


def _few(counts: Counter) -> str:
    """``256x256 px (90), 32x32 px (3) and 5 more``; the count is left out where there is one."""
    if len(counts) == 1:
        return str(next(iter(counts)))
    first = ", ".join(f"{what} ({count})" for what, count in counts.most_common(3))
    return f"{first} and {len(counts) - 3} more" if len(counts) > 3 else first
