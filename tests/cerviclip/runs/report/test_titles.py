"""Every metric that can be asked for has the field's words, not its key."""

from __future__ import annotations

import pytest

from cerviclip.evaluation.comparing.quantities import (
    CALL,
    COMPARABLE,
    quantity,
)
from cerviclip.evaluation.measures.discrimination import MAX_FPR
from cerviclip.evaluation.names import is_of_calls
from cerviclip.runs.comparison.tables import DifferenceTable
from cerviclip.runs.report.groups import METRICS, TITLES
from cerviclip.runs.report.prediction_figures import POINT_TITLES
from cerviclip.runs.report.tables import rule_notes
from cerviclip.runs.report.titles import heading_of, title_of

PER_CLASS = [f"per_class.HSIL.{part}" for part in ("precision", "recall", "f1", "auc", "auprc")]


@pytest.mark.parametrize("metric", [*COMPARABLE, *PER_CLASS])
def test_no_heading_of_a_comparison_shows_a_key(metric):
    table = DifferenceTable("Herlev", metric, [], [], [], against="LoRA", scale=1.0)
    name = table.heading.partition(", ")[2]
    assert "_" not in name
    assert "." not in name
    assert name not in {"brier", "ece", "ppv", "npv"}


def test_points_classes_and_unknown_names():
    assert title_of("sensitivity_95.specificity") == "specificity at 95 % sensitivity on val"
    assert title_of("per_class.HSIL.f1") == "F1 of HSIL"
    assert title_of("accuracy") == "accuracy"
    assert title_of("their_own") == "their_own"
    assert f"{1 - MAX_FPR:.0%}".replace("%", " %") in title_of("binary.partial_auc")


@pytest.mark.parametrize("point", POINT_TITLES)
def test_points_are_called_as_in_the_figures(point):
    assert title_of(f"{point}.ppv") == f"positive predictive value at {POINT_TITLES[point]}"


@pytest.mark.parametrize("metric", COMPARABLE)
def test_the_rule_of_a_positive_image_stands_where_a_metric_depends_on_it(metric):
    assert is_of_calls(metric) == (quantity(metric, ("a", "b"), ("a", "b")).needs == CALL)


@pytest.mark.parametrize("metric", [*METRICS, *PER_CLASS])
def test_a_tables_heading_has_words_and_its_unit(metric):
    heading = heading_of(metric)
    assert "_" not in heading and "." not in heading
    assert heading == TITLES.get(metric, heading)
    assert heading.endswith("(%)") == (not metric.endswith(("auc", "ece", "auprc")))


def test_the_note_on_positive_images_stands_below_their_metrics_alone():
    noted = {metric for metric in METRICS if rule_notes(metric)}
    names = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
    assert noted == {f"binary.{name}" for name in names}
    assert not rule_notes("binary.brier") and not rule_notes("per_class.HSIL.f1")
