"""The report as PDF (fpdf2), in matplotlib's DejaVu, which has every sign that a report uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cerviclip.report.document import Block, Bullets, Document, Figure, Heading, Table, Text, pieces
from cerviclip.report.writers.page_breaks import KEPT, page_starts

FONT = "DejaVu"
BODY, SMALL, TINY = 9.5, 8.0, 6.8  # points
SMALLER = (TINY, 6.0, 5.3)  # of tables that are too wide
LINE = 5.0  # mm
CLOSE = 0.55  # mm of a table's line for each point of its letters
PADDING = (0.6, 0.8)  # mm of a table's cell
FOOT = 18.0  # mm below a page's content
GREY, BROWN, HEAD = (90, 90, 90), (150, 90, 0), (232, 239, 246)
RULE = (170, 180, 190)


def write(document: Document, path: Path) -> None:
    """Write the file, whole or not at all."""
    import fpdf

    from dassl.utils.files import atomic_write

    pdf = _paged(fpdf.FPDF, document.title)(format="A4")
    pdf.set_auto_page_break(True, margin=FOOT)
    pdf.set_margins(20, 18, 20)
    for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf"),
                        ("I", "DejaVuSans-Oblique.ttf")):  # fmt: skip
        pdf.add_font(FONT, style, _fonts() / file)
    pdf.set_title(document.title)
    pdf.add_page()
    _write(pdf, document.title, 17, "B", line=8)
    _write(pdf, document.subtitle, SMALL, colour=GREY)
    for place, block in enumerate(document.blocks):
        if isinstance(block, Heading) and pdf.get_y() + _room(pdf, document.blocks[place:]) > pdf.h:
            pdf.add_page()  # no heading at the foot of a page
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


def _room(pdf: Any, blocks: Sequence[Block]) -> float:
    """Height in mm that headings in a row want below them, the margin included."""
    room = 0.0
    for block in blocks:
        if not isinstance(block, Heading):
            figure = _figure_size(pdf, block)[1] + 35 if isinstance(block, Figure) else 0.0
            table = _beginning(pdf, block) + FOOT if isinstance(block, Table) else 0.0
            return room + max(70.0, figure, table)
        room += 12.0
    return room


def _add(pdf: Any, block: Block) -> None:
    if isinstance(block, Heading):
        size = 13.5 if block.level == 1 else 11
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
    """A paragraph, its blanks bold and brown."""
    margin = pdf.l_margin
    pdf.set_font(FONT, style, size)
    pdf.set_text_color(*colour)
    if any(is_blank for _, is_blank in pieces(text)):
        pdf.set_left_margin(margin + indent)
        pdf.set_x(margin + indent)
        for piece, is_blank in pieces(text):
            pdf.set_font(FONT, "B" if is_blank else style, size)
            pdf.set_text_color(*(BROWN if is_blank else colour))
            left = pdf.w - pdf.r_margin - pdf.get_x() - 2 * pdf.c_margin
            if pdf.get_string_width(piece.split(" ", 1)[0]) > left:
                pdf.ln(line)  # a word that a piece begins with would be broken within
            pdf.write(line, piece)
        pdf.set_left_margin(margin)
        pdf.ln(line)
    else:
        pdf.set_x(margin + indent)
        pdf.multi_cell(0, line, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0)
    pdf.ln(after)


def _figure_size(pdf: Any, block: Figure) -> tuple[float, float]:
    """Width and height in mm."""
    from PIL import Image

    with Image.open(block.path) as image:
        ratio = image.height / image.width
    width = min(pdf.epw, (pdf.eph - 30) / ratio)
    return width, width * ratio


def _add_figure(pdf: Any, block: Figure) -> None:
    width, height = _figure_size(pdf, block)
    if pdf.get_y() + height + 14 > pdf.h - 18:
        pdf.add_page()
    pdf.image(str(block.path), x=pdf.l_margin + (pdf.epw - width) / 2, w=width)
    pdf.ln(1)
    _write(pdf, f"Figure {block.number}. {block.caption}", SMALL, line=4.2, after=3)


def _add_table(pdf: Any, block: Table) -> None:
    size, widths = _fitted(pdf, block)
    top, head, heights = _heights(pdf, block, size, widths)
    room, whole = pdf.h - FOOT - pdf.get_y() - top - head, pdf.h - FOOT - pdf.t_margin - head
    starts = page_starts(heights, room, whole)
    if pdf.get_y() > pdf.h - 60 or 0 in starts:
        pdf.add_page()
        starts = page_starts(heights, whole - top, whole)
    _write(pdf, _caption(block), SMALL, "B", line=4.2, after=0.5)
    ends = [*(start for start in starts if start), len(block.rows)]
    first = 0
    for end in ends:
        if first:
            pdf.add_page()
        _add_rows(pdf, block, block.rows[first:end], size, widths)
        first = end
    pdf.ln(0.5)
    if block.note:
        _write(pdf, block.note, TINY, line=3.6, after=2.5, colour=GREY)
    else:
        pdf.ln(2.5)


def _caption(block: Table) -> str:
    return f"Table {block.number}. {block.caption}"


def _beginning(pdf: Any, block: Table) -> float:
    """mm of a table's caption, head and first rows."""
    top, head, heights = _heights(pdf, block, *_fitted(pdf, block))
    return top + head + sum(heights[:KEPT])


