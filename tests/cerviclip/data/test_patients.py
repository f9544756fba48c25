"""Patients by pattern: never the class's name, never the frame's number without a word."""

from __future__ import annotations

import re

from cerviclip.data.patients import (
    alone,
    crops_with_their_fields,
    judge_patients,
    no_names,
    patient_in,
)
from cerviclip.data.split.patient_grouped import Item


def items_of(paths, pattern, above=1):
    regex = re.compile(pattern)
    return [Item(p, 0, p.split("/")[0], patient_in(regex, p, above)) for p in paths]


def test_folders_of_part_and_class_tell_no_patient():
    """Fault 53."""
    regex = re.compile(r"CIN(\d+)")
    assert patient_in(regex, "train/CIN1/a.png", above=2) == ""
    assert patient_in(regex, "train/CIN1/CIN7/a.png", above=2) == "7"
    assert patient_in(regex, "CIN1/a.png") == ""


def test_a_pattern_that_takes_the_frames_number_is_warned_of():
    """Fault 28."""
    paths = [f"{c}/P{i // 2}/{i}.png" for c in ("x", "y") for i in range(8)]
    (text,) = judge_patients(items_of(paths, r"(\d+)"), paths, r"(\d+)")
    assert "8 patients in 16 images" in text and "frame's number" in text
    (text,) = judge_patients(items_of(paths, "(png)"), paths, "(png)")
    assert "all images are one patient's" in text
    single = [f"x/P{i}.png" for i in range(12)]
    assert judge_patients(items_of(single, r"(P\d+)"), single, r"(P\d+)") == []
    assert "nearly every image is a patient of" in alone(items_of(single, r"(P\d+)"), r"(P\d+)")
    assert alone(items_of(paths, "(png)"), "(png)") == "" == alone(items_of(single, "(P)"), "stem")


def test_numbers_that_start_anew_in_each_class_are_warned_of():
    """Fault 10."""
    paths = [f"{c}/{i:03d}_{j}.png" for c in ("x", "y") for i in range(5) for j in range(3)]
    (text,) = judge_patients(items_of(paths, r"^(\d+)"), paths, r"^(\d+)")
    assert "5 of them have images in several classes" in text and "PATIENT_PER_CLASS" in text
    apart = [f"{c}/{c}{i:03d}_{j}.png" for c in ("x", "y") for i in range(5) for j in range(3)]
    assert judge_patients(items_of(apart, r"^(\w\d+)"), apart, r"^(\w\d+)") == []


def test_crops_know_their_field():
    paths = ["a/a/000.bmp", "a/a/001.bmp", "a/a/CROPPED/000_00.bmp", "a/a/CROPPED/0010_1.bmp"]
    assert crops_with_their_fields(paths) == {"a/a/CROPPED/000_00": "a/a/000"}


def test_words_for_nobody_and_numbers_cut_short_are_no_patients():
    def items(*patients):
        return [Item(f"a/{n}.png", 0, "a", patient) for n, patient in enumerate(patients)]

    assert no_names(items("P1", "7", "1e5a", "N12", "E3")) == []
    (text,) = no_names(items("P1", "-", "-", "Unknown"))
    assert '3 images are of the patient "-" and "Unknown"' in text
    (text,) = no_names(items("1.23457E+11", "1,2E+8", "P1"))
    assert text.startswith("2 patients have names such as 1.23457E+11, as a spreadsheet")
