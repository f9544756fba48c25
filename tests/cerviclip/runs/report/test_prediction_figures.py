"""Figures of predictions: signs that coincide are one, and no curve ends in a spike."""

from __future__ import annotations

import numpy as np
import pytest
from measures_fixtures import make_sample

from cerviclip.evaluation.measures import Home
from cerviclip.evaluation.measures.thresholds.operating_points import same_threshold
from cerviclip.report.sentences.captions import captions
from cerviclip.runs.report import prediction_figures as figures

POINTS = ("sensitivity_95", "specificity_95", "youden")


def drawn(draw, home, *samples):
    return figures.panels_figure(samples or (make_sample(),), home, draw, "x", "y")


def signs(panel):
    return {line.get_label(): line for line in panel.lines if line.get_linestyle() == "None"}


def test_points_of_one_threshold_are_found():
    found = same_threshold({"sensitivity_95": 0.2, "youden": 0.4, "cost": 0.2})
    assert found == {("sensitivity_95", "cost"): 0.2, ("youden",): 0.4}
    folds = {"sensitivity_95": np.array([0.2, 0.3]), "youden": np.array([0.2, 0.4])}
    assert len(same_threshold(folds)) == 2
    assert figures.points_title(POINTS) == (
        "95 % sensitivity, 95 % specificity and Youden on val"
    )  # fmt: skip
    assert figures.points_title(["cost"]) == "least cost on val"


def test_one_sign_with_all_names_where_points_coincide():
    """Three signs lay on each other at one place of the curve."""
    [panel] = drawn(figures._roc, Home(thresholds=dict.fromkeys(POINTS, 0.5))).axes
    assert list(signs(panel)) == ["95 % sensitivity, 95 % specificity and Youden on val"]
    home = Home(thresholds={"sensitivity_95": 0.3, "specificity_95": 0.6, "youden": 0.6})
    [panel] = drawn(figures._roc, home).axes
    assert list(signs(panel)) == ["95 % sensitivity on val", "95 % specificity and Youden on val"]


def test_other_thresholds_in_one_place_are_one_sign_too():
    sample = make_sample()
    score = np.sort(sample.score)
    low, high = (score[100] + np.array([0.2, 0.8]) * (score[101] - score[100])).tolist()
    home = Home(thresholds={"sensitivity_95": low, "youden": high})
    [panel] = drawn(figures._roc, home, sample).axes
    assert list(signs(panel)) == ["95 % sensitivity and Youden on val"]


def test_signs_that_stand_for_other_points_look_different():
    names = [(a,) for a in POINTS]
    names += [(POINTS[0], POINTS[1]), (POINTS[0], POINTS[2]), (POINTS[1], POINTS[2])]
    looks = [tuple(sorted(figures._point_look(some).items())) for some in names]
    assert len(set(looks)) == len(looks)


def test_one_line_for_points_of_one_threshold():
    home = Home(thresholds=dict.fromkeys(POINTS, 0.5))
    [panel] = drawn(figures._probabilities, home).axes
    assert [line.get_label() for line in panel.lines] == [figures.points_title(POINTS)]


def test_a_decision_curve_ends_before_a_threshold_of_one_and_the_caption_says_so():
    """Near 1 a false alarm counts as 99 missed positives: the curve ended in a spike."""
    [panel] = drawn(figures._decision, Home()).axes
    assert panel.get_xlim() == (0, 0.8)
    curves = [line for line in panel.lines if line.get_label() != "treat none"]
    assert len(curves) == 2
    for curve in curves:
        assert max(curve.get_xdata()) == pytest.approx(0.8)
    told = captions({"centers": {}, "operating_points": None, "calibration": None})["decision"]
    assert "Thresholds end at 0.8, where one false alarm counts as much as 4 missed" in told


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_legend_is_below_the_panels_and_within_the_figure(count, tmp_path):
    samples = [make_sample(center=f"centre {number}", seed=number) for number in range(count)]
    home = Home(thresholds=dict.fromkeys(POINTS, 0.5))
    figure = drawn(figures._roc, home, *samples)
    figure.canvas.draw()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert box.y1 <= min(p.get_tightbbox().y0 for p in figure.axes if p.get_visible())
    assert box.width <= figure.bbox.width
    paths = figures.prediction_figures(tmp_path, samples, home)
    from PIL import Image

    with Image.open(paths["roc"]) as image:
        edge = np.asarray(image.convert("L"))
    assert (edge[[0, -1]] == 255).all() and (edge[:, [0, -1]] == 255).all()  # nothing is cut
    assert (edge[-60:] < 200).any()  # and no white space is left below the legend