def _heights(
    pdf: Any, block: Table, size: float, widths: Sequence[float]
) -> tuple[float, float, list[float]]:
    """mm of a table's caption, of its head and of each row."""

    def height(text: str, width: float, line: float, padding: Any = 0) -> float:
        return float(pdf.multi_cell(width, line, text, padding=padding, dry_run=True,
                                    output="HEIGHT", align="L"))  # fmt: skip

    def of_row(cells: Sequence[str], style: str) -> float:
        pdf.set_font(FONT, style, size)
        found = zip(cells, widths, strict=True)
        return max(height(text, width, size * CLOSE, PADDING) for text, width in found)

    pdf.set_font(FONT, "B", SMALL)
    top = height(_caption(block), pdf.epw, 4.2) + 0.5
    head = of_row(block.head, "B") if any(block.head) else 0.0
    return top, head, [of_row(cells, "") for cells in block.rows]


def _add_rows(
    pdf: Any, block: Table, rows: Sequence[Sequence[str]], size: float, widths: list[float]
) -> None:
    """Rows of a table below its head."""
    from fpdf.fonts import FontFace

    pdf.set_font(FONT, "", size)
    align = ("LEFT",) * block.labels + ("RIGHT",) * (len(block.head) - block.labels)
    pdf.set_draw_color(*RULE)
    pdf.set_line_width(0.15)
    with pdf.table(
        first_row_as_headings=any(block.head),
        headings_style=FontFace(emphasis="BOLD", fill_color=HEAD),
        text_align=align,
        col_widths=widths,
        line_height=size * CLOSE,
        borders_layout="HORIZONTAL_LINES",
        padding=PADDING,
    ) as table:
        for cells in (block.head, *rows) if any(block.head) else rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)


def _fitted(pdf: Any, block: Table) -> tuple[float, list[float]]:
    """Points of the letters, and widths of the columns: smaller letters where words would break."""
    usual = SMALL if len(block.head) < 7 else TINY
    for size in (usual, *(smaller for smaller in SMALLER if smaller < usual)):
        pdf.set_font(FONT, "", size)
        widths, whole = _widths(pdf, block)
        if whole:
            break
    return size, widths


def _widths(pdf: Any, block: Table) -> tuple[list[float], bool]:
    """Widths of the columns in mm, the page's in all, and whether every word fits in its own:
    where not all fits, words wrap first."""
    columns = list(zip(block.head, *block.rows, strict=True))
    pdf.set_font(style="B")  # as the head is set, which is the wider

    def longest(texts: Iterable[str]) -> float:
        return max(map(pdf.get_string_width, texts)) + 3.5

    natural = [longest(column) for column in columns]
    pdf.set_font(style="")
    if sum(natural) <= pdf.epw:
        return [width * pdf.epw / sum(natural) for width in natural], True
    pdf.set_font(style="B")
    least = [
        longest(word for cell in column for word in cell.split() or [""]) for column in columns
    ]
    for i in range(block.labels, len(columns)):  # numbers keep their interval in one line
        pdf.set_font(style="")
        least[i] = max(least[i], longest(cell for cell in columns[i][1:]))
    pdf.set_font(style="")
    spare = max(pdf.epw - sum(least), 0.0)
    wanted = [max(n - m, 0.0) for n, m in zip(natural, least, strict=True)]
    total = sum(wanted) or 1.0
    widths = [m + spare * w / total for m, w in zip(least, wanted, strict=True)]
    return [width * pdf.epw / sum(widths) for width in widths], sum(least) <= pdf.epw
