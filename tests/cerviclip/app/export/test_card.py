"""What the model card says of its evaluation data."""

from __future__ import annotations

from run_fixtures import whole_results

from cerviclip.app.export.card import model_card, patients_said
from cerviclip.app.export.record import kept_of
from cerviclip.engine.task import Task


def test_patients_are_counted_where_they_are_known_alone():
    assert patients_said({"n_images": 30, "n_patients": 12}) == "12 patients"
    unknown = {"n_images": 30, "n_patients": 30, "uncertainty": {"unit": "image"}}
    assert patients_said(unknown) == "patients not known"


def test_the_card_and_the_record_have_the_title():
    results = whole_results(runtime={"title": "Cervix OCT, Hospital A", "host": "secret"})
    kept = kept_of(results)
    assert kept["runtime"] == {"title": "Cervix OCT, Hospital A"}
    assert "runtime" not in kept_of(whole_results(runtime={"host": "secret"}))
    record = {"results": kept, "trainer": "Probe", "backbone": "CLIP", "model_sha256": "0"}
    card = model_card(record, Task("FolderDataset", ("a", "b")))
    assert card.startswith("# Model card: Probe on Cervix OCT, Hospital A\n")
    assert "\nCervix OCT, Hospital A, 4 shots; split s" in card and "FolderDataset" not in card


def test_thresholds_that_coincide_have_one_row():
    figure = {"value": 90.0, "low": 80.0, "high": 95.0}
    centers = {"test": {"sensitivity": figure, "specificity": figure}}
    thresholds = {"sensitivity_95": 0.25, "specificity_95": 0.5, "youden": 0.5, "cost": None}
    points = {name: {"threshold": at, "centers": centers} for name, at in thresholds.items()}
    kept = kept_of(whole_results()) | {"operating_points": {"points": points}}
    record = {"results": kept, "trainer": "Probe", "backbone": "CLIP", "model_sha256": "0"}
    card = model_card(record, Task("FolderDataset", ("a", "b")))
    assert "\n| sensitivity_95: 0.2500 | test | 90.0" in card
    assert "\n| specificity_95, youden: 0.5000 | test | 90.0" in card
    assert card.count("youden") == 1 and "cost" not in card
