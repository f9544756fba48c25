"""Scores of subgroups: those of their own images, with their own small numbers."""

import json

import numpy as np
import pytest

from cerviclip.evaluation.measures import Home, Sample, Settings, measure
from cerviclip.evaluation.names import FEW
from cerviclip.evaluation.report import score
from cerviclip.report.document import Document
from cerviclip.report.measured import subgroups as report_subgroups
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.settings.config_hash import config_hash
from cerviclip.runs.subgroup_scores import measure_subgroups
from cerviclip.runs.subgroups import read_subgroups
from dassl.config import get_cfg_default
from dassl.errors import UserError

CLASSES = ("low", "high")


def center(name, seed, patients=40):
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * patients) // 2 % 2
    p = np.clip(0.5 + 0.3 * (labels - 0.5) + rng.normal(0, 0.2, len(labels)), 0.01, 0.99)
    paths = [f"{name}/{i}.png" for i in range(len(labels))]
    ids = [f"P{i // 2}" for i in range(len(labels))]
    return Predictions(name, paths, ids, labels, np.stack([1 - p, p], axis=1), CLASSES)


@pytest.fixture
def ages(tmp_path):
    """Patients below 8 are young; two are in no line."""
    path = tmp_path / "patients.csv"
    lines = [f"P{i},{'<30' if i < 8 else '30+'}" for i in range(38)]
    path.write_text("\n".join(["patient_id,age_band", *lines, ""]))
    return path


@pytest.fixture
def measured(ages):
    parts = [center("test", 1), center("far", 2)]
    centers = {
        p.center: score(p.labels.tolist(), p.probs, p.patient_ids, CLASSES, ["high"]) for p in parts
    }
    samples = [
        Sample.of(p.center, p.labels, p.probs, p.patient_ids, CLASSES, ["high"]) for p in parts
    ]
    val = center("val", 3)
    home = Sample.of("val", val.labels, val.probs, val.patient_ids, CLASSES, ["high"])
    blocks = measure(home, samples, centers, Settings())
    read = [read_subgroups(f"{ages}:age_band")]
    return parts, blocks, measure_subgroups(parts, ["high"], read, blocks, FEW)


def test_a_subgroup_is_scored_as_its_images_alone(measured):
    parts, _, found = measured
    assert list(found) == ["age_band"] and list(found["age_band"]) == ["test", "far"]
    assert set(found["age_band"]["far"]) == {"<30", "30+", "unknown"}
    young = found["age_band"]["far"]["<30"]
    p = parts[1]
    alone = score(p.labels[:16].tolist(), p.probs[:16], p.patient_ids[:16], CLASSES, ["high"], FEW)
    for key in ("n_images", "n_patients", "accuracy", "binary", "note"):
        assert young[key] == alone[key]
    assert "only 8 patients" in young["note"]
    assert "only" not in found["age_band"]["far"]["30+"].get("note", "")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_thresholds_are_those_that_val_chose_for_everybody(measured):
    parts, blocks, found = measured
    threshold = Home.from_results(blocks, CLASSES).thresholds["youden"]
    p = parts[0]
    old = np.array([16 <= i < 76 for i in range(80)])
    called = p.probs[old, 1] >= threshold
    positive = p.labels[old] == 1
    cell = found["age_band"]["test"]["30+"]["points"]["youden"]["sensitivity"]
    assert cell["value"] == pytest.approx(100 * called[positive].mean())
    assert cell["low"] < cell["value"] < cell["high"]


def test_the_report_has_a_table_with_the_small_numbers_said(measured):
    document = Document("title", "subtitle")
    report_subgroups(document, {"subgroups": measured[2]})
    [table] = [block for block in document.blocks if hasattr(block, "rows")]
    assert len(table.rows) == 6 and "fairness" in table.topics
    assert "far, <30: only 8 patients" in table.words


def test_a_file_that_knows_no_image_is_refused(measured, tmp_path):
    path = tmp_path / "others.csv"
    path.write_text("patient_id,age_band\nX1,<30\n")
    with pytest.raises(UserError, match="knows none of the tested images"):
        measure_subgroups(measured[0], ["high"], [read_subgroups(f"{path}:age_band")], {}, FEW)


def test_the_hash_holds_the_files_content_and_column_not_its_path(ages, tmp_path):
    cfg = get_cfg_default()
    plain = config_hash(cfg)
    cfg.TEST.SUBGROUPS = (f"{ages}:age_band",)
    first = config_hash(cfg)
    moved = tmp_path / "moved.csv"
    moved.write_bytes(ages.read_bytes())
    cfg.TEST.SUBGROUPS = (f"{moved}:age_band",)
    assert plain != first == config_hash(cfg)
    moved.write_text(moved.read_text().replace("<30", "<29"))
    assert config_hash(cfg) != first


@pytest.mark.slow
def test_a_run_with_subgroups_keeps_its_other_numbers(zoo):
    from cerviclip.runs.run.runner import run_one

    plain = run_one(zoo.cfg(), echo=False)
    path = zoo.root / "images.csv"
    with open(zoo.out / "run" / "predictions.csv", encoding="utf-8") as handle:
        paths = [line.split(",")[1] for line in handle.readlines()[1:]]
    path.write_text("path,device\n" + "".join(f"{p},{'AB'[i % 2]}\n" for i, p in enumerate(paths)))
    other = ["--output-dir", str(zoo.out / "other")]
    cfg = zoo.cfg("ZooLinear", "2", *other, TEST__SUBGROUPS=f"['{path}:device']")
    found = run_one(cfg, echo=False)
    assert set(found["subgroups"]["device"]["test"]) == {"A", "B"}
    assert found["centers"] == plain["centers"]
    assert plain["subgroups"] == {}


@pytest.mark.parametrize(
    "value, words",
    [("('nowhere.csv:age',)", "no file nowhere.csv"), ("('ages.csv',)", "give FILE:column")],
)
def test_what_is_wrong_is_said_before_a_run(zoo, value, words):
    with pytest.raises(UserError, match=words):
        zoo.cfg(TEST__SUBGROUPS=value)


@pytest.mark.parametrize("head", ["Patient ID", "Fall-Nr", "病人编号", "patient"])
def test_the_column_of_patients_in_any_spelling(ages, head):
    ages.write_text(ages.read_text().replace("patient_id", head, 1))
    read = read_subgroups(f"{ages}:age_band")
    assert read.key == "patient_id" and read.values["", "P3"] == "<30"
    ages.write_text(ages.read_text().replace(head, "slide_id,image,patient_id", 1))
    assert read_subgroups_of_three(ages).key == "patient_id"


def read_subgroups_of_three(path):
    """The same with two more columns in front, of slides and images."""
    head, *lines = path.read_text().split()
    path.write_text("\n".join([head, *(f"S,i.png,{line}" for line in lines)]))
    return read_subgroups(f"{path}:age_band")


def test_groups_of_images_in_a_file_that_names_patients_too(tmp_path):
    """A patient seen by two devices was refused, though the file names each image."""
    file = tmp_path / "images.csv"
    file.write_text("Filename,Patient,device\na.png,P1,A\nb.png,P1,B\nc.png,P2,A\n")
    read = read_subgroups(f"{file}:device")
    assert read.key == "path" and read.values["", "b.png"] == "B"
    file.write_text(file.read_text() + "a.png,P3,B\n")  # now neither will do
    with pytest.raises(UserError, match=r"line 3: P1 is 'B' here and 'A' above; a patient or"):
        read_subgroups(f"{file}:device")
