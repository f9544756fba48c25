"""Operating points that have one threshold share their rows."""

from __future__ import annotations

from cerviclip.report.document import Document
from cerviclip.report.measured import coinciding_notes, point_rows, points, prevalence_rows
from cerviclip.report.methods import _without_name


def of_rate(value):
    return {"value": value, "low": None, "high": None}


def point(threshold, value, *losses, **more):
    centers = {
        f"centre {number}": {
            **{rate: of_rate(value) for rate in ("sensitivity", "specificity", "ppv", "npv")},
            "loss": {"sensitivity": loss, "specificity": 0.0},
            "ppv_at": {"0.05": of_rate(value)},
            "npv_at": {"0.05": of_rate(value)},
        }
        for number, loss in enumerate(losses)
    }
    return {"threshold": threshold, "centers": centers} | more


NONE = {"threshold": None, "centers": {}, "reason": "no cost"}


def block(*thresholds, losses=((1.0,), (1.0,), (1.0,))):
    names = ("sensitivity_95", "specificity_95", "youden")
    found = zip(names, thresholds, losses, strict=True)
    return {"points": {n: point(t, 100 * t, *loss) for n, t, loss in found} | {"cost": NONE}}


def test_points_of_their_own_thresholds_have_rows_of_their_own():
    found = block(0.2, 0.5, 0.4)
    assert [row[:2] for row in point_rows(found)] == [
        ("95 % sensitivity", "0.200"), ("95 % specificity", "0.500"), ("Youden", "0.400"),
    ]  # fmt: skip
    assert coinciding_notes(found) == [] and len(prevalence_rows(found)) == 3


def test_points_of_one_threshold_share_rows_and_the_note_says_so():
    """Three points with one threshold had each row three times."""
    found = block(0.4, 0.4, 0.4)
    [row] = point_rows(found)
    assert row[:3] == ("95 % sensitivity, 95 % specificity and Youden", "0.400", "centre 0")
    assert row[-1] == "+1.0\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}+0.0"
    assert [r[0] for r in prevalence_rows(found)] == [row[0]]
    [note] = coinciding_notes(found)
    assert note.startswith("95 % sensitivity, 95 % specificity and Youden coincide")


def test_each_point_keeps_its_loss_where_rows_are_shared():
    found = block(0.4, 0.5, 0.4, losses=((1.0, 2.0), (0.0, 0.0), (1.0, -3.0)))
    rows = [(row[0], row[2], row[-1].replace("\N{NO-BREAK SPACE}", " ")) for row in
            point_rows(found)]  # fmt: skip
    assert rows[:2] == [
        ("95 % sensitivity and Youden", "centre 0", "+1.0 / +0.0"),
        ("95 % sensitivity and Youden", "centre 1", "+2.0 / +0.0; −3.0 / +0.0"),
    ]
    assert "order of the points" in coinciding_notes(found)[1]


def test_thresholds_of_folds_coincide_only_if_all_do():
    points = {
        "sensitivity_95": point(0.4, 40, 1.0, by_fold=[0.3, 0.5]),
        "youden": point(0.4, 40, 1.0, by_fold=[0.4, 0.4]),
    }
    assert len(point_rows({"points": points})) == 2


def test_the_table_has_the_shared_rows_and_the_note():
    document = Document("Draft", "")
    entry = {"n_patients": 3, "n_images": 3}
    run = {"operating_points": block(0.4, 0.5, 0.4), "patient_level": None,
           "centers": {"centre 0": entry}}  # fmt: skip
    points(document, run)
    table, other = document.blocks
    assert [row[0] for row in table.rows] == ["95 % sensitivity and Youden", "95 % specificity"]
    assert [row[0] for row in other.rows] == ["95 % sensitivity and Youden", "95 % specificity"]
    assert "95 % sensitivity and Youden coincide" in table.note


def test_a_setting_is_not_explained_by_its_own_name():
    """The note said "alpha of TipAdapterF: weight of the cache (alpha)"."""
    assert _without_name("weight of the cache (alpha)", "ALPHA") == "weight of the cache"
    assert _without_name("inverse of the penalty (C)", "C") == "inverse of the penalty"
    assert _without_name("weight of the neighbours (b)", "graph") == "weight of the neighbours (b)"
