"""A contact sheet: pictures side by side under headings, such as those that findings name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cerviclip.counted import counted
from cerviclip.data.checks.findings import Finding, shown
from cerviclip.severity import ERROR, NOTE
from dassl.errors import UserError
from dassl.paths import exists
from dassl.utils.files import atomic_write
from dassl.utils.images import decode_image

_EDGE, _GAP, _HEAD = 140, 12, 34  # px
_TEXT, _BELOW = 13, 18  # px: a line below a picture, and what is left free there
_CELL = _EDGE + _GAP  # px
_LEAST = 2  # columns of a finding, so that its name has room
_COLUMNS = 8
_SMOOTH = Image.Resampling.BILINEAR
_ROWS = 2  # of one finding
_PAPER, _INK, _FAINT = "white", "black", "#777777"
_GRADES = {ERROR: "#b00020", NOTE: "#00687a"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".pdf", ".webp")


@dataclass(frozen=True)
class Panel:
    """Pictures below a heading.

    Args:
        title: the heading.
        beside: more words behind it, paler.
        pictures: file, and the lines below the picture, the first of them paler.
        ink: of the heading.
    """

    title: str
    beside: str
    pictures: Sequence[tuple[str, tuple[str, ...]]]
    ink: str = _INK


def draw_sheet(findings: Sequence[Finding], folder: Path, target: Path) -> int:
    """Write a sheet with up to sixteen images of each finding.

    Args:
        findings: those without images are left out.
        folder: their paths are relative to it.
        target: the picture to write.

    Returns:
        How many images are on it.

    Raises:
        UserError: a suffix that no picture has.
    """
    return draw_panels([_panel(f, folder) for f in findings if f.paths], target)


def _panel(finding: Finding, folder: Path) -> Panel:
    paths = list(finding.paths)[: _COLUMNS * _ROWS]
    more = f"{len(paths)} of {len(finding.paths)} images" * (len(paths) < len(finding.paths))
    named = [(path, shown(path).rpartition("/")) for path in paths]
    pictures = [(os.path.join(folder, path), (above, name)) for path, (above, _, name) in named]
    ink = _GRADES.get(finding.severity, "#8a5a00")
    return Panel(finding.kind, more or str(finding.number), pictures, ink)


def told(target: Path, count: int, nothing: str) -> str:
    """What a command says of the sheet that it was asked for.

    Args:
        target: the picture.
        count: of `draw_panels`.
        nothing: why there is no picture where ``count`` is 0.
    """
    if count:
        return f"{target}: {counted(count, 'image')}"
    older = "; the file there is of an earlier call" if exists(target) else ""
    return f"{nothing}: {target} is not written{older}"


def draw_panels(panels: Sequence[Panel], target: Path) -> int:
    """Write a sheet of panels; returns how many pictures are on it; of none it writes no sheet.

    Raises:
        UserError: a suffix that no picture has.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UserError(f"--sheet {target}: the suffix must be one of {', '.join(SUFFIXES)}")
    if not any(panel.pictures for panel in panels):
        return 0
    below = _BELOW + _TEXT * max(len(lines) for panel in panels for _, lines in panel.pictures)
    places, tall = _places([len(panel.pictures) for panel in panels], _EDGE + below)
    sheet = Image.new("RGB", (_GAP + _COLUMNS * _CELL, max(tall, 60)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for panel, corner in zip(panels, places, strict=True):
        _draw_panel(sheet, draw, corner, panel, _EDGE + below)
    with atomic_write(target, "wb") as file:
        sheet.save(file, {".jpg": "jpeg"}.get(target.suffix.lower(), target.suffix[1:].lower()))
    return sum(len(panel.pictures) for panel in panels)


def _places(counts: Sequence[int], row: int) -> tuple[list[tuple[int, int]], int]:
    """Upper left corners of findings with so many images, side by side while there is room; and the
    height of them all, px. ``row`` is the height of a row of pictures with the lines below it."""
    places: list[tuple[int, int]] = []
    column, top, tall = 0, _GAP, 0
    for count in counts:
        wide = min(max(count, _LEAST), _COLUMNS)
        if column + wide > _COLUMNS:
            column, top, tall = 0, top + tall, 0
        places.append((_GAP + column * _CELL, top))
        tall = max(tall, _HEAD + -(-count // _COLUMNS) * row)
        column += wide
    return places, top + tall + _GAP


def _draw_panel(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], panel: Panel, tall: int
) -> None:
    """A heading and the images below it, in rows of a height in px."""
    head, small = ImageFont.load_default(15), ImageFont.load_default(11)
    draw.text((corner[0], corner[1] + 8), panel.title, panel.ink, head)
    after = corner[0] + draw.textlength(f"{panel.title}  ", head)
    draw.text((after, corner[1] + 8), panel.beside, _FAINT, head)
    for n, (path, lines) in enumerate(panel.pictures):
        row, column = divmod(n, _COLUMNS)
        left, top = corner[0] + column * _CELL, corner[1] + _HEAD + row * tall
        _draw_one(sheet, draw, (left, top), path, lines, small)


def _draw_one(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    path: str,
    lines: tuple[str, ...],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """One image with its lines below; a cross where it cannot be read."""
    left, top = corner
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the finding itself says that it is dark
            picture = decode_image(path)
        scale = min(_EDGE / max(picture.size), 4)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else _SMOOTH)
        sheet.paste(picture, (left, top + _EDGE - picture.height))
        box = (left - 1, top + _EDGE - picture.height - 1, left + picture.width, top + _EDGE)
        draw.rectangle(box, outline="#cccccc")
    except UserError:
        draw.rectangle((left, top, left + _EDGE - 1, top + _EDGE - 1), outline=_FAINT)
        draw.line((left, top, left + _EDGE - 1, top + _EDGE - 1), _FAINT)
        draw.line((left, top + _EDGE - 1, left + _EDGE - 1, top), _FAINT)
    for n, line in enumerate(lines):
        place = left, top + _EDGE + 3 + n * _TEXT
        draw.text(place, _fitting(draw, line, font), _INK if n else _FAINT, font)


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """A text cut in its middle until it is no wider than an image."""
    text = text.encode("ascii", "replace").decode()  # the embedded font has no more
    kept = text
    size = len(text)
    while draw.textlength(kept, font) > _EDGE and size > 4:
        size -= 1
        kept = f"{text[: size // 2]}..{text[-(size - size // 2) :]}"
    return kept
