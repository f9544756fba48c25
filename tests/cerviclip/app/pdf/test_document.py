"""Tables and bars of the report's pages: what stands together."""

from __future__ import annotations

import io

import pytest

pypdf = pytest.importorskip("pypdf")
pytest.importorskip("fpdf")


def pages_of(lines: int, add) -> list[str]:
    """Texts of the pages of a document with some lines, and what ``add`` writes below them."""
    from cerviclip.app.pdf.document import Document

    pdf = Document("head", "disclaimer", "foot", "{n} of {total}")
    try:
        pdf.add_page()
        for _ in range(lines):
            pdf.paragraph("A line.")
        add(pdf)
        content = bytes(pdf.output())
    finally:
        pdf.release()
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]


def rows(pdf, count: int) -> None:
    pdf.rows(("which", "what"), [[f"row{n}.", "text"] for n in range(count)], (1, 2), "Title", "So")


def bars(pdf, count: int) -> None:
    pdf.bars([(f"row{n}.", 0.5, "50 %", False) for n in range(count)], "Title")


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 12, 60])
@pytest.mark.parametrize("add", [rows, bars])
def test_no_row_stands_alone_on_a_page(add, count):
    for lines in range(0, 50, 7):
        found = pages_of(lines, lambda pdf: add(pdf, count))
        counts = [text.count("row") for text in found]
        assert sum(counts) == count
        assert all(n >= 3 for n in counts if n), (lines, counts)
        [place] = [n for n, text in enumerate(found) if "Title" in text]
        assert counts[place] >= 3
