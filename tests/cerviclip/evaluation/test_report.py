"""What a centre's entry of results.json says, and what it says when there is nothing to say."""

import json

import numpy as np
import pytest

from cerviclip.evaluation.names import BINARY, BOOTSTRAP, FEW, OLD, OVERALL
from cerviclip.evaluation.report import FEW_OF_GROUP, score

CLASSES = ["cancer", "cyst", "mild"]


def make(n=60, patients=12, seed=0, labels=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n) if labels is None else np.asarray(labels)
    probs = rng.dirichlet(np.ones(3), len(labels)) + 0.7 * np.eye(3)[labels]
    probs /= probs.sum(axis=1, keepdims=True)
    return labels, probs, [f"P{i % patients}" for i in range(len(labels))]


def test_entry_has_the_schemas_keys_in_order():
    entry = score(*make(), CLASSES, ["cancer"])
    assert list(entry) == [
        "n_images", "n_patients", *OVERALL, "per_class", "confusion_matrix", "binary",
        "counts", "uncertainty", "note",
    ]  # fmt: skip
    assert list(entry["per_class"]) == CLASSES
    assert list(entry["per_class"]["cyst"]) == ["precision", "recall", "f1", "support"]
    assert list(entry["binary"]) == list(BINARY)
    assert list(entry["accuracy"]) == ["value", "low", "high"]
    json.dumps(entry, allow_nan=False)


def test_values_lie_in_their_units_and_intervals_hold_them():
    entry = score(*make(), CLASSES, ["cancer"])
    for name in OVERALL:
        m = entry[name]
        assert m["low"] <= m["high"]
        top = 1 if name in ("macro_auc", "ece") else 100
        assert 0 <= m["low"] and m["high"] <= top
    assert entry["accuracy"]["low"] <= entry["accuracy"]["value"] <= entry["accuracy"]["high"]
    assert entry["accuracy"]["value"] > 1
    assert 0 <= entry["binary"]["auc"]["value"] <= 1
    assert entry["n_images"] == 60 and entry["n_patients"] == 12
    assert np.sum(entry["confusion_matrix"]) == 60


@pytest.mark.parametrize("old", [BOOTSTRAP, OLD])
def test_the_bootstrap_of_before_differs_in_its_intervals_alone(old):
    old, new = (score(*make(), CLASSES, ["cancer"], how) for how in (old, FEW))
    assert new == score(*make(), CLASSES, ["cancer"])
    assert list(new) == list(old) and new["counts"] == old["counts"]
    said = old["uncertainty"]
    assert said["method"] == {"default": "percentiles of resampled patients"}
    assert said["seed"] == 20221017 and said["undefined_resamples"] == {}
    for name in OVERALL:
        assert new[name]["value"] == old[name]["value"]
        assert new[name]["low"] != old[name]["low"]


def test_no_metric_has_an_interval_of_zero_width():
    labels, _, ids = make()
    entry = score(labels, np.eye(3)[labels], ids, CLASSES, ["cancer"])
    metrics = [entry[n] for n in OVERALL if n != "ece"] + list(entry["binary"].values())
    metrics += [
        row[n] for row in entry["per_class"].values() for n in ("precision", "recall", "f1")
    ]
    assert all(m["value"] in (1, 100) and m["low"] < m["high"] == m["value"] for m in metrics)
    assert entry["ece"]["low"] == 0 < entry["ece"]["high"]


def test_counts_are_of_images_and_patients():
    labels, probs, ids = [0, 0, 1, 2, 2], np.full((5, 3), 1 / 3), ["a", "a", "a", "b", "c"]
    counts = score(labels, probs, ids, CLASSES, ["cancer"])["counts"]
    assert counts["per_class"]["cancer"] == {"images": 2, "patients": 1}
    assert counts["events"] == {"images": 2, "patients": 1}
    assert counts["non_events"] == {"images": 3, "patients": 3}


def test_uncertainty_names_each_metrics_method_and_the_unit():
    said = score(*make(), CLASSES, ["cancer"])["uncertainty"]
    assert said["level"] == 0.95 and said["unit"] == "patient" and said["resamples"] == 1000
    assert "Wilson" in said["method"]["default"] and "DeLong" in said["method"]["binary/auc"]
    labels, probs, _ = make()
    assert score(labels, probs, [], CLASSES)["uncertainty"]["unit"] == "image"


def test_notes_name_what_is_score():
    labels = [0] * 8 + [1] * 52
    few_events = score(*make(labels=labels, patients=60), CLASSES, ["cancer"])["note"]
    assert few_events == "fewer than 10 patients with the event: 8"
    assert "only 12 patients" in score(*make(), CLASSES, ["cancer"])["note"]
    assert "mild: 3" in score(*make(labels=[0, 1] * 20 + [2] * 3, patients=43), CLASSES)["note"]
    assert "note" not in score(*make(n=90, patients=90), CLASSES, ["cancer"])


def test_undefined_resamples_of_the_bootstrap_are_counted_by_metric():
    labels, probs, ids = make(labels=[0] * 3 + [1] * 30 + [2] * 30, patients=63)
    said = score(labels, probs, ids, CLASSES, ["cancer"], BOOTSTRAP)["uncertainty"]
    assert (said["unit"], said["resamples"]) == ("patient", 1000)
    missing = said["undefined_resamples"]["binary/sensitivity"]
    assert 20 < missing < 80  # (1 - 1/63 * 3) ** 63, of 1000


