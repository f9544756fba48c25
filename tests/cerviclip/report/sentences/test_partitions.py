"""Splits, draws and what was scored are told with the numbers of the run in detail."""

import pytest

from cerviclip.report.sentences import partitions
from cerviclip.report.sentences.partitions import (
    home_part,
    split_sentence,
    use_of_test_sentence,
)
from cerviclip.report.study import Part, Study


@pytest.fixture
def part(runs):
    return Study.read(runs).parts[0]


def training_source(part):
    (source,) = (s for s in part.run["flow"]["sources"].values() if s["role"] == "training")
    return source


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
