"""The analysis claims no measure, unit or part that the files do not have."""

import dataclasses

import pytest

from cerviclip.report.content import build_document
from cerviclip.report.numbers import RULE, interval_note
from cerviclip.report.sentences.analysis import measured_sentence, unit_of_intervals
from cerviclip.report.sentences.captions import captions
from cerviclip.report.study import Study


@pytest.fixture
def study(runs):
    return Study.read(runs)


def text_of(study, folder):
    return "\n".join(block.words for block in build_document(study, folder).blocks)


def test_by_patient_is_said_only_where_patients_were_scored(study):
    (part,) = study.parts
    assert measured_sentence(part).endswith(
        "on the test part and at each external centre, by image and by patient."
    )
    part.run["patient_level"] = {"rule": "mean", "reason": "no patient ids"}
    assert measured_sentence(part).endswith("external centre, by image.")


def test_conformal_coverage_is_said_only_where_sets_were_calibrated(study):
    (part,) = study.parts
    assert "and conformal coverage were computed" in measured_sentence(part)
    part.run["conformal"] = {"calibrated_on": None, "centers": {"test": {}, "ZooFar": {}}}
    assert "conformal" not in measured_sentence(part)
    assert "and net benefit were computed" in measured_sentence(part)
    part.run["conformal"] = None
    assert "conformal" not in measured_sentence(part)


def test_without_patients_the_image_is_the_unit_in_the_whole_draft(study, tmp_path):
    assert "A patient is called positive" in text_of(study, tmp_path / "with")
    (part,) = study.parts
    assert "interval by patient in brackets." in interval_note(part.run["centers"])
    part.run["centers"]["ZooFar"]["uncertainty"] = {"unit": "image"}
    assert "at ZooFar by image" in interval_note(part.run["centers"])
    part.run["centers"]["test"]["uncertainty"] = {"unit": "image"}
    part.run["patient_level"] = {"rule": "mean", "reason": "no patient ids"}
    for source in part.run["flow"]["sources"].values():
        source["seen"]["patients"] = None
    assert unit_of_intervals(study) == "the image as the unit, since no patient is known"
    text = text_of(study, tmp_path / "without")
    for claim in ("interval by patient", "intervals by patient", "and by patient", "paired by"):
        assert claim not in text, claim
    assert "A patient is called positive" not in text and "TEST.PATIENT_RULE" not in text
    assert "by image in brackets, since no patient is known" in text


def test_val_that_is_scored_is_no_test_part_and_no_other_hospital(study, tmp_path):
    run = study.parts[0].featured.runs[0]
    run["centers"] = {"val": run["centers"]["test"]}
    text = text_of(study, tmp_path)
    assert "computed on the val part, by" in text and "on the test part" not in text
    assert "Data card: val" not in text and "no test image was scored" in text
    assert "TEST.EXTERNAL" not in text and "external centre," not in text


def test_of_two_data_sets_only_that_with_a_positive_group_has_a_sensitivity(study, runs, tmp_path):
    other = Study.read(runs).parts[0]
    for group in other.groups:
        group.runs[0] |= {"positive_classes": [], "dataset": "Cells"}
    groups = [dataclasses.replace(group, dataset="Cells") for group in other.groups]
    other.run["positive_classes"] = []
    study.parts.append(
        dataclasses.replace(other, dataset="Cells", groups=groups, featured=groups[0])
    )
    text = text_of(study, tmp_path)
    first = study.parts[0].name
    title = f"sensitivity, specificity and AUC of {first}, accuracy and AUC of the classes of Cells"
    assert title in text
    assert f"The probability of the positive group of {first} is the sum" in text
    assert f"Positive group of {first}: {RULE}" in text
    assert f"\n{first}: Discrimination (AUC, average precision)" in text
    assert "\nCells: Discrimination (AUC of each class against the others)" in text
    study.parts.pop()
    alone = text_of(study, tmp_path)
    assert f"positive group of {first}" not in alone and "\nDiscrimination (AUC, av" in alone


def test_captions_name_no_threshold_or_map_that_val_did_not_choose(study):
    run = study.parts[0].run
    told = captions(run)
    assert "chosen on val" in told["roc"] and "fitted on val" in told["reliability"]
    assert "the thresholds" in told["probabilities"] and "by patient" in told["reliability"]
    run["operating_points"], run["calibration"] = None, {"fitted_on": None}
    for entry in run["centers"].values():
        entry["uncertainty"] = {"unit": "image"}
    for text in captions(run).values():
        assert " val" not in text and "threshold" not in text and "by patient" not in text
