"""The draft in Word and Markdown: what is marked, aligned and kept together."""

import pytest

from cerviclip.report.document import Document, blank
from cerviclip.report.writers import markdown


@pytest.fixture
def draft():
    document = Document("Draft", "")
    rows = [
        ("first", "1", "short"),
        *(("more", "2", "few") for _ in range(6)),
        ("last", "10", "known; " + blank("of cell")),
    ]
    note = "In a note " + blank("of note")
    document.table(
        "In a caption " + blank("of caption"), ("name", "number", "chosen"), rows, note=note,
        texts=[2],
    )  # fmt: skip
    return document


def test_markdown_marks_blanks_everywhere_and_has_words_at_the_left(draft, tmp_path):
    markdown.write(draft, tmp_path / "draft.md")
    text = (tmp_path / "draft.md").read_text("utf-8")
    assert "|---|---:|---|" in text
    assert all(f"**[AUTHORS: of {place}]**" in text for place in ("cell", "caption", "note"))


def word_of(document, path):
    docx = pytest.importorskip("docx", reason="needs the extra 'report' (python-docx)")
    from cerviclip.report.writers import word

    word.write(document, path)
    return docx.Document(str(path))


def test_word_marks_blanks_everywhere_and_has_words_at_the_left(draft, tmp_path):
    found = word_of(draft, tmp_path / "draft.docx")
    [table] = found.tables
    cells = table.rows[1].cells
    assert [cell.paragraphs[0].alignment for cell in cells] == [None, 2, None]  # 2: right
    paragraphs = [*found.paragraphs, *(c.paragraphs[0] for row in table.rows for c in row.cells)]
    marked = [r.text for p in paragraphs for r in p.runs if r.font.highlight_color is not None]
    assert sorted(marked) == [blank(f"of {where}") for where in ("caption", "cell", "note")]


def test_word_keeps_the_ends_of_a_table_together_and_its_note_below(draft, tmp_path):
    found = word_of(draft, tmp_path / "draft.docx")
    [table] = found.tables
    kept = [row.cells[0].paragraphs[0].paragraph_format.keep_with_next for row in table.rows]
    assert kept == [True, True, True, None, None, None, True, True, True]
    assert all(row._tr.xpath("./w:trPr/w:cantSplit") for row in table.rows)
    assert found.styles["Normal"].paragraph_format.widow_control


def test_a_tall_picture_leaves_its_caption_room_in_word(tmp_path):
    from PIL import Image

    Image.new("RGB", (100, 400)).save(tmp_path / "tall.png")
    document = Document("Draft", "")
    document.figure("Tall.", tmp_path / "tall.png")
    found = word_of(document, tmp_path / "draft.docx")
    [shape] = found.inline_shapes
    assert shape.height.inches == pytest.approx(8.5, abs=0.01)
    assert shape.width.inches == pytest.approx(8.5 / 4, abs=0.01)


def test_a_table_without_a_head_does_not_draw_its_first_row_as_one(draft, tmp_path):
    draft.table("A card.", ("", ""), [("what it is", "a set"), ("licence", "MIT")], labels=2)
    found = word_of(draft, tmp_path / "draft.docx")
    looks = [table._tbl.tblPr.xpath("./w:tblLook")[0] for table in found.tables]
    values = [{key.rpartition("}")[2]: value for key, value in look.items()} for look in looks]
    assert [value["firstRow"] for value in values] == ["1", "0"]
    assert [int(value["val"], 16) & 0x20 for value in values] == [0x20, 0]