def test_no_bootstrap_interval_rests_on_one_patient_of_a_group():
    labels = np.array([1] + [0] * 39)
    share = np.random.default_rng(0).uniform(0.6, 0.9, 40)
    probs = np.stack([np.where(labels, 1 - share, share), np.where(labels, share, 1 - share)], 1)
    ids = [f"P{i}" for i in range(40)]
    entry = score(labels, probs, ids, ["c0", "c1"], ["c1"], BOOTSTRAP)
    lonely = [entry["binary"][name] for name in ("sensitivity", "ppv", "auc")]
    lonely += [entry["per_class"]["c1"][name] for name in ("recall", "precision", "f1")]
    lonely += [entry[name] for name in ("balanced_accuracy", "macro_f1", "macro_auc")]
    for metric in lonely:
        assert metric["value"] is not None and metric["low"] is None
        assert metric["reason"] == FEW_OF_GROUP
    assert entry["binary"]["specificity"]["low"] is not None
    assert entry["accuracy"]["low"] is not None and entry["per_class"]["c0"]["f1"]["low"] == 100
    # The other way round the one who is not positive is alone.
    entry = score(1 - labels, probs[:, ::-1], ids, ["c0", "c1"], ["c1"], BOOTSTRAP)
    for name in ("specificity", "npv"):
        assert entry["binary"][name]["reason"] == FEW_OF_GROUP
    assert entry["binary"]["sensitivity"]["low"] is not None
    entry = score(labels, probs, ids, ["c0", "c1"], ["c1"], BOOTSTRAP)
    # 1000 resamples less those without her are what the sensitivity of all would rest on.
    assert 300 < entry["uncertainty"]["undefined_resamples"]["binary/sensitivity"] < 430


def test_three_patients_of_a_group_are_enough_for_a_bootstrap_interval():
    labels, probs, _ = make(labels=[0] * 3 + [1] * 30 + [2] * 30)
    ids = [f"P{i}" for i in range(63)]
    row = score(labels, probs, ids, CLASSES, ["cancer"], BOOTSTRAP)
    assert row["per_class"]["cancer"]["recall"]["low"] is not None
    ids[2] = ids[1]
    row = score(labels, probs, ids, CLASSES, ["cancer"], BOOTSTRAP)
    assert row["per_class"]["cancer"]["recall"]["reason"] == FEW_OF_GROUP


def test_same_input_same_numbers():
    assert score(*make(), CLASSES, ["cancer"]) == score(*make(), CLASSES, ["cancer"])


def test_missing_class_is_null_with_a_reason_and_out_of_the_means():
    labels, probs, ids = make(labels=[0, 1] * 20)
    entry = score(labels, probs, ids, CLASSES, ["cancer"])
    row = entry["per_class"]["mild"]
    assert row["support"] == 0
    for name in ("precision", "recall", "f1"):
        assert row[name]["value"] is None and "no image of this class" in row[name]["reason"]
    recalls = [entry["per_class"][c]["recall"]["value"] for c in CLASSES[:2]]
    assert entry["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    assert entry["macro_auc"]["value"] is not None


def test_never_predicted_class_has_no_precision_but_an_f1_of_zero():
    probs = np.array([[0.9, 0.05, 0.05]] * 6)
    entry = score([0, 0, 1, 1, 0, 1], probs, list("aabbcc"), CLASSES)
    row = entry["per_class"]["cyst"]
    assert row["precision"]["value"] is None and "never predicted" in row["precision"]["reason"]
    assert row["f1"]["value"] == 0


def test_single_class_has_no_auc():
    labels, probs, ids = make(labels=[1] * 30)
    entry = score(labels, probs, ids, CLASSES, ["cancer"])
    assert entry["macro_auc"]["value"] is None
    assert "cyst" in entry["macro_auc"]["reason"]
    assert entry["binary"]["sensitivity"]["value"] is None
    assert entry["binary"]["auc"]["value"] is None
    assert entry["binary"]["specificity"]["value"] is not None


def test_two_patients_have_values_without_intervals():
    entry = score(*make(patients=2), CLASSES, ["cancer"])
    m = entry["accuracy"]
    assert m["value"] is not None and m["low"] is None and m["high"] is None
    assert "3 patients" in m["reason"]


def test_without_ids_each_image_is_a_patient_and_a_note_says_so():
    labels, probs, _ = make()
    entry = score(labels, probs, [""] * 60, CLASSES)
    assert entry["n_patients"] == 60
    assert "no patient ids" in entry["note"]


def test_without_positive_group_binary_is_null_with_the_key_to_set():
    entry = score(*make(), CLASSES)
    assert all(m["value"] is None and "DATASET.POSITIVE" in m["reason"]
               for m in entry["binary"].values())  # fmt: skip


def test_binary_follows_the_predicted_class():
    # cancer 0.4 is the most probable class though "not cancer" sums to 0.6.
    entry = score([0, 1, 2], np.array([[0.4, 0.3, 0.3]] * 3), ["a", "b", "c"], CLASSES, ["cancer"])
    assert entry["binary"]["sensitivity"]["value"] == 100
    assert entry["binary"]["specificity"]["value"] == 0


def test_no_images_at_all():
    entry = score([], np.zeros((0, 3)), [], CLASSES, ["cancer"])
    assert entry["n_images"] == 0
    assert entry["accuracy"]["value"] is None
    assert entry["counts"]["events"] == {"images": 0, "patients": 0}
    assert entry["uncertainty"]["level"] == 0.95
    json.dumps(entry, allow_nan=False)


def test_probabilities_that_are_no_numbers_are_refused():
    labels, probs, ids = make()
    probs[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 180 probabilities are NaN"):
        score(labels, probs, ids, CLASSES)
