"""The draft as PDF: what stands at the end of a line and at the foot of a page."""

import pytest

from cerviclip.report.document import Document, blank

pytest.importorskip("fpdf", reason="needs the extra 'report' (fpdf2)")


def pages(document, path):
    from pypdf import PdfReader

    from cerviclip.report.writers.pdf import write

    write(document, path)
    return [page.extract_text() for page in PdfReader(path).pages]


def test_a_blank_is_not_broken_within_its_first_word(tmp_path):
    document = Document("Draft", "")
    for letters in range(100, 160):  # the blank begins at each place of a line
        document.text("n" * 20 + " " + "i" * letters + " " + blank("what the backbone saw"))
    text = "\n".join(pages(document, tmp_path / "draft.pdf"))
    assert text.count("[AUTHORS:") == 60


def test_no_heading_stands_at_the_foot_of_a_page(tmp_path):
    for lines in range(18, 40):  # the headings come at each height of a page
        document = Document("Draft", "")
        for number in range(lines):
            document.text(f"Line {number}.")
        document.heading("Results")
        document.heading("Data flow", level=2)
        document.text("What follows.")
        found = pages(document, tmp_path / "draft.pdf")
        [place] = [n for n, text in enumerate(found) if "Results" in text]
        assert all(word in found[place] for word in ("Data flow", "What follows"))


def test_a_wide_table_has_smaller_letters_rather_than_broken_words(tmp_path):
    document = Document("Draft", "")
    cell = "+17.9 [-21.6, +38.9]"
    head = ("center", "method", *(f"{n} shots" for n in (1, 2, 4, 8, 16, 32)))
    document.table("Differences.", head, [("PhantomXiangya", "CNNBaseline", *[cell] * 6)], labels=2)
    [text] = pages(document, tmp_path / "draft.pdf")
    assert text.count(cell) == 6 and "PhantomXiangya" in text and "CNNBaseline" in text


@pytest.mark.parametrize("tall", [False, True])
def test_no_row_of_a_table_stands_alone_on_a_page(tall, tmp_path):
    for lines in range(3, 38, 5):  # the table comes at each height of a page
        document = Document("Draft", "")
        for number in range(lines):
            document.text(f"Line {number}.")
        document.heading("Results")
        text = "many words that want several lines " * 4 if tall else "few"
        rows = [(f"row{number}.", text) for number in range(23)]
        document.table("What was found.", ("which", "what"), rows, note="A note.")
        found = pages(document, tmp_path / "draft.pdf")
        counts = [text.count("row") for text in found]
        assert sum(counts) == 23
        assert all(n >= 3 for n in counts if n)
        [place] = [n for n, text in enumerate(found) if "Results" in text]
        assert counts[place] >= 3 and "What was found" in found[place]
        assert all("which" in text for text, n in zip(found, counts, strict=True) if n)
