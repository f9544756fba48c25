"""Titles of data sets: what they can be, and which name people are told."""

import pytest

from cerviclip.runs.study_title import (
    MOST,
    check_title,
    check_titles,
    marked_name,
    named,
    shown_name,
    title,
    title_notes,
    wrong_in_title,
)
from cerviclip.shapes import Misshapen
from dassl.errors import UserError


def run(title=None, **more):
    return ({"runtime": {"title": title}} if title else {"runtime": {}}) | more


@pytest.mark.parametrize(
    "text",
    ["", "Cervix OCT, Hospital A", "R&D 2019-2023 (50 % CIN2+)", "宫颈 OCT,甲医院", "É" * MOST,
     "3 hospitals: what's new?"],
)  # fmt: skip
def test_what_a_study_is_called_is_a_title(text):
    assert wrong_in_title(text) == ""
    check_title(text)
    title(text, "runtime.title")


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\tb", "\x1b[31mred", "a\u202eb", "a\u200bb", "x" * 10_000, "x" * (MOST + 1), "a|b",
     "$x$", "\\input{x}", "<b>x</b>", "[red]x", "*x*", "_x_", "`x`", "# x", "a~b", 'a"b', "- x",
     " x", "x ", "\x00", "{x}"],
)  # fmt: skip
def test_what_some_place_would_not_show_as_it_is_is_refused_in_one_line(text):
    with pytest.raises(UserError, match="^DATASET.TITLE .*give at most 80 letters") as caught:
        check_title(text)
    said = str(caught.value)
    assert len(said.splitlines()) == 1 and said.isprintable() and len(said) < 300
    with pytest.raises(Misshapen, match="^runtime.title is .*, not a title"):
        title(text, "runtime.title")


@pytest.mark.parametrize("value", [None, 3, ["a"], {"a": 1}])
def test_what_is_no_text_is_no_title_of_a_file(value):
    with pytest.raises(Misshapen, match="not a title: it is no text"):
        title(value, "runtime.title")


def test_the_title_that_all_runs_have_is_shown():
    both = [run("Hospital A"), run("Hospital A")]
    assert shown_name("FolderDataset", both) == "Hospital A" and title_notes(both) == []
    for none in ([run(), run()], [{}], [], [{"runtime": None}]):  # older runs, readers
        assert shown_name("FolderDataset", none) == "FolderDataset" and title_notes(none) == []


def test_several_titles_are_told_and_none_is_chosen():
    for other, said in (("Hospital B", '"Hospital A", "Hospital B"'), (None, '"Hospital A", none')):
        runs = [run(other), run("Hospital A")][:: -1 if other else 1]
        assert shown_name("FolderDataset", runs) == "FolderDataset"
        assert title_notes(runs) == [f"runs with different titles (DATASET.TITLE): {said}"]
    [note] = title_notes([run(f"H {n}") for n in range(9)])
    assert note.endswith('"H 4" and 4 more')


def test_a_pooled_score_has_the_titles_of_its_runs():
    assert shown_name("FolderDataset", [{"titles": ["A"]}, {"titles": ["A"]}]) == "A"
    assert shown_name("FolderDataset", [{"titles": ["A", "B"]}]) == "FolderDataset"


def test_a_title_does_not_hide_phantoms():
    assert named("PhantomOCT", "Cervix OCT") == "Cervix OCT (phantom data)"
    assert marked_name("PhantomOCT", [run("Cervix OCT")]) == "Cervix OCT (phantom data)"
    assert marked_name("PhantomOCT", [run()]) == "PhantomOCT (phantom data)"
    assert shown_name("PhantomOCT", [run()]) == "PhantomOCT"
    assert marked_name("FolderDataset", [run("A")]) == "A"


def test_one_title_for_two_data_sets_is_refused():
    check_titles([("Herlev", ""), ("SIPaKMeD", ""), ("FolderDataset", "A"), ("FolderDataset", "A")])
    with pytest.raises(UserError, match="'A' would name two data sets, Herlev and SIPaKMeD"):
        check_titles([("Herlev", "A"), ("SIPaKMeD", "A")])
