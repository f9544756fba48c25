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


@pytest.mark.slow
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


@pytest.mark.slow
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


def words(path):
    """Words of all pages: page, left edge in mm, height in mm, font, text."""
    from pypdf import PdfReader

    found = []

    def keep(text, matrix, place, font, size, number):
        if text.strip():
            x, y = (25.4 / 72 * n for n in (place[4], place[5]))
            found.append((number, x, y, (font or {}).get("/BaseFont", ""), text.strip()))

    for number, page in enumerate(PdfReader(path).pages):
        page.extract_text(visitor_text=lambda *told, number=number: keep(*told, number))
    return found


def picture(path, height):
    """A picture that takes a height in mm where it is as wide as the page's text."""
    from PIL import Image

    Image.new("RGB", (170, height), "grey").save(path)
    return path


@pytest.mark.parametrize("lines", [15, 20, 24])
def test_what_follows_a_figure_fills_the_page_before_it(lines, tmp_path):
    """Pages were half empty before a figure that did not fit on them."""
    document = Document("Draft", "")
    for number in range(lines):
        document.text(f"Line {number}.")
    document.heading("Results")
    document.figure("A tall one.", picture(tmp_path / "a.png", 150))
    document.figure("A second one.", picture(tmp_path / "b.png", 90))
    for number in range(30):
        document.text(f"Row {number}.")
    document.heading("Discussion")
    found = pages(document, tmp_path / "draft.pdf")
    of = {what: [n for n, text in enumerate(found) if what in text] for what in
          ("Results", "A tall one", "A second one", "Row 0.", "Discussion")}  # fmt: skip
    assert of["Results"] == of["Row 0."] == [0] and of["A tall one"] == [1]
    assert of["A tall one"] <= of["A second one"] <= of["Discussion"]  # they pass no section
    assert found[0].count("Line") + found[0].count("Row") >= 30


def test_a_table_stands_below_a_figure_that_waited_for_the_page(tmp_path):
    document = Document("Draft", "")
    for number in range(26):
        document.text(f"Line {number}.")
    document.figure("It waits.", picture(tmp_path / "a.png", 140))
    for number in range(6):
        document.text(f"Row {number}.")
    document.heading("All methods", level=2)
    rows = [(f"row{number}.", "few") for number in range(12)]
    document.table("What was found.", ("which", "what"), rows)
    found = pages(document, tmp_path / "draft.pdf")
    assert "It waits" in found[1] and "What was found" in found[1] and len(found) == 2


def test_figures_at_the_end_of_a_section_are_all_there(tmp_path):
    document = Document("Draft", "")
    document.heading("Results")
    for number in range(4):
        document.figure(f"Of {number}.", picture(tmp_path / f"{number}.png", 120 + number))
    document.heading("Discussion")
    document.text("What it means.")
    document.figure("The last one.", picture(tmp_path / "last.png", 400))  # higher than a page
    found = pages(document, tmp_path / "draft.pdf")
    order = [f"Figure {n}." for n in (1, 2, 3, 4)] + ["What it means", "Figure 5."]
    places = ["\n".join(found).index(what) for what in order]
    assert places == sorted(places)


@pytest.mark.slow
def test_a_note_stays_below_the_last_rows(tmp_path):
    """The last line of a note stood alone on a page."""
    for lines in range(20, 34):
        document = Document("Draft", "")
        for number in range(lines):
            document.text(f"Line {number}.")
        rows = [(f"row{number}.", "few") for number in range(5)]
        note = "noted " * 90
        document.table("What was found.", ("which", "what"), rows, note=note)
        found = pages(document, tmp_path / "draft.pdf")
        assert all(text.count("row") >= 3 for text in found if "noted" in text)
        assert sum(text.count("noted") for text in found) == 90


@pytest.mark.slow
def test_no_line_of_a_paragraph_stands_alone_on_a_page(tmp_path):
    for lines in range(24, 36):
        document = Document("Draft", "")
        for number in range(lines):
            document.text(f"Line {number}.")
        document.text("\n".join(f"part {letter}" for letter in "abcdef"))
        document.bullets(["\n".join(f"item {letter}" for letter in "abc")] * 3)
        found = pages(document, tmp_path / "draft.pdf")
        assert all(text.count("part") != 1 for text in found)
        assert all(text.count("item") % 3 == 0 for text in found)
        assert all(text.count("•") == text.count("item a") for text in found)


