"""Text on a page of the PDF, line by line: blanks are bold and brown wherever they stand."""

from __future__ import annotations

from typing import Any

from cerviclip.report.document import pieces

FONT = "DejaVu"
BROWN = (150, 90, 0)
BLACK = (0, 0, 0)

Line = list[tuple[str, bool]]  # pieces, each with whether it is a blank


def wrapped(pdf: Any, text: str, width: float, size: float, style: str = "") -> list[Line]:
    """A text in lines no wider than a width in mm; a word breaks only where it is wider itself."""
    lines: list[Line] = []
    for paragraph in pdf.shown(text).split("\n"):
        lines.append([])
        used = 0.0
        space = _width(pdf, (" ", False), size, style)
        for word in _words(paragraph):
            wide = sum(_width(pdf, piece, size, style) for piece in word)
            if lines[-1] and used + space + wide > width:
                lines.append([])
                used = 0.0
            if wide > width:
                *whole, word = _broken(pdf, word, width, size, style)
                lines[-1:] = [*whole, []]
                wide = sum(_width(pdf, piece, size, style) for piece in word)
            if lines[-1]:
                _join(lines[-1], (" ", lines[-1][-1][1] and word[0][1]))
                used += space
            for piece in word:
                _join(lines[-1], piece)
            used += wide
    return lines


def line_width(pdf: Any, line: Line, size: float, style: str = "") -> float:
    """mm of a line."""
    return sum(_width(pdf, piece, size, style) for piece in line)


def draw_line(
    pdf: Any,
    line: Line,
    place: tuple[float, float],
    height: float,
    size: float,
    style: str = "",
    colour: tuple[int, int, int] = BLACK,
) -> None:
    """Draw a line of text with its left upper corner at a place."""
    x, y = place
    for text, is_blank in line:
        wide = _width(pdf, (text, is_blank), size, style)
        pdf.set_text_color(*(BROWN if is_blank else colour))
        pdf.set_xy(x, y)
        pdf.cell(wide, height, text)
        x += wide
    pdf.set_text_color(*BLACK)


def _words(text: str) -> list[Line]:
    """The words of a text; a blank beside a bracket or full stop is of one word with it."""
    words: list[Line] = [[]]
    for piece, is_blank in pieces(text):
        first, *others = piece.split(" ")
        words[-1] += [(first, is_blank)] if first else []
        words += [[(word, is_blank)] if word else [] for word in others]
    return [word for word in words if word]


def _broken(pdf: Any, word: Line, width: float, size: float, style: str) -> list[Line]:
    """A word wider than a line, in pieces that fit."""
    found: list[Line] = [[]]
    used = 0.0
    for text, is_blank in word:
        for letter in text:
            wide = _width(pdf, (letter, is_blank), size, style)
            if found[-1] and used + wide > width:
                found.append([])
                used = 0.0
            _join(found[-1], (letter, is_blank))
            used += wide
    return found


def _join(line: Line, piece: tuple[str, bool]) -> None:
    if line and line[-1][1] == piece[1]:
        line[-1] = (line[-1][0] + piece[0], piece[1])
    else:
        line.append(piece)


def set_font(pdf: Any, style: str, size: float) -> None:
    """Set a font that fpdf2 may take for set, where a fallback has replaced it."""
    pdf.font_family = ""
    pdf.set_font(FONT, style, size)


def _width(pdf: Any, piece: tuple[str, bool], size: float, style: str) -> float:
    """mm of a piece; its font is left set."""
    text, is_blank = piece
    set_font(pdf, "B" if is_blank else style, size)
    return float(pdf.get_string_width(text))
