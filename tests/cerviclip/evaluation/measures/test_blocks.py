"""The blocks of results.json: whole, small, finite, and read back as what home fitted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from measures_fixtures import CLASSES, POSITIVE, make_sample

from cerviclip.evaluation.measures import Home, Sample, Settings, measure
from cerviclip.evaluation.measures.patients import MAX_NEEDS_GROUP
from cerviclip.evaluation.names import BLOCKS, LEVEL_BLOCKS
from cerviclip.evaluation.report import score
from cerviclip.runs.results_json import finite_or_none


def centers_of(samples):
    return {
        s.center: score(
            s.labels.tolist(), s.probs, [str(n) for n in s.patients], CLASSES, s.positive
        )
        for s in samples
    }


@pytest.fixture(scope="module")
def samples():
    return [make_sample(), make_sample("Far", seed=1, skill=1.0)]


@pytest.fixture(scope="module")
def blocks(samples):
    val = make_sample("val", seed=2)
    return measure(val, samples, centers_of(samples), Settings(miss_cost=4, order=CLASSES))


def test_blocks_are_plain_finite_and_small(blocks):
    assert tuple(blocks) == BLOCKS
    text = json.dumps(blocks, allow_nan=False)
    assert json.loads(text) == blocks == finite_or_none(blocks)
    assert len(text) < 110_000  # two centres, by image and by patient


def test_every_null_number_has_a_reason(blocks, samples):
    def check(node, path):
        if isinstance(node, dict):
            if {"value", "low", "high"} <= set(node):
                whole = None not in (node["value"], node["low"], node["high"])
                assert whole != ("reason" in node), path
            for key, item in node.items():
                check(item, (*path, key))

    for home in (make_sample("val", seed=2), make_sample("val", patients=2), None):
        found = measure(home, samples, centers_of(samples), Settings())
        check(found, ())
    check(blocks, ())


def test_home_comes_back_from_the_file(blocks, samples):
    results = json.loads(json.dumps(blocks))
    for level, source in ((results, "val"), (results["patient_level"], "val")):
        home = Home.from_results(level, CLASSES)
        assert home.chosen_on == source and home.reason == home.no_binary == ""
        points = level["operating_points"]["points"]
        assert home.thresholds == {name: p["threshold"] for name, p in points.items()}
    fitted = Home.fit(make_sample("val", seed=2), Settings(miss_cost=4))
    home = Home.from_results(results, CLASSES)
    probs, score_of = samples[0].probs, samples[0].score
    assert (home.temperature.apply(probs) == fitted.temperature.apply(probs)).all()
    assert (home.isotonic.apply(score_of) == fitted.isotonic.apply(score_of)).all()
    for name, sets in fitted.conformal.items():
        assert (home.conformal[name].sets(probs) == sets.sets(probs)).all()
    assert home.counts == fitted.counts == make_sample("val", seed=2).counts()
    assert home.counts["n_images"] == 240 and home.note == fitted.note == ""


@pytest.mark.parametrize("lost", ["operating_points", "calibration", "conformal"])
def test_results_that_lack_a_block_bring_nothing_from_home(blocks, lost):
    home = Home.from_results({**blocks, lost: None}, CLASSES)
    assert "no operating points" in home.reason and not home.thresholds


def test_a_note_of_few_patients_comes_back_from_the_file(samples):
    val = make_sample("val", patients=6, seed=2)
    found = measure(val, samples, centers_of(samples), Settings())
    home = Home.from_results(found, CLASSES)
    assert "only 2 patients with the event" in home.note and home.note == val.note()


def test_the_rule_max_without_a_positive_group_has_no_numbers_by_patient():
    sample = make_sample(positive=())
    found = measure(None, [sample], centers_of([sample]), Settings(patient_rule="max"))
    assert found["patient_level"] == {"rule": "max", "reason": MAX_NEEDS_GROUP}


def test_few_patients_are_noted_also_where_there_is_no_positive_group():
    few = make_sample("val", patients=5, positive=())
    assert few.note() == "rests on only 5 patients of val"
    assert make_sample("val", patients=10, positive=()).note() == ""


def test_other_probabilities_of_the_same_images_leave_the_rest_as_it_is():
    sample = make_sample()
    assert sample.known and not sample.groups_only
    of = (sample.probs[:, ::-1], sample.probs)
    for known, groups in ((True, False), (False, True)):
        own = replace(sample, known=known, groups_only=groups)
        other = own.with_probs(of[0])
        assert (other.known, other.groups_only, other.center) == (known, groups, "test")
        assert np.array_equal(other.with_probs(of[1]).score, sample.score)


def test_without_val_all_that_is_carried_is_null_with_the_reason(samples):
    found = measure(None, samples, centers_of(samples), Settings(), "nobody has looked")
    for level in (found, found["patient_level"]):
        points = level["operating_points"]
        assert points["chosen_on"] is None and points["reason"] == "nobody has looked"
        assert {p["threshold"] for p in points["points"].values()} == {None}
        assert {p["reason"] for p in points["points"].values()} == {"nobody has looked"}
        assert level["calibration"]["temperature"] == {
            "value": None, "at_limit": False, "reason": "nobody has looked",
        }  # fmt: skip
        assert level["calibration"]["isotonic"] == {"x": [], "y": [], "reason": "nobody has looked"}
        assert (
            level["calibration"]["centers"]["Far"]["temperature"]["reason"] == "nobody has looked"
        )
        assert level["calibration"]["centers"]["Far"]["before"]["binary"]["slope"]["value"]
        assert level["conformal"]["reason"] == "nobody has looked"
        assert level["discrimination"]["Far"]["kappa"]["value"] is not None
        home = Home.from_results(level, CLASSES)
        assert home.reason == "nobody has looked" and not home.thresholds and not home.conformal
    assert Home.from_results(dict.fromkeys(BLOCKS), CLASSES).reason


def test_without_a_positive_group_binary_parts_give_the_reason_and_the_rest_is_there():
    val, test = (make_sample(name, seed=k, positive=()) for k, name in enumerate(("val", "test")))
    found = measure(val, [test], centers_of([test]), Settings())
    assert "DATASET.POSITIVE" in found["operating_points"]["reason"]
    entry = found["calibration"]["centers"]["test"]
    assert "DATASET.POSITIVE" in entry["before"]["binary"]["reason"]
    assert "DATASET.POSITIVE" in entry["isotonic"]["reason"]
    assert entry["temperature"]["classes"]["ece"]["value"] is not None
    assert found["conformal"]["centers"]["test"]["lac"]["coverage"]["value"] > 80
    binary = found["discrimination"]["test"]["binary"]
    assert all(cell["value"] is None for cell in binary.values())
    assert all("DATASET.POSITIVE" in cell["reason"] for cell in binary.values())


def test_by_patient_is_the_measure_of_one_row_a_patient(blocks, samples):
    level = blocks["patient_level"]
    assert level["rule"] == "mean" and level["mixed_patients"] == {"test": 0, "Far": 0}
    assert level["centers"]["test"]["n_images"] == level["centers"]["test"]["n_patients"] == 60
    assert set(LEVEL_BLOCKS) < set(level)
    mean = np.stack([samples[0].probs[samples[0].patients == p].mean(axis=0) for p in range(60)])
    truth = np.array([samples[0].labels[samples[0].patients == p][0] for p in range(60)])
    accuracy = 100 * (mean.argmax(axis=1) == truth).mean()
    assert level["centers"]["test"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert level["operating_points"]["home"]["n_images"] == 60


def test_settings_are_plain_json():
    levels = {"cyst": ("healthy", ""), "cancer": ["sick", "worst"]}
    found = Settings(order=("cyst", "cancer"), levels=levels).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["levels"] == {"cyst": ["healthy", ""], "cancer": ["sick", "worst"]}


def test_probabilities_are_counted_in_double_precision():
    """Sums of many are, whatever they were saved as."""
    made = make_sample()
    ids = [str(n) for n in made.patients]
    for probs in (made.probs.astype(np.float32), made.probs.astype(np.float32).tolist()):
        assert Sample.of("x", made.labels, probs, ids, CLASSES, POSITIVE).probs.dtype == np.float64


def test_settings_come_back_from_the_file(blocks):
    again = Settings.from_json(json.loads(json.dumps(blocks["measured_with"])))
    assert again == Settings(miss_cost=4.0, order=CLASSES)
    assert Settings.from_json({}) == Settings()


def test_an_empty_center_and_a_missing_group_at_one_center_break_nothing():
    empty = make_sample("Empty", patients=0)
    healthy = make_sample("Healthy", seed=3)
    rows = ~healthy.is_positive
    ids = [str(n) for n in healthy.patients[rows]]
    from cerviclip.evaluation.measures import Sample

    healthy = Sample.of(
        "Healthy", healthy.labels[rows], healthy.probs[rows], ids, CLASSES, POSITIVE
    )
    found = measure(make_sample("val"), [empty, healthy], centers_of([empty, healthy]), Settings())
    json.dumps(found, allow_nan=False)
    assert found["conformal"]["calibrated_on"] == "val"
    entry = found["operating_points"]["points"]["youden"]["centers"]
    assert entry["Empty"]["reason"] == "no images"
    assert entry["Healthy"]["sensitivity"]["reason"] == "no positive image here"
    assert entry["Healthy"]["specificity"]["value"] is not None
    assert entry["Healthy"]["loss"] is None and entry["Healthy"]["loss_reason"]


@pytest.mark.parametrize("row", [[2.0, -1.0], [0.9, 0.9], [np.nan, 0.5], [0.3, 0.3]])
def test_rows_that_are_not_probabilities_are_refused(row):
    probs = np.array([[0.5, 0.5], row])
    with pytest.raises(ValueError, match="val: 1 of 2 rows are not probabilities"):
        Sample.of("val", [0, 1], probs, ["a", "b"], ("normal", "cancer"))
