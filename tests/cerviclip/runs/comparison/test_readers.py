"""Readers and subgroups as what is compared: joined by path, counted, refused."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from cerviclip.evaluation.comparing.quantities import quantity
from cerviclip.evaluation.measures import Sample, Settings
from cerviclip.evaluation.measures.discrimination import discrimination
from cerviclip.evaluation.measures.probabilities.calibration import binary_calibration
from cerviclip.evaluation.report import score
from cerviclip.runs.comparison.compare import Request, compare
from cerviclip.runs.comparison.marks import marks_against
from cerviclip.runs.comparison.outputs import of_predictions
from cerviclip.runs.comparison.readers import read_study
from cerviclip.runs.predictions import Predictions, write_predictions
from cerviclip.runs.report.formats import to_markdown
from cerviclip.runs.report.groups import group_runs
from cerviclip.runs.report.tables import build_tables
from cerviclip.runs.subgroups import read_subgroups
from dassl.errors import UserError

CLASSES, POSITIVE = ("cancer", "cyst", "normal"), ("cancer",)


def predictions(skill, coarse=False):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 60)
    logits = skill * np.eye(3)[labels] + np.random.default_rng(int(10 * skill)).normal(size=(60, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if coarse:
        labels = np.where(labels == 0, -1, -2)
    paths = [f"img/{i:02}.png" for i in range(60)]
    return Predictions("test", paths, [f"P{i // 3}" for i in range(60)], labels, probs, CLASSES)


def run(tmp_path, trainer, skill, coarse=False):
    folder = tmp_path / trainer
    write_predictions(folder, [predictions(skill, coarse)], CLASSES)
    points = {
        "sensitivity_95": {"threshold": 0.2, "centers": {}},
        "cost": {"threshold": None, "centers": {}},
    }
    return {
        "status": "done", "dataset": "PhantomOCT", "trainer": trainer, "backbone": "RN50",
        "variant": "default", "shots": 4, "fold": "", "seed": 1, "split_hash": "one",
        "test_read_early": False, "folder": str(folder), "positive_classes": list(POSITIVE),
        "operating_points": {"chosen_on": "val", "home": {}, "points": points},
        "centers": {"test": {"accuracy": {"value": 50.0, "low": None, "high": None}}},
    }  # fmt: skip


@pytest.fixture
def groups(tmp_path):
    return group_runs([run(tmp_path, "A", 3.0), run(tmp_path, "B", 0.0)])


def test_each_quantity_has_the_value_of_results_json():
    p = predictions(1.5)
    outputs = of_predictions(p, POSITIVE)
    entry = score(p.labels, p.probs, p.patient_ids, CLASSES, POSITIVE)
    sample = Sample.of("test", p.labels, p.probs, p.patient_ids, CLASSES, POSITIVE)
    blocks, calibrated = (
        discrimination(sample, Settings()),
        binary_calibration(sample, sample.score),
    )
    want = {n: entry[n] for n in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")}
    want |= {f"binary.{name}": cell for name, cell in entry["binary"].items()}
    want |= {n: blocks[n] for n in ("kappa", "brier", "log_loss")}
    want |= {f"binary.{n}": blocks["binary"][n] for n in ("auprc", "partial_auc")}
    want |= {f"binary.{n}": calibrated[n] for n in ("brier", "log_loss", "ece")}
    want |= {"macro_auprc": blocks["macro"]["auprc"]}
    want |= {f"per_class.cyst.{n}": entry["per_class"]["cyst"][n] for n in ("f1", "recall")}
    want |= {f"per_class.cyst.{n}": blocks["per_class"]["cyst"][n] for n in ("auc", "auprc")}
    for name, cell in want.items():
        q = quantity(name, CLASSES)
        found = q.statistic(outputs.truth(q), outputs.scores(q), np.ones((1, 60)))[0] * q.scale
        assert found == pytest.approx(cell["value"]), name


def write_readers(path, lines, head="path,reader,label"):
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def test_a_reader_is_compared_on_the_same_images(groups, tmp_path):
    p = predictions(3.0)
    said = [CLASSES[c] if i % 4 else "cyst" for i, c in enumerate(p.labels)]
    lines = [f"/study/{path},Anna,{label}" for path, label in zip(p.paths, said, strict=True)]
    study = read_study(write_readers(tmp_path / "r.csv", lines))
    request = Request("A", ["accuracy", "binary.auc"], others=["A"], study=study)
    accuracy, auc = [c for c in compare(groups, request) if c.label == "reader Anna"]
    truth = [CLASSES[c] for c in p.labels]
    want = 100 * ((p.predicted == p.labels).mean() - accuracy_score(truth, said))
    assert accuracy.centers["test"]["value"] == pytest.approx(want)
    assert accuracy.centers["test"]["test"] == "McNemar, exact by patient"
    assert "needs a score" in auc.centers["test"]["reason"]


def test_scores_of_two_readers_have_a_mean(groups, tmp_path):
    p, rng = predictions(3.0), np.random.default_rng(1)
    scores = {name: rng.normal(p.labels == 0, 1.0) for name in ("Anna", "Bo")}
    lines = [
        f"{path},{n},{s}" for n, v in scores.items() for path, s in zip(p.paths, v, strict=True)
    ]
    study = read_study(write_readers(tmp_path / "r.csv", lines, "path,reader,score"))
    found = compare(groups, Request("A", ["binary.auc"], others=["A"], study=study))
    values = {c.label: c.centers["test"]["value"] for c in found}
    ours = roc_auc_score(p.labels == 0, p.probs[:, 0])
    aucs = [roc_auc_score(p.labels == 0, v) for v in scores.values()]
    assert values["reader Bo"] == pytest.approx(ours - aucs[1])
    assert values["readers, mean of 2"] == pytest.approx(ours - np.mean(aucs))


def test_unmatched_images_are_counted_and_refused(groups, tmp_path):
    lines = [f"img/{i:02}.png,Anna,cyst" for i in range(40)] + ["img/99.png,Anna,cyst"]
    path = write_readers(tmp_path / "r.csv", lines)
    request = Request("A", ["accuracy"], study=read_study(path))
    with pytest.raises(UserError, match="1 of 41 .* in the runs on PhantomOCT, and 20"):
        compare(groups, request)
    notes = []
    compare(groups, Request("A", ["accuracy"], study=read_study(path, True)), notes)
    assert "40 images are compared; left out: 1 of the reader's" in notes[0]


@pytest.mark.parametrize(
    "lines, words",
    [(["img/01.png,Anna,cyst"] * 2, "line 3: reader 'Anna' has img/01.png twice"),
     (["img/01.png,,cyst"], "line 2 lacks its path"), ([], "no line below its head")],
)  # fmt: skip
def test_a_reader_study_that_is_wrong_is_named(tmp_path, lines, words):
    with pytest.raises(UserError, match=words):
        read_study(write_readers(tmp_path / "r.csv", lines))


def test_two_verdicts_on_one_predicted_image_are_refused(groups, tmp_path):
    lines = [f"site1/img/{i:02}.png,R,cancer" for i in range(60)] + ["site2/img/07.png,R,normal"]
    study = read_study(write_readers(tmp_path / "r.csv", lines))
    with pytest.raises(UserError, match="site1/img/07.png and site2/img/07.png.*img/07.png"):
        compare(groups, Request("A", ["accuracy"], study=study))


def test_a_file_that_knows_nobody_of_a_centre_adds_no_comparison(groups, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("patient_id,age\nSOMEBODY,old\n")
    request = Request("A", ["accuracy"], subgroups=read_subgroups(f"{path}:age"))
    (found,) = compare(groups, request)
    assert list(found.centers) == ["test"]


def test_subgroups_are_parts_of_a_centre(groups, tmp_path):
    path = tmp_path / "p.csv"
    lines = [f"P{i},{'old' if i % 2 else 'young'}" for i in range(19)]
    path.write_text("\n".join(["patient_id,age", *lines]) + "\n")
    request = Request("A", ["accuracy"], subgroups=read_subgroups(f"{path}:age"))
    (pair,) = compare(groups, request)
    assert list(pair.centers) == ["test", "test, age old", "test, age young", "test, age unknown"]
    a, b = predictions(3.0), predictions(0.0)
    old = np.array([int(p[1:]) % 2 == 1 and p != "P19" for p in a.patient_ids])
    want = [100 * (x.predicted == x.labels)[old].mean() for x in (a, b)]
    assert pair.centers["test, age old"]["value"] == pytest.approx(want[0] - want[1])
    assert "3 patients" in pair.centers["test, age unknown"]["reason"]  # one patient is left
    with pytest.raises(UserError, match="no column 'agee', did you mean 'age'"):
        read_subgroups(f"{path}:agee")


def test_a_centre_of_two_groups_has_binary_differences_alone(tmp_path):
    found = group_runs([run(tmp_path, t, s, coarse=True) for t, s in (("A", 3.0), ("B", 0.0))])
    metrics = ["accuracy", "binary.auc", "sensitivity_95.sensitivity", "cost.sensitivity"]
    pairs = {c.metric: c.centers["test"] for c in compare(found, Request("A", metrics))}
    assert "not classes" in pairs["accuracy"]["reason"]
    assert pairs["binary.auc"]["test"].startswith("DeLong") and pairs["binary.auc"]["value"] > 0
    assert pairs["sensitivity_95.sensitivity"]["low"] is not None
    assert "a threshold" in pairs["cost.sensitivity"]["reason"]


def test_tables_mark_what_beats_the_baseline(groups):
    marks = marks_against(groups, "B", ["accuracy"])
    text = to_markdown(build_tables(groups, "accuracy", marks["accuracy"])[0])
    assert (
        "| A | 50.0▲ |" in text
        and "| B | 50.0 |" in text
        and "against B: ▲ significantly better" in text
    )
