"""Names as people spell them."""

from __future__ import annotations

import unicodedata

import pytest

from cerviclip.data.files.names import (
    cell,
    class_map_of,
    clean,
    distinct_names,
    header_key,
    near_equal,
    near_equal_numbers,
    part_name,
    parts_of,
    several_labels,
)
from dassl.errors import UserError


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("Training", "train"),
        ("train_set", "train"),
        ("Train Images", "train"),
        ("validation", "val"),
        ("DEV", "val"),
        ("Testing", "test"),
        ("test-data", "test"),
        ("eval", "test"),
        ("hold-out", "test"),
        ("tr", "train"),
        ("te", "test"),
        ("Validierung", "val"),
        ("Trainingsdaten", "train"),
        ("训练集", "train"),
        ("测试", "test"),
        ("apprentissage", "train"),
        ("Latest", "latest"),
        ("trained", "trained"),
        ("normal", "normal"),
    ],
)
def test_words_of_the_parts(word, part):
    """Faults 3 and 4."""
    assert part_name(word) == part


def test_eval_beside_a_test_is_the_validation():
    assert parts_of(["train", "eval", "test"]) == {"train": "train", "eval": "val", "test": "test"}
    assert parts_of(["train", "val", "eval"])["eval"] == "test"
    assert parts_of(["train", "eval", "cells"]) == {"train": "train", "eval": "test"}


def test_numbered_parts_are_parts_where_no_other_folder_is_called_so():
    numbered = {"01_train": "train", "02-val": "val", "3 test": "test"}
    assert parts_of(numbered) == numbered
    assert parts_of(["train1", "test1"]) == {"train1": "train", "test1": "test"}
    assert parts_of(["train", "test", "test2"]) == {"train": "train", "test": "test"}
    assert parts_of(["CIN1", "CIN2", "1", "22"]) == {}
    assert parts_of(["TR1", "TR2", "Te 3", "VA-4"]) == {}  # grades of TI-RADS and the like


@pytest.mark.parametrize("text", ["Patient", " patient id", "PATIENT_ID", "Patient-ID"])
def test_headers_in_any_spelling(text):
    assert header_key(text).startswith("patient")


def test_cells_of_nothing():
    assert [cell(v) for v in (None, "", "nan", "NaN", " ", "a\xa0", 0)] == [""] * 5 + ["a", "0"]


def test_names_that_look_alike():
    """Fault 11; composed and decomposed letters are one name by `clean`."""
    names = ["HSIL", "hsil", "HSIL ", "a_b", "a b", "c"]
    assert near_equal(names) == [["HSIL", "HSIL ", "hsil"], ["a b", "a_b"]]
    two = [unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD")]
    assert two[0] != two[1] and class_map_of({two[1]: "x"}) == {two[0]: "x"}


def test_names_that_differ_in_what_nobody_sees():
    assert near_equal(["HSIL", "HSIL\u200b", "c"]) == [["HSIL", "HSIL\u200b"]]
    cyrillic = "\u041dSIL"
    assert near_equal(["HSIL", cyrillic]) == [["HSIL", cyrillic]]
    assert clean("\ufeff HSIL\u200b ") == "HSIL" and cell("\u200b") == ""


def test_one_number_in_two_spellings():
    assert near_equal_numbers(["7", "007", "70", "a7", "0", "00"]) == [["0", "00"], ["007", "7"]]
    assert near_equal_numbers(["P7", "P07", "P70", "Q7", "P-7"]) == [["P07", "P7"]]


@pytest.mark.parametrize("dash", "‐‑‒–—−－")
def test_every_dash_that_a_word_processor_writes_is_one(dash):
    assert near_equal(["low-grade", f"low{dash}grade"]) == [["low-grade", f"low{dash}grade"]]


def test_blanks_between_letters_and_numbers_are_no_difference():
    assert near_equal(["P 12", "P12", "CIN-1", "CIN1"]) == [["CIN-1", "CIN1"], ["P 12", "P12"]]
    assert near_equal(["1-2", "12", "P1 2", "P12"]) == []  # two numbers are not one


def test_a_class_map_holds_names_and_nought_is_one():
    """Fault 5: only "" leaves a class out."""
    assert class_map_of({"0_normal": 0, 10: "1", "x": ""}) == {"0_normal": "0", "10": "1", "x": ""}
    for value in (None, False):
        with pytest.raises(UserError, match="CLASS_MAP maps to.*'a'.*in quotes"):
            class_map_of({"a": value})


def test_like_named_files_have_names_of_their_own():
    paths = ["a/x.png", "b/x.png", "b/y.png", "c/b/x.png"]
    assert list(distinct_names(paths).values()) == ["a-x", "b-x", "y", "b-x-2"]
    assert list(distinct_names(paths)) == paths


def test_a_name_that_is_several_of_the_others():
    assert several_labels(["a", "b", "a;b", "a, b", "c|d", "x/y"]) == ["a, b", "a;b"]
    assert several_labels(["HSIL", "HSIL+", "ASC-H"]) == []
