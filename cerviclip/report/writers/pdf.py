"""The report as PDF (fpdf2), in matplotlib's DejaVu, which has every sign that a report uses.

A figure that does not fit on the rest of a page waits: what follows it fills the page, and the
figure stands on the next one. It passes no heading of a section.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.drawing.fonts import REMEDY, UNKNOWN, Shown, plain_fonts
from cerviclip.report.document import Block, Bullets, Document, Figure, Heading, Table, Text
from cerviclip.report.writers.page_breaks import LINES, page_starts
from cerviclip.report.writers.pdf_lines import BLACK, FONT, draw_line, set_font, wrapped
from cerviclip.report.writers.pdf_tables import SMALL, TINY, Layout

BODY = 9.5  # points
LINE = 5.0  # mm
CLOSE_LINE, NOTE_LINE = 4.2, 3.6  # mm, of captions and of notes
FOOT = 18.0  # mm below a page's content
GREY = (90, 90, 90)
AGAIN = 4.2  # mm of the words above a table that goes on
GAP = 45.0  # mm that may stay white where a table is not parted for it
INDENT = 8.0  # mm of a list's texts; their bullets stand in its middle


def write(document: Document, path: Path) -> None:
    """Write the file, whole or not at all."""
    import fpdf

    from dassl.utils.files import atomic_write

    pdf = _paged(fpdf.FPDF, document.title)(format="A4")
    pdf.set_auto_page_break(False)  # `_Flow` decides
    pdf.set_margins(20, 18, 20)
    pdf.c_margin = 0
    _add_fonts(pdf, document)
    pdf.set_title(document.title)
    pdf.add_page()
    flow = _Flow(pdf)
    flow.paragraph(document.title, 17, "B", line=8)
    flow.paragraph(document.subtitle, SMALL, colour=GREY)
    flow.add(document.blocks)
    with atomic_write(path, "wb") as handle:
        handle.write(bytes(pdf.output()))
    if pdf.shown.missing:
        signs = "".join(sorted(pdf.shown.missing))
        print(
            f"Note: no font here shows {signs[:40]!r} in {path} ({UNKNOWN} stands there): {REMEDY}"
        )


def _add_fonts(pdf: Any, document: Document) -> None:
    """DejaVu, and a font for names in Chinese where there are any."""
    regular, bold = plain_fonts()
    slanted = regular.with_name("DejaVuSans-Oblique.ttf")
    for style, file in (("", regular), ("B", bold), ("I", slanted)):
        pdf.add_font(FONT, style, file)
    shown = pdf.shown = Shown()
    shown(f"{document.title}{document.subtitle}{document.blocks}")
    if (font := shown.chinese) is not None:
        pdf.add_font("chinese", "", font.path, collection_font_number=font.number)
        pdf.set_fallback_fonts(["chinese"], exact_match=False)


def _paged(kind: Any, title: str) -> Any:
    """FPDF with the title and the page's number below each page."""

    class Paged(kind):
        def footer(self) -> None:
            self.set_y(-13)
            set_font(self, "", 7)
            self.set_text_color(*GREY)
            self.cell(0, 5, self.shown(f"{title}  |  {self.page_no()}"), align="C")
            self.set_text_color(0)

    return Paged


