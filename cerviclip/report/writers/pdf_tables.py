"""Tables of the PDF: widths of columns, heights of rows, and how they are drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cerviclip.report.document import Table
from cerviclip.report.writers.pdf_lines import Line, draw_line, line_width, set_font, wrapped

SMALL, TINY = 8.0, 6.8  # points
SMALLER = (TINY, 6.0, 5.3)  # of tables that are too wide
CLOSE = 0.55  # mm of a table's line for each point of its letters
ABOVE, BESIDE = 0.6, 0.8  # mm of white in a cell
WIDE, NARROW = 3.5, 2 * BESIDE + 0.6  # mm of white in all, where all fits and where words wrap
APART = 1.8  # mm more between numbers and words that come after them
HEAD, RULE = (232, 239, 246), (170, 180, 190)


@dataclass(frozen=True)
class Row:
    """A row of cells in lines."""

    cells: list[list[Line]]
    height: float


class Layout:
    """A table's columns and rows as they fit on the page."""

    def __init__(self, pdf: Any, block: Table) -> None:
        self._pdf, self._block = pdf, block
        self.size, self.widths = _fitted(pdf, block)
        self.head = self._row(block.head, "B") if any(block.head) else None
        self.rows = [self._row(cells) for cells in block.rows]

    @property
    def head_height(self) -> float:
        return self.head.height if self.head else 0.0

    def draw(self, first: int, end: int) -> None:
        """Draw the head and some of the rows from the present height on."""
        pdf = self._pdf
        pdf.set_draw_color(*RULE)
        pdf.set_line_width(0.15)
        if self.head:
            pdf.set_fill_color(*HEAD)
            pdf.rect(pdf.l_margin, pdf.get_y(), pdf.epw, self.head.height, style="F")
            self._draw_row(self.head, "B")
        for row in self.rows[first:end]:
            self._draw_row(row)
            pdf.line(pdf.l_margin, pdf.get_y(), pdf.l_margin + pdf.epw, pdf.get_y())

    def _row(self, texts: Sequence[str], style: str = "") -> Row:
        rooms = [w - 2 * BESIDE - _apart(self._block, i) for i, w in enumerate(self.widths)]
        found = zip(texts, rooms, strict=True)
        cells = [wrapped(self._pdf, text, room, self.size, style) for text, room in found]
        return Row(cells, max(map(len, cells)) * self.size * CLOSE + 2 * ABOVE)

    def _draw_row(self, row: Row, style: str = "") -> None:
        pdf, size = self._pdf, self.size
        x, top = pdf.l_margin, pdf.get_y()
        for column, (lines, width) in enumerate(zip(row.cells, self.widths, strict=True)):
            for number, line in enumerate(lines):
                left = x + BESIDE + _apart(self._block, column)
                if not self._block.is_text(column):
                    left = x + width - BESIDE - line_width(pdf, line, size, style)
                y = top + ABOVE + number * size * CLOSE
                draw_line(pdf, line, (left, y), size * CLOSE, size, style)
            x += width
        pdf.set_xy(pdf.l_margin, top + row.height)


def _apart(block: Table, column: int) -> float:
    """mm of white before a column's words, beside that of each cell."""
    behind = column > 0 and block.is_text(column) and not block.is_text(column - 1)
    return APART if behind else 0.0


def _fitted(pdf: Any, block: Table) -> tuple[float, list[float]]:
    """Points of the letters, and widths of the columns: smaller letters where words would break."""
    usual = SMALL if len(block.head) < 7 else TINY
    for size in (usual, *(smaller for smaller in SMALLER if smaller < usual)):
        widths, whole = _widths(pdf, block, size)
        if whole:
            break
    return size, widths


def _widths(pdf: Any, block: Table, size: float) -> tuple[list[float], bool]:
    """Widths of the columns in mm, the page's in all, and whether every word fits in its own:
    where not all fits, words wrap first."""
    columns = list(zip(block.head, *block.rows, strict=True))
    set_font(pdf, "B", size)  # as the head is set, which is the wider

    def longest(texts: Iterable[str], column: int, white: float) -> float:
        return max(map(pdf.get_string_width, texts)) + white + _apart(block, column)

    natural = [longest(column, i, WIDE) for i, column in enumerate(columns)]
    if sum(natural) <= pdf.epw:
        return [width * pdf.epw / sum(natural) for width in natural], True
    least = [
        longest((word for cell in column for word in re.split("[ \n]", cell)), i, NARROW)
        for i, column in enumerate(columns)
    ]
    set_font(pdf, "", size)
    for i, column in enumerate(columns):
        if not block.is_text(i):  # numbers keep their interval in one line
            numbers = (number for cell in column[1:] for number in cell.split("; "))
            least[i] = max(least[i], longest(numbers, i, NARROW))
    wanted = [max(n - m, 0.0) for n, m in zip(natural, least, strict=True)]
    given = shared(max(pdf.epw - sum(least), 0.0), wanted)
    widths = [m + more for m, more in zip(least, given, strict=True)]
    return [width * pdf.epw / sum(widths) for width in widths], sum(least) <= pdf.epw


def shared(spare: float, wanted: Sequence[float]) -> list[float]:
    """What each gets of something spare: those that want little all of it, the others the same."""
    given = [0.0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for place, i in enumerate(order):
        given[i] = min(wanted[i], spare / (len(order) - place))
        spare -= given[i]
    return given
