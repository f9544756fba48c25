"""Numbers of a centre that do not follow from its confusion matrix are named with their place."""

from __future__ import annotations

import copy

import pytest
from run_fixtures import whole_results

from cerviclip.runs.results_check import check_blocks, check_center, check_centers, why_no_results
from cerviclip.shapes import Misshapen
from dassl.errors import UserError


def value(number):
    return {"value": number}


# Rows are true classes: 5 of 6 normal ones are right, 2 of 4 low, 9 of 10 high.
MATRIX = [[5, 1, 0], [1, 2, 1], [0, 1, 9]]
CENTER = {
    "n_images": 20,
    "n_patients": 12,
    "accuracy": value(80.0),
    "balanced_accuracy": value(100 * (5 / 6 + 2 / 4 + 9 / 10) / 3),
    "per_class": {
        "normal": {"support": 6, "recall": value(500 / 6), "precision": value(500 / 6)},
        "low": {"support": 4, "recall": value(50.0), "precision": value(50.0)},
        "high": {"support": 10, "recall": value(90.0), "precision": value(90.0)},
    },
    "confusion_matrix": MATRIX,
    "binary": {
        "sensitivity": value(1300 / 14),
        "specificity": value(500 / 6),
        "ppv": value(1300 / 14),
        "npv": value(500 / 6),
        "accuracy": value(90.0),
    },
}
RUN = {
    "status": "done", "error": None, "dataset": "D", "trainer": "T", "backbone": "RN50", "fold": "",
    "variant": "default", "shots": 1, "seed": 3, "test_read_early": False,
    "positive_classes": ["low", "high"], "centers": {"test": CENTER},
}  # fmt: skip
POSITIVE = ("low", "high")


def changed(path, new):
    entry = copy.deepcopy(CENTER)
    *above, last = path.split(".")
    place = entry
    for key in above:
        place = place[key]
    place[last] = new
    return entry


@pytest.mark.parametrize("odd", [{"shots": [1]}, {"seed": "1"}, {"fold": 2}])
def test_members_of_an_ensemble_have_shapes(odd):
    """An audit looks for each member by these."""
    member = {"trainer": "A", "variant": "default", "backbone": "b", "shots": 1, "seed": 1}
    of = whole_results(status="done", ensemble={"members": [member], "how": "mean"})
    assert "members" not in why_no_results(of)
    of["ensemble"]["members"] = [member | odd]
    assert "members" in why_no_results(of)


def test_a_centre_whose_numbers_agree_is_let_be():
    check_center(CENTER, "centers.test", POSITIVE)
    assert why_no_results(RUN) == ""


@pytest.mark.parametrize(
    "path",
    [
        "accuracy", "balanced_accuracy", "per_class.normal.recall", "per_class.low.precision",
        "per_class.high.recall", "binary.sensitivity", "binary.specificity", "binary.ppv",
        "binary.npv", "binary.accuracy",
    ],
)  # fmt: skip
def test_every_number_is_compared_with_the_matrix(path):
    with pytest.raises(Misshapen, match=rf"^centers\.test\.{path} is 12\.5, and its confusion_mat"):
        check_center(changed(path, value(12.5)), "centers.test", POSITIVE)
    check_center(changed(path, value(None)), "centers.test", POSITIVE)  # one that says nothing
    check_center(changed(path, None), "centers.test", POSITIVE)


def test_the_number_of_images_of_a_class_is_too():
    with pytest.raises(Misshapen, match=r"x\.per_class\.low\.support is 5, .* gives 4"):
        check_center(changed("per_class.low.support", 5), "x")


def test_what_another_order_of_summation_moves_is_let_be():
    check_center(changed("accuracy", value(80.0 + 5e-7)), "x")
    for off in (2e-6, -2e-6):
        with pytest.raises(Misshapen, match="x.accuracy"):
            check_center(changed("accuracy", value(80.0 + off)), "x")


def test_without_a_positive_group_nothing_binary_follows():
    """None of the classes, or all of them."""
    entry = changed("binary.sensitivity", value(1.0))
    for positive in ((), ("other",), tuple(CENTER["per_class"])):
        check_center(entry, "x", positive)
    with pytest.raises(Misshapen, match="x.binary.sensitivity"):
        check_centers({"x": entry}, "", {"positive_classes": ["high", "low"]})
    check_centers({"x": entry}, "", {"positive_classes": None})


