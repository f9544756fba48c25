"""Splits, draws and what was scored are told with the numbers of the run in detail."""

import dataclasses

from report_fixtures import training_source

from cerviclip.report.sentences import partitions
from cerviclip.report.sentences.partitions import (
    home_part,
    split_sentence,
    use_of_test_sentence,
    use_of_val_sentence,
)
from cerviclip.report.sentences.ranks import ranks_sentence
from cerviclip.report.study import BY_VAL, Part


def with_targets(part, monkeypatch, tested, unlabelled=None, **more):
    record = {"by": "patient", "ratio": [0.6, 0.2, 0.2], "sources": ["b"], "targets": ["a"]}
    part.__dict__["split"] = record | more
    rows = [{"path": str(i), "domain": name} for i, name in enumerate(tested)]
    monkeypatch.setattr(Part, "test_rows", rows)
    source = training_source(part)
    source["seen"]["patients"] = 9
    source["used"].pop("unlabelled", None)
    if unlabelled:
        source["used"]["unlabelled"] = {"images": unlabelled, "per_class": {}}
    return split_sentence(part)


def test_a_target_that_is_partly_unlabelled_was_not_tested_on_as_a_whole(part, monkeypatch):
    told = with_targets(part, monkeypatch, ["a"] * 138, unlabelled=102)
    assert "The test images are 138 images of a; 102 other images of a" in told
    assert "without labels" in told and "were not tested on" in told and "all images" not in told
    told = with_targets(part, monkeypatch, ["a"] * 138)
    assert told.endswith("The test images are 138 images of a.") and "labels" not in told
    told = with_targets(part, monkeypatch, [])  # a record without the domains
    assert told.endswith("The test images are of a.")
    told = with_targets(part, monkeypatch, ["a"], left_out="a")
    assert "tested on as a whole: a." in told and "The test images are" not in told


def test_runs_of_several_splits_are_said_to_be(part):
    one = dict(part.groups[0].runs[0])
    assert "different splits" not in split_sentence(part)
    part.groups[0].runs.append(one | {"seed": 7, "split_hash": "another"})
    assert split_sentence(part).startswith("The runs are of 2 different splits")


def test_val_that_is_scored_is_called_val_everywhere(part):
    run = part.featured.runs[0]
    assert home_part(run) == "test" and "and the external centres" in use_of_test_sentence(part)
    test = run["centers"].pop("test")
    run["centers"] = {"test": test}
    assert "external" not in use_of_test_sentence(part)
    run["centers"] = {"val": test}
    assert home_part(run) == "val" and partitions.external_centers(run) == []
    told = use_of_test_sentence(part)
    assert told == "The test part was not scored; the scores are those of val."
    run["search"] = {"tries": 3, "labels": 4, "choices": {}}
    assert use_of_test_sentence(part).endswith("so these scores are too good.")


def test_all_uses_of_val_are_told(part):
    """Settings and the method in detail were chosen on val too, which the draft did not say."""
    run = part.groups[0].runs[0]
    run["search"] = {"tries": 6, "labels": 9, "choices": {"settings": {"tries": 6}}}
    run["runtime"]["trainer"] = {"search": {"chosen": {"C": 0.1}}}
    part.why = BY_VAL
    told = use_of_val_sentence(part)
    assert told.startswith("Val was used to choose thresholds, to fit calibration maps, ")
    assert "to choose settings (C of ZooLinear) and to choose the method that is shown" in told
    part.why, run["search"] = "", {}
    assert "settings" not in use_of_val_sentence(part) and "method" not in use_of_val_sentence(part)


def test_val_that_has_ranked_is_shown_with_its_size(part):
    assert ranks_sentence(part) == ""
    part.on_val = {"A": 0.5, "B": 0.75}
    told = ranks_sentence(part)
    assert "Accuracy on val: B 75.0 %, A 50.0 %. Val has " in told
    assert "so few that the order may be chance" in told and "Of equal" not in told
    part.on_val = {"A": 0.5, "B": 0.5}
    assert "Of equal ones the first of the table was taken" in ranks_sentence(part)


def test_folds_say_how_the_rest_is_split(part, monkeypatch):
    part.__dict__["split"] = {"by": "class", "ratio": [0.45, 0.15, 0.4]}
    part.featured = dataclasses.replace(part.featured, folds=4)
    assert "into train and val (shares 0.75 / 0.25)" in split_sentence(part)
