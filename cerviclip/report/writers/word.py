"""The report as a Word file (python-docx): headings, tables and captions are Word's own styles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerviclip.report.document import Block, Bullets, Document, Figure, Heading, Table, Text, pieces
from cerviclip.report.writers.page_breaks import KEPT

TEXT_WIDTH, TEXT_HEIGHT = 6.5, 8.5  # inches; a caption has room below a picture of this height
SMALL = 8  # points, in tables


def write(document: Document, path: Path) -> None:
    """Write the file, whole or not at all."""
    import docx

    from dassl.utils.files import atomic_write

    word = docx.Document()
    for section in word.sections:
        section.left_margin = section.right_margin = docx.shared.Inches(1)
        section.top_margin = section.bottom_margin = docx.shared.Inches(0.9)
    word.styles["Normal"].paragraph_format.widow_control = True
    word.core_properties.title = document.title
    word.core_properties.author = ""
    word.add_heading(document.title, 0)
    word.add_paragraph(document.subtitle, style="Subtitle")
    for block in document.blocks:
        _add(word, block)
    with atomic_write(path, "wb") as handle:
        word.save(handle)


def _add(word: Any, block: Block) -> None:
    from docx.shared import Inches

    if isinstance(block, Heading):
        word.add_heading(f"{block.number} {block.text}", block.level)
    elif isinstance(block, Text):
        _fill(word.add_paragraph(), block.text)
    elif isinstance(block, Bullets):
        for item in block.items:
            _fill(word.add_paragraph(style="List Bullet"), item)
    elif isinstance(block, Figure):
        picture = word.add_picture(str(block.path), width=Inches(TEXT_WIDTH))
        over = max(picture.height / Inches(TEXT_HEIGHT), 1.0)  # its caption stays below it
        picture.width, picture.height = round(picture.width / over), round(picture.height / over)
        word.paragraphs[-1].paragraph_format.keep_with_next = True
        _fill(word.add_paragraph(style="Caption"), f"Figure {block.number}. {block.caption}")
    elif isinstance(block, Table):
        _add_table(word, block)


def _add_table(word: Any, block: Table) -> None:
    caption = word.add_paragraph(style="Caption")
    caption.paragraph_format.keep_with_next = True
    _fill(caption, f"Table {block.number}. {block.caption}")
    table = word.add_table(rows=1, cols=len(block.head))
    table.style = "Light List Accent 1"
    if any(block.head):
        _row(table.rows[0], block.head, block)
        _repeat_head(table.rows[0])
    else:
        table._tbl.remove(table.rows[0]._tr)
        _without_head(table)
    for cells in block.rows:
        _row(table.add_row(), cells, block)
    _keep_together(table.rows, bool(block.note), len(table.rows) - len(block.rows))
    note = word.add_paragraph()
    if block.note:
        note.paragraph_format.keep_together = True
        _fill(note, block.note, size=SMALL)


def _row(row: Any, cells: tuple[str, ...], block: Table) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    for i, (cell, text) in enumerate(zip(row.cells, cells, strict=True)):
        paragraph = cell.paragraphs[0]
        _fill(paragraph, text, size=SMALL)
        paragraph.paragraph_format.space_after = 0
        if not block.is_text(i):
            paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT


def _keep_together(rows: Any, has_note: bool, heads: int) -> None:
    """No page ends within a row, nor within the first or last rows of a table; the last one stays
    with the note.

    Args:
        heads: how many of the rows are a head.
    """
    from docx.oxml import OxmlElement

    last = len(rows) - 1
    for number, row in enumerate(rows):
        row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
        near = number < heads + KEPT - 1 or last - KEPT < number < last
        if near or (number == last and has_note):
            for cell in row.cells:
                cell.paragraphs[0].paragraph_format.keep_with_next = True


def _without_head(table: Any) -> None:
    """The style does not draw the first row as a head."""
    from docx.oxml.ns import qn

    for look in table._tbl.tblPr.findall(qn("w:tblLook")):
        look.set(qn("w:firstRow"), "0")
        value = int(look.get(qn("w:val"), "0"), 16) & ~0x20
        look.set(qn("w:val"), f"{value:04X}")


def _repeat_head(row: Any) -> None:
    """The head stands on each page that the table goes over."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    mark = OxmlElement("w:tblHeader")
    mark.set(qn("w:val"), "true")
    row._tr.get_or_add_trPr().append(mark)


def _fill(paragraph: Any, text: str, size: float = 0) -> None:
    from docx.enum.text import WD_COLOR_INDEX
    from docx.shared import Pt

    for piece, is_blank in pieces(text):
        run = paragraph.add_run(piece)
        if size:
            run.font.size = Pt(size)
        if is_blank:
            run.font.highlight_color = WD_COLOR_INDEX.YELLOW
