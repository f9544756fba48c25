"""What the model card says of its evaluation data."""

from __future__ import annotations

from cerviclip.app.export.card import patients_said


def test_patients_are_counted_where_they_are_known_alone():
    assert patients_said({"n_images": 30, "n_patients": 12}) == "12 patients"
    unknown = {"n_images": 30, "n_patients": 30, "uncertainty": {"unit": "image"}}
    assert patients_said(unknown) == "patients not known"