class _Flow:
    """Blocks one below the other over the pages, and the figures that wait for a new page."""

    def __init__(self, pdf: Any) -> None:
        self._pdf = pdf
        self._waiting: list[Figure] = []

    def add(self, blocks: Sequence[Block]) -> None:
        """Draw all blocks."""
        for place, block in enumerate(blocks):
            if isinstance(block, Heading):
                if block.level == 1:
                    self._place_all()
                while self._left < min(self._beginning(blocks[place:]), self._whole):
                    self._next_page()  # figures that waited may take some of it
            self._draw(block)
            self._place_waiting()
        self._place_all()

    @property
    def _left(self) -> float:
        """mm that are left on the page."""
        return float(self._pdf.h - FOOT - self._pdf.get_y())

    @property
    def _whole(self) -> float:
        """mm of a page."""
        return float(self._pdf.h - FOOT - self._pdf.t_margin)

    def _beginning(self, blocks: Sequence[Block]) -> float:
        """mm that headings in a row want, with the first lines or rows of what follows them."""
        room = 0.0
        for place, block in enumerate(blocks):
            if isinstance(block, Heading):
                room += 13.0
            elif isinstance(block, Figure) and _is_followed(blocks[place + 1 :]):
                continue  # it can wait
            else:
                return room + self._least(block, self._left - room)
        return room

    def _least(self, block: Block, left: float) -> float:
        """mm of a block's beginning, which no page ends within.

        Args:
            left: mm that are left for it on the page.
        """
        if isinstance(block, Figure):
            return self._figure_height(block)
        if isinstance(block, Table):
            layout = Layout(self._pdf, block)
            return self._whole if 0 in self._table_starts(block, layout, left) else 0.0
        return (LINES + 1) * LINE

    # -- text ------------------------------------------------------------------------------------

    def paragraph(
        self,
        text: str,
        size: float,
        style: str = "",
        line: float = LINE,
        after: float = 2.0,
        indent: float = 0,
        colour: tuple[int, int, int] = BLACK,
        mark: str = "",
    ) -> None:
        """A paragraph, of which no line stands alone on a page; its blanks are bold and brown. A
        mark stands before its first line, within the indent."""
        pdf = self._pdf
        lines = wrapped(pdf, text, pdf.epw - indent, size, style)
        while 0 in (starts := self._line_starts(len(lines), line)):
            self._next_page()
        for number, words in enumerate(lines):
            if number in starts:
                pdf.add_page()
            y = pdf.get_y()
            if mark and number == 0:
                draw_line(pdf, [(mark, False)], (pdf.l_margin + indent / 2, y), line, size)
            draw_line(pdf, words, (pdf.l_margin + indent, y), line, size, style, colour)
            pdf.set_xy(pdf.l_margin, y + line)
        pdf.set_y(pdf.get_y() + after)

    def _line_starts(self, count: int, line: float) -> list[int]:
        """Lines of a paragraph that begin a page, see `page_starts`."""
        is_new = self._left >= self._whole
        return page_starts([line] * count, self._left, self._whole, LINES, is_new)

    def _next_page(self) -> None:
        """A new page before a block; figures that wait stand on it first, and may take it."""
        self._pdf.add_page()
        self._place_waiting()

    def _height(self, text: str, size: float, style: str, line: float) -> float:
        return len(wrapped(self._pdf, text, self._pdf.epw, size, style)) * line

    def _draw(self, block: Block) -> None:
        if isinstance(block, Heading):
            self._heading(block)
        elif isinstance(block, Text):
            self.paragraph(block.text, BODY)
        elif isinstance(block, Bullets):
            for item in block.items:
                self.paragraph(item, BODY, after=0.6, indent=INDENT, mark="•")
            self._pdf.set_y(self._pdf.get_y() + 1.5)
        elif isinstance(block, Figure):
            self._waiting.append(block)
        elif isinstance(block, Table):
            self._table(block)

    def _heading(self, block: Heading) -> None:
        pdf, first = self._pdf, block.level == 1
        pdf.set_y(pdf.get_y() + (3 if first else 1.5))
        pdf.start_section(f"{block.number} {block.text}", level=block.level - 1)
        size = 13.5 if first else 11
        self.paragraph(f"{block.number}  {block.text}", size, "B", line=6.5)

    # -- figures ---------------------------------------------------------------------------------

    def _place_waiting(self) -> None:
        """Draw the figures that fit on the rest of the page, in their order."""
        while self._waiting and self._figure_height(self._waiting[0]) <= self._left:
            self._figure(self._waiting.pop(0))

    def _place_all(self) -> None:
        """Draw all figures that wait, on new pages where they have to be."""
        self._place_waiting()
        while self._waiting:  # none is higher than a page
            self._next_page()

    def _figure(self, block: Figure) -> None:
        pdf = self._pdf
        width, height = self._picture_size(block)
        left = pdf.l_margin + (pdf.epw - width) / 2
        y = pdf.get_y()
        pdf.image(str(block.path), x=left, y=y, w=width, h=height)
        pdf.set_xy(pdf.l_margin, y + height + 1)
        self.paragraph(_figure_caption(block), SMALL, line=CLOSE_LINE, after=3)

    def _figure_height(self, block: Figure) -> float:
        """mm of a figure with its caption."""
        caption = self._height(_figure_caption(block), SMALL, "", CLOSE_LINE)
        return self._picture_size(block)[1] + 1 + caption

    def _picture_size(self, block: Figure) -> tuple[float, float]:
        """Width and height in mm."""
        from PIL import Image

        with Image.open(block.path) as image:
            ratio = image.height / image.width
        caption = self._height(_figure_caption(block), SMALL, "", CLOSE_LINE)
        width = min(self._pdf.epw, (self._whole - 1 - caption) / ratio)
        return width, width * ratio

    # -- tables ----------------------------------------------------------------------------------

    def _table(self, block: Table) -> None:
        layout = Layout(self._pdf, block)
        while 0 in (starts := self._table_starts(block, layout, self._left)):
            self._next_page()
        self.paragraph(_caption(block), SMALL, "B", line=CLOSE_LINE, after=0.5)
        first = 0
        for end in [*starts, len(block.rows)]:
            if first:
                self._pdf.add_page()
                again = f"Table {block.number}, continued"
                self.paragraph(again, TINY, line=AGAIN, after=0, colour=GREY)
            layout.draw(first, end)
            first = end
        self._pdf.set_y(self._pdf.get_y() + 0.5)
        if block.note:
            self.paragraph(block.note, TINY, line=NOTE_LINE, after=0, colour=GREY)
        self._pdf.set_y(self._pdf.get_y() + 2.5)

    def _table_starts(self, block: Table, layout: Layout, left: float) -> list[int]:
        """Rows that begin a page, see `page_starts`, if some mm are left on the present one."""
        heights, above = self._heights(block, layout), self._above(block, layout)
        is_new, whole = left >= self._whole, self._whole - layout.head_height - AGAIN
        starts = page_starts(heights, left - above, whole, is_new=is_new)
        fits_whole = above + sum(heights) <= self._whole
        return [0] if starts and left <= GAP and fits_whole and not is_new else starts

    def _above(self, block: Table, layout: Layout) -> float:
        """mm of a table's caption and head."""
        return self._height(_caption(block), SMALL, "B", CLOSE_LINE) + 0.5 + layout.head_height

    def _heights(self, block: Table, layout: Layout) -> list[float]:
        """mm of the rows; the note is of the last one, so that no page ends between them."""
        *heights, last = [row.height for row in layout.rows]
        note = self._height(block.note, TINY, "", NOTE_LINE) + 0.5 if block.note else 0.0
        return [*heights, last + note]


def _caption(block: Table) -> str:
    return f"Table {block.number}. {block.caption}"


def _figure_caption(block: Figure) -> str:
    return f"Figure {block.number}. {block.caption}"


def _is_followed(blocks: Sequence[Block]) -> bool:
    """Whether something else than a heading or a figure comes next, which may fill a page."""
    rest = [block for block in blocks if not isinstance(block, Figure)]
    return bool(rest) and not isinstance(rest[0], Heading)
