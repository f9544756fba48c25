"""What thresholds and calibration are and rest on, in the words of page, command and PDFs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from cerviclip.app.answer import Prediction
from cerviclip.app.web.basis import by_threshold, calibrations, coinciding, joined, rests_on
from cerviclip.app.web.texts import LANGUAGES, Texts
from cerviclip.evaluation.measures import Home, Sample, Settings
from cerviclip.evaluation.measures.sample import FEWEST_EVENTS, is_few

T = Texts("en")
SAME = {"sensitivity_95": 0.31, "specificity_95": 0.887, "youden": 0.887}


def home(events: int, others: int, ids: bool = True, positive: tuple[str, ...] = ("b",)) -> Home:
    """Chosen on two images of each patient."""
    labels = np.repeat([1] * events + [0] * others, 2)
    patients = [f"P{i // 2}" if ids else "" for i in range(len(labels))]
    share = np.linspace(0.1, 0.9, len(labels))
    probs = np.stack([share, 1 - share], axis=1)
    return Home.fit(Sample.of("val", labels, probs, patients, "ab", positive), Settings())


def test_few_patients_are_said_with_their_numbers():
    assert rests_on(T, home(2, 3)) == (
        "Caution: thresholds, calibration and lists of possible classes rest on small numbers. "
        "Patients of val: 5 (images: 10). Patients with an image of the positive group: 2; with an "
        f"image outside it: 3. With fewer than {FEWEST_EVENTS} of one kind, other patients could "
        "have given quite other values."
    )
    assert "验证患者 5 名（图像 10 张）" in rests_on(Texts("zh"), home(2, 3))


@pytest.mark.parametrize("language", LANGUAGES)
def test_images_without_ids_are_not_called_patients(language):
    said = rests_on(Texts(language), home(2, 3, ids=False))
    assert "10" in said and "4" in said and "6" in said  # images; no number of patients
    if language == "en":
        assert "Images of val: 10. Their patients are not known" in said
        assert "Patients of val" not in said and "Patients with" not in said


def test_only_what_was_chosen_is_named():
    said = rests_on(T, home(2, 3, positive=()))
    assert said.startswith("Caution: calibration and lists of possible classes rest on small")
    assert "positive group" not in said
    assert rests_on(T, Home.absent("no val")) == ""
    nothing = replace(home(2, 3), thresholds={}, temperature=None, isotonic=None, conformal={})
    assert rests_on(T, nothing) == ""


@pytest.mark.parametrize("events", [0, 1, FEWEST_EVENTS - 1, FEWEST_EVENTS, FEWEST_EVENTS + 1])
@pytest.mark.parametrize("others", [1, FEWEST_EVENTS - 1, FEWEST_EVENTS, 2 * FEWEST_EVENTS])
@pytest.mark.parametrize("positive", [("b",), ()])
def test_they_are_few_where_results_json_notes_it(events, others, positive):
    found = home(events, others, positive=positive)
    assert is_few(found.counts) is ("rests on only" in found.note)
    assert bool(rests_on(T, found)) is is_few(found.counts)


def test_points_of_one_threshold_are_one_decision():
    assert by_threshold(SAME) == [
        (["sensitivity_95"], "31.0 %"),
        (["specificity_95", "youden"], "88.7 %"),
    ]
    (said,) = coinciding(T, SAME, "val")
    assert "and best sum of both (Youden) have the same threshold, 88.7 %" in said
    assert "one decision and not 2" in said and "sensitivity (misses" not in said
    (said,) = coinciding(Texts("zh"), SAME, "val")
    assert "特异度 95 %（误报少）和" in said and "验证图像" in said
    assert coinciding(T, {"a": 0.5, "b": 0.6}, "val") == [] == coinciding(T, {}, "val")
    assert by_threshold({}) == []


def test_thresholds_that_differ_are_written_apart():
    assert by_threshold({"a": 0.99991, "b": 0.99992}) == [(["a"], "99.991 %"), (["b"], "99.992 %")]


def test_both_calibrations_are_named_with_their_values():
    plain = Prediction(("a", "b", "c"), (0.2, 0.3, 0.5), ("b", "c"))
    by_classes = replace(plain, calibrated=(0.34, 0.28, 0.38))
    both = replace(by_classes, calibrated_positive=0.333)
    assert calibrations(T, plain, "val") == ""
    assert "temperature" in calibrations(T, by_classes, "val")
    assert "isotonic" not in calibrations(T, by_classes, "val")
    said = calibrations(T, both, "val")
    assert "need not agree: the positive group has 66.0 % by temperature scaling and 33.3 %" in said
    said = calibrations(Texts("zh"), both, "val")
    assert "温度缩放" in said and "保序回归" in said and "66.0 %" in said and "33.3 %" in said
    alone = calibrations(T, replace(plain, calibrated_positive=0.333), "val")
    assert "isotonic" in alone and "need not agree" not in alone


def test_names_are_joined_as_the_language_has_it():
    assert [joined(T, list(names)) for names in ("", "a", "ab", "abc")] == [
        *("", "a", "a and b", "a, b and c")
    ]
    assert joined(Texts("zh"), list("甲乙丙")) == "甲、乙和丙"


def test_the_words_need_no_page_and_no_pdf():
    code = "import sys, cerviclip.app.web.basis as _; print({'fpdf', 'streamlit'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
