"""Data cards and data flow: of whom, and without the place where somebody keeps her data."""

import dataclasses
import json
import shutil

from cerviclip.report.cards import told_by_source, without_root
from cerviclip.report.content import build_document
from cerviclip.report.document import Table
from cerviclip.report.study import Study


def texts(folder, tmp_path):
    document = build_document(Study.read(folder), tmp_path / "figures")
    tables = {b.caption: b for b in document.blocks if isinstance(b, Table)}
    return "\n".join(block.words for block in document.blocks), tables


def copy(runs, tmp_path):
    """A copy of the runs' folder, and a function that changes the results of the one run."""
    folder = shutil.copytree(runs, tmp_path / "runs")
    path = folder / "ZooLinear" / "results.json"

    def change(edit):
        results = json.loads(path.read_text())
        edit(results)
        path.write_text(json.dumps(results))

    return folder, change


def test_places_of_data_are_not_told(runs, tmp_path):
    run = {"runtime": {"data_root": "/home/ada/data"}}
    assert without_root("/home/ada/data/cells: no ids", run) == "cells: no ids"
    assert without_root("/home/ada/data2: no ids", run) == "/home/ada/data2: no ids"
    assert without_root("x", {"runtime": {}}) == "x"

    def edit(results):
        root = results["runtime"]["data_root"] = "/home/ada/data"
        results["warnings"] = results["runtime"]["warnings"] = [f"{root}/cells: no ids"]

    folder, change = copy(runs, tmp_path)
    change(edit)
    text, tables = texts(folder, tmp_path)
    assert "cells: no ids" in text and "/home/ada" not in text
    assert "cells: no ids" in dict(tables["Data card of ZooMain."].rows)["Known defects"]


def test_images_that_were_not_drawn_are_counted(runs, tmp_path):
    def edit(results):
        source = results["flow"]["sources"]["ZooMain"]
        source["excluded"], source["not_drawn"] = [], {"train": 1424, "val": 0, "test": 0}

    folder, change = copy(runs, tmp_path)
    change(edit)
    text, _ = texts(folder, tmp_path)
    assert "not used as labelled images: 1,424 of train." in text
    assert "No image that was found was left out" not in text


def test_unlabelled_images_are_not_counted_as_both_used_and_unused(runs, tmp_path):
    def edit(results):
        source = results["flow"]["sources"]["ZooMain"]
        source["used"]["unlabelled"] = {"images": 5, "patients": 1, "per_class": {}}
        source["excluded"] = [{"reason": "not drawn", "images": 9, "patients": 2}]

    folder, change = copy(runs, tmp_path)
    change(edit)
    _, tables = texts(folder, tmp_path)
    assert not [caption for caption in tables if "not used" in caption]
    (table,) = (t for caption, t in tables.items() if "in no part above" in caption)
    assert table.note == "The unlabelled images are among them."


def test_classes_that_only_new_has_stand_on_the_card(runs, tmp_path):
    def edit(results):
        results["base_to_new"] = {"base_classes": ["a"], "new_classes": ["never_seen"]}

    folder, change = copy(runs, tmp_path)
    change(edit)
    _, tables = texts(folder, tmp_path)
    first, second = (
        dict(tables[f"Data card of {name}."].rows)["Classes"] for name in ("ZooMain", "ZooFar")
    )
    assert "never seen" in first and "in files and folders" in first
    assert "in files and folders" not in second, "explained once"


def test_a_row_of_events_stands_only_where_there_is_a_positive_group(runs, tmp_path):
    def edit(results):
        results["positive_classes"] = []
        for entry in results["centers"].values():
            entry.get("counts", {}).clear()

    folder, change = copy(runs, tmp_path)
    whole = texts(folder, tmp_path)[1]["Performance by image."]
    assert "patients with / without the event" in [row[0] for row in whole.rows]
    change(edit)
    table = texts(folder, tmp_path)[1]["Performance by image."]
    assert "patients with / without the event" not in [row[0] for row in table.rows]


def test_a_split_by_patient_of_unknown_patients_is_not_shown_as_one(runs, tmp_path):
    def edit(results):
        for source in results["flow"]["sources"].values():
            source["seen"]["patients"] = None

    folder, change = copy(runs, tmp_path)

    def shown():
        _, tables = texts(folder, tmp_path)
        (table,) = (t for caption, t in tables.items() if caption.startswith("Settings that"))
        return {row[2]: row[1] for row in table.rows}.get("DATASET.SPLIT_BY", "patient")

    assert shown() == "patient"
    change(edit)
    assert "no patient is known" in shown()


def test_few_patients_are_no_defect_of_the_data(runs, tmp_path):
    def edit(results):
        results["warnings"] = []
        results["patient_level"]["mixed_patients"] = {}
        results["centers"]["test"]["note"] = "only 3 patients"

    folder, change = copy(runs, tmp_path)
    change(edit)
    card = dict(texts(folder, tmp_path)[1]["Data card of ZooMain."].rows)
    assert "only 3" not in card["Known defects"]
    assert card["Limits of the scores"] == "test: only 3 patients"


def test_folds_are_tested_together(runs):
    part = Study.read(runs).parts[0]
    run = part.run | {"fold": "1/2"}
    run["patient_level"] = run["patient_level"] | {"mixed_patients": {"test": 1}}
    entry = {"n_patients": 12, "note": "only 12 patients", "n_images": 12}
    entry["counts"] = {"events": {"patients": 5}, "non_events": {"patients": 7}}
    run["centers"] = {"test": entry}
    other = run | {"fold": "2/2"}
    again = [one | {"fold": f"{one['fold']}@2"} for one in (run, other)]
    runs_ = [run, other, *again]
    part.groups = [dataclasses.replace(part.groups[0], folds=2, runs=runs_)]
    part.run, part.featured = run, part.groups[0]
    told = told_by_source(Study(runs, [], [part]))["ZooMain"]
    assert told.limits == []  # 24 patients, 10 of them with the event
    assert told.defects[-1] == (
        "of the test parts of 2 folds together, 2 of 24 patients have several classes"
    )
    entry["counts"]["events"]["patients"] = 4
    told = told_by_source(Study(runs, [], [part]))["ZooMain"]
    assert told.limits == ["the test parts of 2 folds together: few patients (8 with the event)"]


def test_the_toy_backbone_is_called_one_and_time_says_what_is_summed(runs, tmp_path):
    folder, change = copy(runs, tmp_path)
    text, tables = texts(folder, tmp_path)
    assert "for trying out the software only" not in text
    assert tables["Software and machine."].head == ("what", "version or value")
    assert (
        "sum over the finished runs"
        in dict(tables["Software and machine."].rows)["time of the runs"]
    )
    change(lambda results: results.update(backbone="PhantomCLIP"))
    assert "for trying out the software only" in texts(folder, tmp_path)[0]


def test_dashes_and_empty_sets_are_explained_where_they_are(runs, tmp_path):
    def edit(results):
        found = results["calibration"]["centers"]["test"]["before"]["binary"]["slope"]
        found.update(value=None, low=None, high=None)
        results["conformal"]["centers"]["test"]["lac"]["set_size"]["value"] = 0.75

    folder, change = copy(runs, tmp_path)
    change(edit)
    text, _ = texts(folder, tmp_path)
    assert "A dash: not defined, such as the slope" in text and "some sets are empty" in text
