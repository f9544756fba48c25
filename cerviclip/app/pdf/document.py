"""A PDF's page and the blocks that reports are made of: headings, text, tables, bars, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fpdf import FPDF
from fpdf.enums import MethodReturnValue
from fpdf.fonts import FontFace
from PIL import Image

from cerviclip.app.pdf.fonts import Shown, plain_fonts

WIDTH = 180.0  # mm between the margins of an A4 page
_MARGIN, _LINE = 15, 4.4  # mm
_INK, _GREY, _ACCENT, _ALARM = (30, 34, 40), (105, 112, 122), (32, 98, 150), (170, 40, 30)
_TRACK = (232, 236, 240)
_PIXELS = 900  # px of an embedded picture's longer side


class Document(FPDF):
    """A4 pages with the disclaimer above and number, date and model below.

    Args:
        head: what the page is, at the top left.
        disclaimer: at the top right of every page.
        foot: at the bottom left of every page.
        page_word: with ``{n}`` and ``{total}``, at the bottom right.
        by_character: whether a line may end behind any character, as in Chinese.
    """

    def __init__(
        self, head: str, disclaimer: str, foot: str, page_word: str, by_character: bool = False
    ) -> None:
        super().__init__(format="A4", unit="mm")
        self.shown = Shown()
        self._words = (head, disclaimer, foot, page_word)
        self._wrap = "CHAR" if by_character else "WORD"
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

    def header(self) -> None:
        head, disclaimer, _, _ = self._words
        self.set_y(8)
        self._style(8, _GREY)
        self.cell(WIDTH / 2, 5, self.text_of(head))
        self._style(8, _ALARM, bold=True)
        self.cell(WIDTH / 2, 5, self.text_of(disclaimer), align="R")
        self.set_draw_color(*_TRACK)
        self.line(_MARGIN, 14, _MARGIN + WIDTH, 14)
        self.set_y(18)

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
        self._style(10.5, _ACCENT, bold=True)
        self._block(text, 5.2)
        self.ln(0.8)

    def paragraph(self, text: str, alarm: bool = False, quiet: bool = False) -> None:
        self._style(8 if quiet else 9, _ALARM if alarm else _GREY if quiet else _INK)
        self._block(text, 3.9 if quiet else _LINE)
        self.ln(0.8)

    def rows(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float]
    ) -> None:
        """A table; its head stands again on each page.

        Args:
            head: () for none.
            rows: of text.
            widths: shares of the page's width.
        """
        self._style(7.8, _INK)
        self.set_draw_color(*_TRACK)
        face = FontFace(emphasis="BOLD", color=_GREY)
        with self.table(
            col_widths=tuple(widths),
            borders_layout="HORIZONTAL_LINES",
            headings_style=face,
            first_row_as_headings=bool(head),
            line_height=_LINE,
            padding=(0.5, 1, 0.5, 0),
            text_align="LEFT",
            wrapmode=self._wrap,
        ) as table:
            for cells in [*([head] if head else []), *rows]:
                row = table.row()
                for cell in cells:
                    row.cell(self.text_of(cell))
        self.ln(1)

    def bars(self, values: Sequence[tuple[str, float, str, bool]]) -> None:
        """Horizontal bars.

        Args:
            values: name, length in 0-1, what is written behind the bar, whether it is accented.
        """
        name_width, note_width = 58.0, 46.0
        full = WIDTH - name_width - note_width - 4
        for name, share, note, accented in values:
            self._style(8.2, _INK)
            text = self.text_of(name)
            lines = self._wrapped(text, name_width, _LINE)
            height = max(1, len(lines)) * _LINE + 0.9
            if self.will_page_break(height):
                self.add_page()
            y = self.get_y()
            self._style(8.2, _INK)
            self.multi_cell(name_width, _LINE, text, align="L", wrapmode=self._wrap)
            self.set_fill_color(*_TRACK)
            self.rect(_MARGIN + name_width + 2, y + 0.8, full, 2.8, "F")
            if share > 0:
                self.set_fill_color(*(_ACCENT if accented else _GREY))
                self.rect(_MARGIN + name_width + 2, y + 0.8, full * min(1.0, share), 2.8, "F")
            self.set_xy(_MARGIN + name_width + full + 4, y)
            self.cell(note_width, _LINE, self.text_of(note))
            self.set_xy(_MARGIN, y + height)

    def pictures(self, images: Sequence[tuple[Image.Image, str]], highest: float = 78) -> None:
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
            text = self.text_of(images[i][1])
            self.multi_cell(width, 3.7, text, align="L", wrapmode=self._wrap)
            ends.append(self.get_y())
        self.set_xy(_MARGIN, max(ends) + 1)

    def _style(self, size: float, colour: tuple[int, int, int], bold: bool = False) -> None:
        self.set_font("plain", "B" if bold else "", size)
        self.set_text_color(*colour)

    def _wrapped(self, text: str, width: float, height: float) -> Any:
        return self.multi_cell(
            width, height, text, dry_run=True, output=MethodReturnValue.LINES, wrapmode=self._wrap
        )

    def _block(self, text: str, height: float) -> None:
        text = self.text_of(text)
        self.multi_cell(
            WIDTH, height, text, align="L", new_x="LMARGIN", new_y="NEXT", wrapmode=self._wrap
        )


def _small(image: Image.Image) -> Image.Image:
    """At most `_PIXELS` px, so that a report of many pictures can be sent."""
    factor = min(1.0, _PIXELS / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if factor == 1 else image.resize(size, Image.Resampling.LANCZOS)


def _fitted(size: tuple[int, int], width: float, height: float) -> tuple[float, float]:
    """mm of a picture of ``size`` px in a box."""
    factor = min(width / size[0], height / size[1])
    return size[0] * factor, size[1] * factor
