"""What the draft says of a run's data and training: what was used, not what config.yaml has."""

import copy
import dataclasses
import json
import re

import pytest
from run_fixtures import Zoo

from cerviclip import plugins
from cerviclip.report.content import build_document
from cerviclip.report.sentences.draws import draw_sentence
from cerviclip.report.sentences.partitions import (
    hidden_sentence,
    split_sentence,
    thresholds_sentence,
    use_of_test_sentence,
)
from cerviclip.report.setup import preparation, replaced, searched, texts_sentence, training_rows
from cerviclip.report.study import Part, Study
from cerviclip.runs.run.runner import run_one
from dassl.data.datasets import DATASET_REGISTRY


@pytest.fixture(scope="module")
def fitted(runs, tmp_path_factory):
    """Draft and folder of a closed-form fit on a backbone that brings its own image size."""
    plugins.reset_plugins()  # the zoo's data sets are registered anew
    for name in [name for name in DATASET_REGISTRY._obj_map if name.startswith("Zoo")]:
        del DATASET_REGISTRY._obj_map[name]
    zoo = Zoo(tmp_path_factory.mktemp("fitted"))
    more = ("--backbone", "PhantomCLIP", "--output-dir", str(zoo.out / "probe"))
    run_one(zoo.cfg("LinearProbe", "full", *more, INPUT__SIZE="(224, 224)"), echo=False)
    plugins.reset_plugins()
    return "\n".join(
        block.words for block in build_document(Study.read(zoo.out), zoo.root / "figures").blocks
    ), zoo.out / "probe"


def test_the_draft_says_what_the_model_saw_and_not_what_the_config_has_keys_for(fitted):
    text, run = fitted
    assert "INTERPOLATION" in (run / "config.yaml").read_text()
    assert "resize the smaller edge to 96, 96x96 center crop" in text and "bicubic" in text
    assert "mean=[0.48145466" in text and "without random changes" in text
    assert not re.search(r"(?<![\d.])224", text)  # an interval may hold 0.224
    for unused in ("OPTIM.", "INPUT.", "random_flip", "SHOTS_BY", "Shots were drawn"):
        assert unused not in text, unused
    assert "one fit of the method's own" in text and "learned from all training images" in text
    assert "equally many images of each class" not in text


def test_the_draft_names_the_optimiser_that_ran(document, runs):
    text = "\n".join(block.words for block in document.blocks)
    assert "SGD, learning rate 0.2" in text and "random flip" in text and "resize to 8x8" in text
    setup = json.loads((runs / "ZooLinear" / "results.json").read_text())["setup"]
    assert setup["training"]["by"] == "steps" and setup["training"]["epochs"] == 2


def test_what_methods_saw_alike_is_said_once(runs):
    part = Study.read(runs).parts[0]
    [group] = part.groups
    other = copy.deepcopy(group)
    other.runs[0]["trainer"], other.runs[0]["setup"]["training"] = "ZooOther", {"by": "none"}
    part.groups.append(dataclasses.replace(other, trainer="ZooOther"))
    assert preparation(part)[1:] == [
        f"ZooLinear: {preparation(Study.read(runs).parts[0])[0].partition('. ')[2]}",
        "ZooOther: Nothing was trained on images.",
    ]
    other.runs[0]["setup"]["input"]["test"] = [["resize to 9x9"]]
    assert [told.partition(":")[0] for told in preparation(part)] == [
        "ZooMain, ZooLinear", "ZooMain, ZooOther"
    ]  # fmt: skip


def test_a_run_without_the_record_claims_nothing(runs, document):
    part = Study.read(runs).parts[0]
    for group in part.groups:
        group.runs[0]["setup"] = {}
    (told,) = preparation(part)
    assert "not recorded" in told and "AUTHORS" in told
    assert "not recorded" in training_rows({**part.run, "setup": {}})[0][1]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"by": "release"}, "as the data set's release says"),
        ({"by": "patient", "ratio": [0.6, 0.2, 0.2]}, r"\(shares 0.6 / 0.2 / 0.2\)"),
        ({}, "AUTHORS"),
    ],
)
def test_the_split_is_told_by_its_own_file(runs, record, said):
    part = Study.read(runs).parts[0]
    part.__dict__["split"] = record
    assert re.search(said, split_sentence(part))


def with_split(runs, record):
    part = Study.read(runs).parts[0]
    part.__dict__["split"] = record
    for source in part.run["flow"]["sources"].values():
        source["seen"]["patients"] = 9
    return part


