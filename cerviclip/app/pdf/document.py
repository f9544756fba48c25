"""A PDF's page and the blocks that reports are made of: headings, text, tables, bars, pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fpdf import FPDF
from PIL import Image

from cerviclip.drawing.fonts import Shown, plain_fonts
from cerviclip.report.writers.page_breaks import page_starts

WIDTH = 180.0  # mm between the margins of an A4 page
_MARGIN, _LINE = 15.0, 4.4  # mm
_INK, _GREY, _ACCENT, _ALARM = (30, 34, 40), (105, 112, 122), (32, 98, 150), (170, 40, 30)
_TRACK = (232, 236, 240)
_TOP = 18.0  # mm above a page's content
_HEADING, _QUIET = (10.5, 5.2), (8.0, 3.9)  # pt, and mm of a line
_BARS = 8.2  # pt
_SHORT = 6  # lines of a paragraph that stays on one page
_PAD = 2.2  # mm: fpdf2's own margins of a cell
_TABLE, _ROW = 7.8, 4.0  # pt of a table's text, mm of its line
_CHINESE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_OPEN = r"\uff08\u300a\u300c\u3010\u201c"
_CLOSE = r"\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f\uff09\u3011\u201d\u300b\u300d,:;!?)"
_WORD = rf"[^\s{_CHINESE}]+(?: %[^\s{_CHINESE}]*)?"
#: What a line holds together: a Chinese character or a word, with the marks that open and close
#: it; a number with its per cent; a space.
_PARTS = re.compile(rf"[{_OPEN}]*(?:[{_CHINESE}]|{_WORD})[{_CLOSE}]*|\s|[{_CHINESE}]")
_PIXELS = 900  # px of an embedded picture's longer side


class Document(FPDF):
    """A4 pages with the disclaimer above and number, date and model below.

    Args:
        head: what the page is, at the top left.
        disclaimer: at the top right of every page.
        foot: at the bottom left of every page.
        page_word: with ``{n}`` and ``{total}``, at the bottom right.
    """

    def __init__(self, head: str, disclaimer: str, foot: str, page_word: str) -> None:
        super().__init__(format="A4", unit="mm")
        self.shown = Shown()
        self._words = (head, disclaimer, foot, page_word)
        regular, bold = plain_fonts()
        self.add_font("plain", "", regular)
        self.add_font("plain", "B", bold)
        self.set_margins(_MARGIN, _MARGIN)
        self.set_auto_page_break(True, margin=18)
        self.set_title(head)
        self.set_creator("CerviCLIP")

    def text_of(self, text: str) -> str:
        """Text that the document's fonts can show; takes a font for Chinese when it is needed."""
        found = self.shown(text)
        if self.shown.chinese is not None and "chinese" not in self.fonts:
            font = self.shown.chinese
            self.add_font("chinese", "", font.path, collection_font_number=font.number)
            self.set_fallback_fonts(["chinese"], exact_match=False)
        return found

    def release(self) -> None:
        """Close the font files, which fpdf2 leaves open."""
        for font in self.fonts.values():
            if hasattr(font, "ttfont"):
                font.ttfont.close()

    def header(self) -> None:
        head, disclaimer, _, _ = self._words
        self.set_y(8)
        self._style(8, _GREY)
        self.cell(WIDTH / 2, 5, self.text_of(head))
        self._style(8, _ALARM, bold=True)
        self.cell(WIDTH / 2, 5, self.text_of(disclaimer), align="R")
        self.set_draw_color(*_TRACK)
        self.line(_MARGIN, 14, _MARGIN + WIDTH, 14)
        self.set_y(_TOP)

    def footer(self) -> None:
        _, _, foot, page_word = self._words
        self.set_y(-13)
        self._style(7, _GREY)
        number = page_word.format(n=self.page_no(), total="{nb}")
        self.cell(WIDTH - 30, 5, self.text_of(foot))
        self.cell(30, 5, self.text_of(number), align="R")

    def headline(self, text: str, size: float = 15) -> None:
        self._style(size, _INK, bold=True)
        self._block(text, size * 0.46)
        self.ln(1)

    def heading(self, text: str) -> None:
        """A heading that does not stand alone at the end of a page."""
        if self.will_page_break(22):
            self.add_page()
        self.ln(2.5)
        self._style(_HEADING[0], _ACCENT, bold=True)
        self._block(text, _HEADING[1])
        self.ln(0.8)

    def paragraph(self, text: str, alarm: bool = False, quiet: bool = False) -> None:
        """Text; a short one is not divided between pages."""
        size, line = _QUIET if quiet else (9, _LINE)
        height = self._height(text, size, line, 0.0)
        if height <= _SHORT * line and self.will_page_break(height):
            self.add_page()
        self._style(size, _ALARM if alarm else _GREY if quiet else _INK)
        self._block(text, line)
        self.ln(0.8)

    def rows(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        widths: Sequence[float],
        title: str = "",
        said: str = "",
    ) -> None:
        """A table; its head stands again on each page, and no row stands alone on one.

        Args:
            head: () for none.
            rows: of text.
            widths: shares of the page's width.
            title: a heading above it.
            said: what is said of it below the heading.
        """
        columns = [WIDTH * share / sum(widths) for share in widths]
        top = self._row_height(head, columns, bold=True) if head else 0.0
        heights = [self._row_height(cells, columns) for cells in rows]
        starts = self._begin(heights, top, title, said)
        if head:
            self._row(head, columns, bold=True)
        for number, cells in enumerate(rows):
            if number and number in starts:
                self.add_page()
                if head:
                    self._row(head, columns, bold=True)
            self._row(cells, columns)
        self.ln(1.5)

    def _begin(self, heights: Sequence[float], top: float, title: str, said: str = "") -> list[int]:
        """Write what stands above rows, on the page where they begin.

        Args:
            heights: mm of the rows.
            top: mm of what stands above them on each page.
            title: "" for none.
            said: "" for none.

        Returns:
            The rows that begin a page.
        """
        above = self._height(title, *_HEADING, 3.3, bold=True) + self._height(said, *_QUIET, 0.8)
        whole = self.page_break_trigger - _TOP - top
        starts = page_starts(heights, self.page_break_trigger - self.get_y() - above - top, whole)
        if 0 in starts:
            self.add_page()
            starts = page_starts(heights, whole - above, whole)
        if title:
            self.heading(title)
        if said:
            self.paragraph(said, quiet=True)
        return starts

    def _height(
        self, text: str, size: float, line: float, beside: float, bold: bool = False
    ) -> float:
        """mm that a block of text takes, with ``beside`` mm above and below it; 0 of none."""
        if not text:
            return 0.0
        self._style(size, _INK, bold)
        return (self.broken(text, WIDTH - _PAD).count("\n") + 1) * line + beside

    def _row_height(
        self, cells: Sequence[str], columns: Sequence[float], bold: bool = False
    ) -> float:
        self._style(_TABLE, _INK, bold)
        lines = [
            self.broken(cell, width - _PAD).count("\n") + 1
            for cell, width in zip(cells, columns, strict=True)
        ]
        return max(lines) * _ROW + 1.4

    def _row(self, cells: Sequence[str], columns: Sequence[float], bold: bool = False) -> None:
        """A row with a line below it."""
        x, y, lowest = _MARGIN, self.get_y(), 0.0
        for cell, width in zip(cells, columns, strict=True):
            self._style(_TABLE, _GREY if bold else _INK, bold)
            self.set_xy(x, y + 0.7)
            self._lines(self.broken(cell, width - _PAD), width, _ROW)
            lowest = max(lowest, self.get_y())
            x += width
        self.set_draw_color(*_TRACK)
        self.line(_MARGIN, lowest + 0.7, _MARGIN + WIDTH, lowest + 0.7)
        self.set_xy(_MARGIN, lowest + 0.7)

    def bars(self, values: Sequence[tuple[str, float, str, bool]], title: str = "") -> None:
        """Horizontal bars, none of them alone on a page.

        Args:
            values: name, length in 0-1, what is written behind the bar, whether it is accented.
            title: a heading above them.
        """
        name_width, note_width = 58.0, 46.0
        full = WIDTH - name_width - note_width - 4
        self._style(_BARS, _INK)
        texts = [self.broken(value[0], name_width - _PAD) for value in values]
        heights = [(text.count("\n") + 1) * _LINE + 0.9 for text in texts]
        starts = self._begin(heights, 0.0, title)
        for number, (_, share, note, accented) in enumerate(values):
            if number and number in starts:
                self.add_page()
            text, height, y = texts[number], heights[number], self.get_y()
            self._style(_BARS, _INK)
            self._lines(text, name_width, _LINE)
            self.set_fill_color(*_TRACK)
            self.rect(_MARGIN + name_width + 2, y + 0.8, full, 2.8, "F")
            if share > 0:
                self.set_fill_color(*(_ACCENT if accented else _GREY))
                self.rect(_MARGIN + name_width + 2, y + 0.8, full * min(1.0, share), 2.8, "F")
            self.set_xy(_MARGIN + name_width + full + 4, y)
            self.cell(note_width, _LINE, self.text_of(note))
            self.set_xy(_MARGIN, y + height)
        self.ln(0.8)

    def pictures(self, images: Sequence[tuple[Image.Image, str]], highest: float = 53) -> None:
        """Pictures side by side, each with a line below.

        Args:
            images: RGB, and what is written below.
            highest: mm.
        """
        gap = 6.0
        width = (WIDTH - gap) / 2
        small = [_small(image) for image, _ in images]
        sizes = [_fitted(image.size, width, highest) for image in small]
        tallest = max(height for _, height in sizes)
        if self.will_page_break(tallest + 12):
            self.add_page()
        top, ends = self.get_y(), []
        for i, (image, (w, h)) in enumerate(zip(small, sizes, strict=True)):
            x = _MARGIN + i * (width + gap)
            self.image(image, x=x, y=top, w=w, h=h, alt_text=self.text_of(images[i][1]))
            self._style(7.6, _GREY)
            self.set_xy(x, top + tallest + 1)
            text = self.broken(images[i][1], width - _PAD)
            self._lines(text, width, 3.7)
            ends.append(self.get_y())
        self.set_xy(_MARGIN, max(ends) + 1)

    def _style(self, size: float, colour: tuple[int, int, int], bold: bool = False) -> None:
        self.font_family = ""  # else fpdf2 takes a font for set that a fallback has replaced
        self.set_font("plain", "B" if bold else "", size)
        self.set_text_color(*colour)

    def broken(self, text: str, width: float) -> str:
        """Text with line ends where it would leave ``width`` mm in the present font.

        fpdf2 breaks at spaces alone or anywhere: here a line may end at a space and beside a
        Chinese character, and inside a word that is longer than the line.
        """
        lines = []
        for line in self.text_of(text).split("\n"):
            now = ""
            for part in _PARTS.findall(line):
                if now and self.get_string_width((now + part).rstrip()) > width:
                    lines.append(now.rstrip())
                    now = ""
                for char in part:
                    if now and not part.isspace() and self.get_string_width(now + char) > width:
                        lines.append(now.rstrip())
                        now = ""
                    now = now + char if now or not char.isspace() else ""
            lines.append(now.rstrip())
        return "\n".join(lines)

    def _lines(self, text: str, width: float, height: float) -> None:
        """Lines below each other from here on, in the present style."""
        style, size = self.font_style, self.font_size_pt
        for line in text.split("\n"):
            if self.will_page_break(height):
                x = self.get_x()
                self.add_page()
                self.set_x(x)
            self.font_family = ""  # as in `_style`
            self.set_font("plain", style, size)
            self.cell(width, height, line, new_x="LEFT", new_y="NEXT")

    def _block(self, text: str, height: float) -> None:
        text = self.broken(text, WIDTH - _PAD)
        self._lines(text, WIDTH, height)


def _small(image: Image.Image) -> Image.Image:
    """At most `_PIXELS` px, so that a report of many pictures can be sent."""
    factor = min(1.0, _PIXELS / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if factor == 1 else image.resize(size, Image.Resampling.LANCZOS)


def _fitted(size: tuple[int, int], width: float, height: float) -> tuple[float, float]:
    """mm of a picture of ``size`` px in a box."""
    factor = min(width / size[0], height / size[1])
    return size[0] * factor, size[1] * factor
