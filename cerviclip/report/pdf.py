"""The report as PDF (fpdf2), in matplotlib's DejaVu, which has every sign that a report uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerviclip.report.document import Block, Bullets, Document, Figure, Heading, Table, Text, pieces

FONT = "DejaVu"
BODY, SMALL, TINY = 9.5, 8.0, 6.8  # points
LINE = 5.0  # mm
GREY, MARK, HEAD = (90, 90, 90), (255, 240, 150), (232, 239, 246)


def write(document: Document, path: Path) -> None:
    """Write the file, whole or not at all."""
    import fpdf

    from dassl.utils.files import atomic_write

    pdf = _paged(fpdf.FPDF, document.title)(format="A4")
    pdf.set_auto_page_break(True, margin=18)
    pdf.set_margins(20, 18, 20)
    for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf"),
                        ("I", "DejaVuSans-Oblique.ttf")):  # fmt: skip
        pdf.add_font(FONT, style, _fonts() / file)
    pdf.set_title(document.title)
    pdf.add_page()
    _write(pdf, document.title, 17, "B", line=8)
    _write(pdf, document.subtitle, SMALL, colour=GREY)
    for block in document.blocks:
        _add(pdf, block)
    with atomic_write(path, "wb") as handle:
        handle.write(bytes(pdf.output()))


def _fonts() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _paged(kind: Any, title: str) -> Any:
    """FPDF with the title and the page's number below each page."""

    class Paged(kind):
        def footer(self) -> None:
            self.set_y(-13)
            self.set_font(FONT, "", 7)
            self.set_text_color(*GREY)
            self.cell(0, 5, f"{title}  |  {self.page_no()}", align="C")
            self.set_text_color(0)

    return Paged


def _add(pdf: Any, block: Block) -> None:
    if isinstance(block, Heading):
        size = 13.5 if block.level == 1 else 11
        if pdf.get_y() > pdf.h - 50:  # no heading at the foot of a page
            pdf.add_page()
        pdf.ln(3 if block.level == 1 else 1.5)
        pdf.start_section(f"{block.number} {block.text}", level=block.level - 1)
        _write(pdf, f"{block.number}  {block.text}", size, "B", line=6.5)
    elif isinstance(block, Text):
        _write(pdf, block.text, BODY)
    elif isinstance(block, Bullets):
        for item in block.items:
            _write(pdf, f"•  {item}", BODY, after=0.6, indent=4)
        pdf.ln(1.5)
    elif isinstance(block, Figure):
        _add_figure(pdf, block)
    elif isinstance(block, Table):
        _add_table(pdf, block)


def _write(
    pdf: Any,
    text: str,
    size: float,
    style: str = "",
    line: float = LINE,
    after: float = 2.0,
    indent: float = 0,
    colour: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """A paragraph, its blanks on yellow."""
    margin = pdf.l_margin
    pdf.set_font(FONT, style, size)
    pdf.set_text_color(*colour)
    if any(is_blank for _, is_blank in pieces(text)):
        pdf.set_left_margin(margin + indent)
        pdf.set_x(margin + indent)
        for piece, is_blank in pieces(text):
            pdf.set_font(FONT, "B" if is_blank else style, size)
            pdf.set_text_color(*((150, 90, 0) if is_blank else colour))
            pdf.write(line, piece)
        pdf.set_left_margin(margin)
        pdf.ln(line)
    else:
        pdf.set_x(margin + indent)
        pdf.multi_cell(0, line, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0)
    pdf.ln(after)


def _add_figure(pdf: Any, block: Figure) -> None:
    from PIL import Image

    with Image.open(block.path) as image:
        ratio = image.height / image.width
    width = min(pdf.epw, (pdf.eph - 30) / ratio)
    if pdf.get_y() + width * ratio + 14 > pdf.h - 18:
        pdf.add_page()
    pdf.image(str(block.path), x=pdf.l_margin + (pdf.epw - width) / 2, w=width)
    pdf.ln(1)
    _write(pdf, f"Figure {block.number}. {block.caption}", SMALL, line=4.2, after=3)


def _add_table(pdf: Any, block: Table) -> None:
    from fpdf.fonts import FontFace

    if pdf.get_y() > pdf.h - 60:
        pdf.add_page()
    _write(pdf, f"Table {block.number}. {block.caption}", SMALL, "B", line=4.2, after=0.5)
    size = SMALL if len(block.head) < 7 else TINY
    pdf.set_font(FONT, "", size)
    align = ("LEFT",) * block.labels + ("RIGHT",) * (len(block.head) - block.labels)
    with pdf.table(
        headings_style=FontFace(emphasis="BOLD", fill_color=HEAD),
        text_align=align,
        col_widths=_widths(pdf, block),
        line_height=size * 0.55,
        borders_layout="HORIZONTAL_LINES",
        padding=(0.6, 0.8),
    ) as table:
        for cells in (block.head, *block.rows):
            row = table.row()
            for cell in cells:
                row.cell(cell)
    pdf.ln(0.5)
    if block.note:
        _write(pdf, block.note, TINY, line=3.6, after=2.5, colour=GREY)
    else:
        pdf.ln(2.5)


def _widths(pdf: Any, block: Table) -> list[float]:
    """Shares of the page by the longest cell of each column, the longest ones held back."""
    columns = zip(block.head, *block.rows, strict=True)
    longest = [max(pdf.get_string_width(cell) for cell in column) + 3 for column in columns]
    most = pdf.epw * 0.5
    return [min(width, most) for width in longest]