def test_parts_are_not_called_disjoint_by_patient_where_nobody_knows_the_patients(runs):
    part = with_split(runs, {"by": "patient", "ratio": [0.6, 0.2, 0.2]})
    assert "disjoint at the level of the patient" in split_sentence(part)
    for source in part.run["flow"]["sources"].values():
        source["seen"]["patients"] = None
    told = split_sentence(part)
    assert "disjoint" not in told and "by patient" not in told
    assert "split by image" in told and "No patient is known" in told and "AUTHORS" in told


def test_a_center_that_is_left_out_is_no_fold_of_patients(runs):
    record = {"by": "patient", "ratio": [0.6, 0.2, 0.2], "sources": ["b", "c"], "targets": ["a"]}
    told = split_sentence(with_split(runs, record | {"left_out": "a"}))
    assert "tested on as a whole: a." in told and "folds" not in told
    told = split_sentence(with_split(runs, record))
    assert told.startswith("The images of b, c were split by patient")


def test_a_draw_of_a_file_is_not_called_a_draw_for_each_seed(runs, monkeypatch):
    part = with_split(runs, {"by": "file"})
    assert "anew for each seed" in draw_sentence(part)
    config = {"DATASET": {"DRAW_FILE": "splits/published.json"}}
    monkeypatch.setattr(Part, "config", config)
    told = draw_sentence(part)
    assert "anew" not in told and "those that published.json names" in told


def test_whoever_saw_the_test_images_early_is_told(runs):
    part = Study.read(runs).parts[0]
    plain = "were used for nothing but the final scores."
    assert use_of_test_sentence(part).endswith(plain)
    assert "none of 1 run here did" in hidden_sentence([part.run])
    for key, said in (("test_read_early", "before training had ended"), ("transductive", "labels")):
        part.featured.runs[0][key] = True
        assert said in use_of_test_sentence(part) and "except" in use_of_test_sentence(part)
    assert "1 of 1 run here did" in hidden_sentence(part.featured.runs)
    part.featured.runs[0]["centers"] = {"val": {}}
    assert "not scored" in use_of_test_sentence(part)


def test_thresholds_are_of_val_alone_but_not_from_before_the_test():
    told = thresholds_sentence({"operating_points": {"points": {"youden": {"threshold": 0.4}}}})
    assert "on val alone" in told and "before any test image" not in told


def test_no_threshold_is_claimed_where_val_chose_none():
    run = {"operating_points": {"points": {}, "reason": "there is no val part"}}
    assert thresholds_sentence(run) == "No operating points were chosen (there is no val part)."
    run = {"operating_points": {"points": {"youden": {"threshold": None}}, "reason": "no group"}}
    assert thresholds_sentence(run) == "No operating points were chosen (no group)."
    assert "transductive" in hidden_sentence([{"trainer": "TransCLIP", "transductive": True}])


def test_a_setting_that_val_has_chosen_stands_in_place_of_the_key(fitted):
    text, folder = fitted
    results = json.loads((folder / "results.json").read_text())
    chosen = results["runtime"]["trainer"]["search"]["chosen"]
    tries = results["search"]["tries"]
    assert searched(results) == [
        ("TRAINER.LINEARPROBE.C", f"{chosen['C']:.4g}, the best of {tries} on val")
    ]
    assert replaced(results) == {"TRAINER.LINEARPROBE.C", "TRAINER.LINEARPROBE.C_DEFAULT"}
    assert "C_DEFAULT" not in text and "C_DEFAULT" in (folder / "config.yaml").read_text()


def test_the_texts_of_the_classes_are_those_of_the_task(runs, fitted):
    assert '"a photo of a {}."' in fitted[0]
    part = Study.read(runs).parts[0]
    task = json.loads((runs / "ZooLinear" / "task.json").read_text())
    assert all(f'"{template}"' in texts_sentence(part) for template in task["templates"])
    part.run["folder"] = str(runs / "absent")
    assert "AUTHORS" in texts_sentence(part)


def test_nothing_is_claimed_of_a_positive_group_where_there_is_none(runs, tmp_path):
    study = Study.read(runs)
    assert study.binary
    whole = " ".join(block.words for block in build_document(study, tmp_path / "a").blocks)
    for part in study.parts:
        part.run["positive_classes"] = []
        points = part.run["operating_points"]
        for point in points["points"].values():
            point["threshold"], point["centers"] = None, {}
        points["reason"] = "no positive classes are set"
    text = " ".join(block.words for block in build_document(study, tmp_path / "b").blocks)
    for claim in (
        "The probability of the positive group",
        "net benefit",
        "sensitivity, specificity and AUC",
        "to choose thresholds",
        "on val alone",
    ):
        assert claim in whole and claim not in text, claim
    for claim in ("paired by patient", "Means over seeds"):  # there is one run
        assert claim not in whole
