"""The flow of images: what was left out stands beside the path, as STARD has it."""

import pytest
from matplotlib.patches import FancyBboxPatch

from cerviclip.runs.report.flow_figure import flow_figure

CLASSES = {"NILM": {"images": 6, "patients": 3}}


def part(images, patients=3):
    return {"images": images, "patients": patients, "per_class": CLASSES}


def source(role, excluded=(), **parts):
    return {
        "role": role, "seen": {"images": 99, "patients": 9}, "excluded": list(excluded),
        "parts": parts, "used": parts, "not_drawn": dict.fromkeys(parts, 0), "notes": [],
    }  # fmt: skip


LEFT_OUT = {"reason": ".dcm files are not read", "images": 3, "patients": None}


def boxes(figure):
    """First line of each box -> (left, right, lower, upper edge)."""
    axes = figure.axes[0]
    found = {}
    for box in axes.patches:
        if isinstance(box, FancyBboxPatch):
            left, low = box.get_x(), box.get_y()
            right, top = left + box.get_width(), low + box.get_height()
            inside = [
                text for text in axes.texts
                if left < text.get_position()[0] < right and low < text.get_position()[1] < top
            ]  # fmt: skip
            first = max(inside, key=lambda text: text.get_position()[1])
            found[first.get_text()] = (left, right, low, top)
    return found


def lines(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("parts", [("test",), ("train", "test"), ("train", "val", "test")])
def test_exclusions_stand_beside_the_path(parts):
    flow = {"sources": {"Mine": source("training", [LEFT_OUT], **{p: part(6) for p in parts})}}
    figure = flow_figure(flow)
    found = boxes(figure)
    first = {"train": "Training part", "test": "Test part"}[parts[0]]
    path = sum(found[first][:2]) / 2
    left, _, low, top = found["Not used"]
    assert left > path  # the arrow down to the parts does not cross it
    assert found["Mine"][2] > top and low > found[first][3]
    assert ".dcm files are not read: 3" in lines(figure) or any(
        line.startswith(".dcm files") for line in lines(figure)
    )
    width, height = figure.get_size_inches()
    assert all(0 <= a < b <= width and 0 <= c < d <= height for a, b, c, d in found.values())


def test_nothing_left_out_is_a_line_and_no_box():
    flow = {"sources": {"Mine": source("training", train=part(6), test=part(6))}}
    flow["sources"]["Far"] = source("external", test=part(6))
    figure = flow_figure(flow)
    assert "Not used" not in boxes(figure)
    assert lines(figure).count("none left out") == 2


def test_boxes_of_sources_do_not_overlap():
    flow = {"sources": {"Far": source("external", [LEFT_OUT], test=part(6))}}
    flow["sources"]["Near"] = source("external", test=part(6))
    found = boxes(flow_figure(flow))
    assert found["Far"][1] < found["Not used"][0] < found["Not used"][1] < found["Near"][0]


def test_sources_that_do_not_fit_beside_each_other_stand_in_further_rows():
    """A page holds three columns; with five, the letters in print were of 3.7 points."""
    three = {name: part(6) for name in ("train", "val", "test")}
    flow = {"sources": {"Mine": source("training", [LEFT_OUT], **three)}}
    for name in ("Far", "Near", "Third", "Fourth"):
        flow["sources"][name] = source("external", test=part(6))
    figure = flow_figure(flow)
    found = boxes(figure)
    width, height = figure.get_size_inches()
    assert width == pytest.approx(8.25)
    assert found["Far"][3] < found["Training part"][2] and found["Far"][3] == found["Third"][3]
    assert found["Far"][1] < found["Near"][0] < found["Near"][1] < found["Third"][0]
    assert found["Fourth"][3] < found["Far"][2] and found["Fourth"][0] == found["Far"][0]
    assert all(0 <= a < b <= width and 0 <= c < d <= height for a, b, c, d in found.values())
    assert min(low for _, _, low, _ in found.values()) == pytest.approx(0.15)
