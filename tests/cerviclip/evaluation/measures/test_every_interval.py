"""docs/evaluation.md: no interval has zero width, each holds its value and stays in its range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cerviclip.evaluation.measures import Sample, Settings, measure
from cerviclip.evaluation.report import score

NAMES, POSITIVE = ("a", "b", "c"), ("c",)
LABELS = np.tile([0, 1, 2], 6)
PATIENTS = [f"p{i // 3}" for i in range(len(LABELS))]  # each has an image of each class
OWN = [f"q{i % 6}" for i in range(len(LABELS))]  # each has images of one class
PREDICTED = {
    "all right": LABELS,
    "all wrong in one way": (LABELS + 1) % 3,
    "one class said": np.zeros_like(LABELS),
    "another one said": np.full_like(LABELS, 2),
    "half right": np.where(np.arange(len(LABELS)) % 2, LABELS, (LABELS + 1) % 3),
}


def intervals(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict) and {"value", "low", "high"} <= node.keys():
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from intervals(value, f"{path}/{key}")


@pytest.mark.parametrize("sure", [1.0, 0.6])
@pytest.mark.parametrize("patients", [PATIENTS, OWN], ids=["of all classes", "of one class"])
@pytest.mark.parametrize("said", PREDICTED.values(), ids=PREDICTED)
def test_every_interval_has_a_width_and_holds_its_value(said, patients, sure):
    probs = np.full((len(LABELS), 3), (1 - sure) / 2)
    probs[np.arange(len(LABELS)), said] = sure
    of = (probs, patients, NAMES, POSITIVE)
    centers = {"test": score(LABELS.tolist(), *of)}
    sample = Sample.of("test", LABELS, *of)
    blocks = measure(sample, [sample], centers, Settings(order=NAMES, miss_cost=3.0))
    found = [*intervals(centers), *intervals(blocks)]
    assert len(found) > 100
    for path, cell in found:
        value, low, high = cell["value"], cell["low"], cell["high"]
        if value is None or low is None or high is None:
            assert cell["reason"], path
        else:
            assert low < high and low <= value + 1e-9 and value - 1e-9 <= high, (path, cell)


def test_quadratic_kappa_of_one_true_class_has_no_interval():
    probs = np.eye(3)[np.arange(len(LABELS)) % 3]
    sample = Sample.of("test", np.zeros_like(LABELS), probs, PATIENTS, NAMES, POSITIVE)
    cell = measure(sample, [sample], {}, Settings(order=NAMES))["discrimination"]["test"]
    found = cell["quadratic_kappa"]
    assert found["value"] == pytest.approx(0) and found["low"] is found["high"] is None
    assert "one true class" in found["reason"]


def test_all_wrong_in_one_way_leaves_half_a_patient_of_doubt():
    probs = np.eye(3)[(LABELS + 1) % 3]
    sample = Sample.of("test", LABELS, probs, PATIENTS, NAMES, POSITIVE)
    blocks = measure(sample, [sample], {}, Settings())
    kappa = blocks["discrimination"]["test"]["kappa"]
    assert kappa["value"] == pytest.approx(-0.5) == kappa["low"]
    assert kappa["high"] == pytest.approx(-0.5 + 1.5 / 12)  # one error of 12 half patients less
