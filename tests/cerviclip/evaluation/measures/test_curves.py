"""Areas under curves, against scikit-learn's to the last digit."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cerviclip.evaluation.measures.curves import (
    Steps,
    average_precision,
    partial_roc_area,
    roc_area,
)

CASES = {
    "many": lambda rng: (rng.random(400), rng.random(400) < 0.3),
    "ties": lambda rng: (np.round(rng.random(200), 1), rng.random(200) < 0.5),
    "perfect": lambda rng: (np.arange(20.0), np.arange(20) > 14),
    "wrong": lambda rng: (-np.arange(20.0), np.arange(20) > 14),
    "one score": lambda rng: (np.ones(9), np.arange(9) > 4),
    "two images": lambda rng: (np.array([0.2, 0.1]), np.array([False, True])),
}


@pytest.mark.parametrize("case", CASES)
def test_areas_are_scikit_learns(case):
    score, positive = CASES[case](np.random.default_rng(1))
    steps = Steps.of(score, positive)
    assert average_precision(steps) == average_precision_score(positive, score)
    assert roc_area(steps) == roc_auc_score(positive, score)
    assert partial_roc_area(steps, 0.1) == roc_auc_score(positive, score, max_fpr=0.1)
