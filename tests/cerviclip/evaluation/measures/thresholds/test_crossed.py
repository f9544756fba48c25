"""Out of fold: no fold's thresholds, maps or sets are moved by its own labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measures_fixtures import binary_sample, make_sample, relabelled

from cerviclip.evaluation.measures import ConformalSets, Home, Settings, by_patient
from cerviclip.evaluation.measures.blocks import SPLIT_PATIENTS, measure_folds
from cerviclip.evaluation.measures.patients import ONE_IMAGE
from cerviclip.evaluation.measures.probabilities.conformal import METHODS
from cerviclip.evaluation.measures.thresholds.crossed import ONE_FOLD, OUT_OF_FOLD, fit_folds
from cerviclip.evaluation.measures.thresholds.operating_points import apply, choose

SIZES = (80, 60, 100)  # images; a patient has four of them
SETTINGS = Settings(miss_cost=5.0)
FOLD = np.repeat(np.arange(3), SIZES)


@pytest.fixture
def sample():
    return make_sample(patients=60, images=4, skill=1.0)


def test_each_fold_has_what_the_others_choose(sample):
    whole, crossed = fit_folds(sample, SIZES, SETTINGS)
    for i in range(3):
        others = Home.fit(sample.take(FOLD != i), SETTINGS)
        for name, threshold in others.thresholds.items():
            assert set(crossed.thresholds[name][FOLD == i]) == {threshold}
        part = sample.probs[FOLD == i]
        mapped = crossed.temperature.apply(sample.probs)[FOLD == i]
        assert np.array_equal(mapped, others.temperature.apply(part))
        scores = crossed.isotonic.apply(sample.score)[FOLD == i]
        assert np.array_equal(scores, others.isotonic.apply(sample.score[FOLD == i]))
        for method in METHODS:
            sets = crossed.conformal[method].sets(sample.probs)[FOLD == i]
            assert np.array_equal(sets, others.conformal[method].sets(part))
            assert crossed.conformal[method].method == method
    assert whole.thresholds == choose(sample, 5.0)
    assert (whole.chosen_on, crossed.no_binary) == (OUT_OF_FOLD, "")


def test_a_folds_own_labels_move_nothing_of_it_but_that_of_others(sample):
    labels = sample.labels.copy()
    labels[FOLD == 1] = labels[FOLD == 1][::-1]
    one, two = (fit_folds(s, SIZES, SETTINGS)[1] for s in (sample, relabelled(sample, labels)))
    for name, thresholds in one.thresholds.items():
        same = thresholds == two.thresholds[name]
        assert same[FOLD == 1].all()
    assert any((one.thresholds[n] != two.thresholds[n]).any() for n in one.thresholds)


def test_one_fold_has_no_others_to_choose_on(sample):
    whole, crossed = fit_folds(sample, [len(sample)], SETTINGS)
    assert whole.thresholds and crossed.reason == crossed.no_binary == ONE_FOLD


def test_where_the_other_folds_have_no_positive_image_there_is_no_threshold():
    sample = binary_sample(np.linspace(0.1, 0.9, 12), [0] * 8 + [1] * 4)
    whole, crossed = fit_folds(sample, (4, 4, 4), SETTINGS)
    assert whole.thresholds and not crossed.thresholds and crossed.isotonic is None
    assert crossed.no_binary == "no positive image in the other folds"
    assert crossed.temperature is not None and set(crossed.conformal) == set(METHODS)


def test_blocks_of_folds_call_the_sample_by_its_folds_and_others_by_all(sample):
    far = make_sample("Far", seed=1, skill=0.7)
    blocks = measure_folds(sample, SIZES, [far], {}, SETTINGS)
    whole, crossed = fit_folds(sample, SIZES, SETTINGS)
    point = blocks["operating_points"]["points"]["youden"]
    assert point["threshold"] == whole.thresholds["youden"]
    ends = np.cumsum(SIZES) - 1
    assert point["by_fold"] == crossed.thresholds["youden"][ends].tolist()
    of = (SETTINGS.prevalences, SETTINGS.miss_cost)
    for s, home in ((sample, crossed), (far, whole)):
        found = apply(s, home.thresholds, *of)["youden"]
        assert point["centers"][s.center]["sensitivity"] == found["sensitivity"]
    methods = blocks["conformal"]["methods"]
    fitted = ConformalSets.fit(sample, "lac", SETTINGS.coverage)
    assert methods["lac"] == fitted.to_json(sample.classnames)
    assert blocks["measured_with"]["miss_cost"] == 5.0


def test_blocks_by_patient_choose_on_one_row_a_patient(sample):
    level = measure_folds(sample, SIZES, [], {}, SETTINGS)["patient_level"]
    made = by_patient(sample, "mean")
    whole, crossed = fit_folds(made, (20, 15, 25), SETTINGS)
    point = level["operating_points"]["points"]["youden"]
    assert point["threshold"] == whole.thresholds["youden"]
    assert point["by_fold"] == crossed.thresholds["youden"][[19, 34, 59]].tolist()
    assert level["rule"] == "mean" and level["mixed_patients"] == {"test": 0}
    assert level["centers"]["test"]["n_images"] == 60


def test_why_there_are_no_blocks_by_patient(sample):
    def level(s, sizes=SIZES):
        return measure_folds(s, sizes, [], {}, SETTINGS)["patient_level"]

    assert level(sample, (82, 58, 100)) == {"rule": "mean", "reason": SPLIT_PATIENTS}
    alone = replace(sample, patients=np.arange(len(sample)))
    assert level(alone) == {"rule": "mean", "reason": ONE_IMAGE}


def test_a_fold_without_images_has_no_threshold_of_its_own(sample):
    blocks = measure_folds(sample, (80, 0, 60, 100), [], {}, SETTINGS)
    point = blocks["operating_points"]["points"]["youden"]
    assert len(point["by_fold"]) == 3