def test_a_small_table_is_not_parted_and_a_long_one_says_that_it_goes_on(tmp_path):
    for count, parts in ((6, 1), (40, 2)):
        document = Document("Draft", "")
        for number in range(27):
            document.text(f"Line {number}.")
        rows = [(f"row{number}.", "few") for number in range(count)]
        document.table("What was found.", ("which", "what"), rows)
        found = pages(document, tmp_path / "draft.pdf")
        assert sum("row" in text for text in found) == parts
        assert sum("Table 1, continued" in text for text in found) == parts - 1


def test_a_blank_is_marked_wherever_it_stands(tmp_path):
    """Blanks in cells, captions and notes looked like any other words."""
    document = Document("Draft", "")
    document.text("In a text " + blank("of text") + ".")
    document.bullets(["In a list " + blank("of list")])
    rows = [("In a cell", "known; " + blank("of cell")), ("plain", "words")]
    note = "In a note " + blank("of note")
    document.table("In a caption " + blank("of caption"), ("a", "b"), rows, note=note, labels=2)
    pages(document, tmp_path / "draft.pdf")
    found = words(tmp_path / "draft.pdf")
    for place in ("text", "list", "cell", "note", "caption"):
        [font] = [font for *_, font, text in found if f"[AUTHORS: of {place}]" in text]
        assert "Bold" in font
    for text in ("known;", "plain", "In a note"):
        assert all("Bold" not in font for *_, font, said in found if said == text)
    from pypdf import PdfReader

    content = PdfReader(tmp_path / "draft.pdf").pages[0].get_contents().get_data().decode("latin1")
    assert content.count("0.5882 0.3529 0 rg") == 5  # brown


def test_a_column_of_words_stands_at_the_left_behind_numbers(tmp_path):
    document = Document("Draft", "")
    rows = [("first", "1", "short"), ("second", "10", "many more words than that")]
    document.table("Found.", ("name", "number", "chosen"), rows, texts=[2])
    pages(document, tmp_path / "draft.pdf")
    left = {text: x for _, x, _, _, text in words(tmp_path / "draft.pdf")}
    assert left["short"] == left["many more words than that"] == left["chosen"]
    assert left["1"] > left["10"]
    assert left["short"] > left["1"] + 2.0  # the two do not touch


def test_widths_that_are_spare_go_to_short_columns_first():
    from cerviclip.report.writers.pdf_tables import shared

    assert shared(10, [2, 100, 3]) == [2, 5, 3]
    assert shared(10, [100, 100]) == [5, 5] and shared(10, [1, 2]) == [1, 2]


def test_names_in_chinese_are_there_in_text_tables_and_the_foot(tmp_path, capsys):
    from cerviclip.drawing import fonts

    if fonts.chinese_font() is None:
        pytest.skip(f"no font for Chinese here: {fonts.REMEDY}")
    document = Document("Draft of 湘雅", "")
    document.text("Frames of 宫颈 and " + blank("what 宫颈 is"))
    document.table("Centres of 湘雅.", ("centre", "n"), [("湘雅", "5"), ("plain", "6")])
    [text] = pages(document, tmp_path / "draft.pdf")
    text = text.replace("\0", "")  # of pypdf, where a line changes its font
    assert text.count("湘雅") == 4 and text.count("宫颈") == 2 and "plain" in text
    assert capsys.readouterr().out == ""


def test_a_letter_that_no_font_has_is_told(tmp_path, capsys, monkeypatch):
    from cerviclip.drawing import fonts

    monkeypatch.setattr(fonts, "chinese_font", lambda: None)
    document = Document("Draft", "")
    document.text("Frames of 宫颈, 5\xa0%")
    [text] = pages(document, tmp_path / "draft.pdf")
    assert "Frames of ??, 5" in text
    said = capsys.readouterr().out
    assert "宫颈" in said and fonts.REMEDY in said and "xa0" not in said
