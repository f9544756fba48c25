"""Reports beside images: how they are found, and the leaks that are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cerviclip.data.texts.reports import Reports
from dassl.errors import MissingFileError, UserError

CLASSES = ("high-grade lesion", "cyst")


def write(path, rows, head="image,report"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return Reports(path)


def items(count):
    return [SimpleNamespace(impath=f"/d/images/{n % 2}/{n}.png", label=n % 2) for n in range(count)]


def rows(text_of, count):
    return [f'{n % 2}/{n}.png,"{text_of(n)}"' for n in range(count)]


@pytest.mark.parametrize(
    "listed, asked",
    [
        ("a/x.png", "/data/images/a/x.png"),
        ("x.png", "/data/images/a/x.png"),
        (r"C:\data\a\x.png", "C:/data/a/x.png"),
        ("A/X.PNG", "/data/a/x.png"),
    ],
)
def test_an_image_finds_its_report_by_the_end_of_its_path(tmp_path, listed, asked):
    reports = write(tmp_path / "r.csv", [f'{listed},"pale, with  dark nuclei"'])
    assert reports.of(asked) == "pale, with dark nuclei"


def test_a_report_may_hold_several_lines(tmp_path):
    reports = write(tmp_path / "r.csv", ['x.png,"first line', 'second line"'])
    assert reports.of("a/x.png") == "first line second line"


def test_an_image_that_is_not_listed_is_an_error_and_an_empty_text_is_none(tmp_path):
    reports = write(tmp_path / "r.csv", ["x.png,"])
    assert reports.of("x.png") == "" and reports.texts == []
    with pytest.raises(UserError, match="no row for /d/y.png"):
        reports.of("/d/y.png")


@pytest.mark.parametrize(
    "head, lines, message",
    [
        ("image,label", ["x.png,1"], "no column of reports"),
        ("image,report", ["x.png,one", "x.png,other"], "line 3: x.png has another report above"),
        ("image,report", [], "holds no reports"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path, head, lines, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / "r.csv", lines, head)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"no table of reports .*none\.csv"):
        Reports(tmp_path / "none.csv")


@pytest.mark.parametrize("words", ["a cyst is seen", "High grade   lesion", "HIGH-GRADE_LESION?"])
def test_a_report_that_names_a_class_is_refused_and_can_be_masked(tmp_path, words):
    reports = write(tmp_path / "r.csv", rows(lambda n: words if n == 3 else f"nuclei of {n} µm", 6))
    with pytest.raises(UserError, match="1 reports name a class .*3.png"):
        reports.check(items(6), CLASSES)
    masked = reports.masked(CLASSES)
    assert masked.check(items(6), CLASSES)["images"] == 6
    assert "lesion" not in masked.of("1/3.png").casefold()


def test_part_of_a_longer_word_is_no_class(tmp_path):
    reports = write(tmp_path / "r.csv", rows(lambda n: f"cystic space {n}", 4))
    assert reports.check(items(4), CLASSES)["texts"] == 4


def test_texts_that_stand_for_the_classes_are_refused(tmp_path):
    reports = write(tmp_path / "r.csv", rows(lambda n: "dark" if n % 2 else "pale", 6))
    with pytest.raises(UserError, match="2 texts stand for 6 images"):
        reports.check(items(6), CLASSES)
    shared = write(tmp_path / "s.csv", rows(lambda n: "dark" if n % 3 else "pale", 6))
    assert shared.check(items(6), CLASSES) == {"images": 6, "without_report": 0, "texts": 2}