def test_images_patients_and_the_size_of_the_matrix():
    check_center(changed("n_patients", 20), "x")
    with pytest.raises(Misshapen, match="x has 20 images of 21 patients"):
        check_center(changed("n_patients", 21), "x")
    with pytest.raises(Misshapen, match="x has 21 images, and 20 in its confusion_matrix"):
        check_center(changed("n_images", 21), "x")
    for wrong in (MATRIX[:2], [*MATRIX, [0, 0, 0]], [[5, 1], [1, 2, 1], [0, 1, 9]]):
        with pytest.raises(Misshapen, match=r"x\.confusion_matrix is not of 3 x 3"):
            check_center(changed("confusion_matrix", wrong), "x")


def test_an_entry_may_leave_out_what_it_does_not_know():
    for key in CENTER:
        check_center({k: v for k, v in CENTER.items() if k != key}, "x", POSITIVE)
    check_center({"n_images": 3, "n_patients": 2}, "x", POSITIVE)
    with pytest.raises(Misshapen, match="x.accuracy is 50"):  # classes without names
        check_center({"confusion_matrix": MATRIX, "accuracy": value(50)}, "x")


def test_a_class_without_images_has_no_recall_and_no_part_in_the_mean():
    matrix = [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
    entry = {"confusion_matrix": matrix, "balanced_accuracy": value(87.5)}
    check_center(entry, "x")
    with pytest.raises(Misshapen, match="x.balanced_accuracy"):
        check_center(entry | {"balanced_accuracy": value(58.3)}, "x")
    check_center({"confusion_matrix": [[0, 0], [0, 0]], "accuracy": value(50)}, "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "running"}, "status is 'running', not done or failed"),
        ({"shots": "all"}, "shots is 'all', not a number or full"),
        ({"fold": "3"}, "DATASET.FOLD is '3'"),
        ({"fold": "4/3"}, "DATASET.FOLD is 4/3; its folds are 1/3 to 3/3"),
        ({"seed": "3"}, "seed is"),
        ({"centers": {"test": changed("accuracy", value(1.0))}}, "centers.test.accuracy is 1.0"),
    ],
)
def test_what_is_wrong_with_results_is_told(change, said):
    assert why_no_results(RUN | change).startswith(said)


def test_full_shots_folds_and_numbers_left_to_an_audit_are_let_be():
    assert why_no_results(RUN | {"shots": "full", "fold": "3/3@2", "status": "failed"}) == ""
    wrong = RUN | {"centers": {"test": changed("accuracy", value(1.0))}}
    assert why_no_results(wrong, consistent=False) == ""


def test_blocks_of_patients_are_looked_at_as_centres_are():
    ours = {"patient_level": {"rule": "mean", "centers": {"test": CENTER}}}
    check_blocks(RUN | ours, "file")
    check_blocks(RUN | {"patient_level": None}, "file")
    ours["patient_level"]["centers"]["test"] = changed("binary.ppv", value(2.0))
    with pytest.raises(UserError, match=r"^file: patient_level\.centers\.test\.binary\.ppv is 2.0"):
        check_blocks(RUN | ours, "file")
    check_blocks(RUN | ours, "file", shape=lambda value, where: None)  # other blocks alone
    with pytest.raises(UserError, match=r"^file: calibration"):
        check_blocks(RUN | {"calibration": 3}, "file")


def test_a_flow_is_whole_or_empty():
    for flow in ({}, None):
        check_blocks({"flow": flow}, "results.json")
    for flow in ({"sources": {}}, {"leaks": {"centers": {}}}, {"sources": {"D": {}}}):
        with pytest.raises(UserError, match="it lacks the key flow"):
            check_blocks({"flow": flow}, "results.json")


@pytest.mark.parametrize("runtime", [{}, {"title": None}, {"title": "Cervix OCT, Hospital A"}])
def test_a_sound_title_and_none_are_let_pass(runtime):
    assert why_no_results(RUN | {"runtime": runtime}) == ""


@pytest.mark.parametrize("title", ["a\nb", "<script>", "x" * 10_000, "\x1b[2J", "$x$", 3, ["a"]])
def test_a_title_that_no_run_can_have_is_refused(title):
    said = why_no_results(RUN | {"runtime": {"title": title}})
    assert said.startswith("runtime.title is ") and said.isprintable() and len(said) < 200
