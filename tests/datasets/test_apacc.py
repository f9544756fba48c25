"""APACC in parts and as the challenge's one folder."""

from __future__ import annotations

import pytest
from cases import DatasetCase

from helpers import write_images

NAME = "APACC"
CLASSES = ("healthy", "unhealthy", "bothcells", "rubbish")


def write_release(root):
    for seed, (part, each) in enumerate({"train": 6, "test": 3}.items()):
        write_images(root / part, dict.fromkeys(CLASSES, each), size=8, seed=seed)


# Neither patient nor slide is known: each file is split as a patient of its own.
CASE = DatasetCase(NAME, lambda r: write_release(r / "apacc"), {"PATIENT_PATTERN": "stem"})


def test_parts_are_the_split_and_said_to_be_unchecked(build, tmp_path):
    write_release(tmp_path / "apacc")
    with pytest.warns(UserWarning, match="neither patient nor slide is published"):
        data = build(tmp_path, NAME)
    assert [len(part or []) for part in (data.train_x, data.val, data.test)] == [24, 0, 12]
    assert data.classnames == list(CLASSES)
    assert data.positive_classes == ["unhealthy", "bothcells"]
    assert {d.patient_id for d in data.test} == {""}


def test_the_challenges_part_with_labels_is_split_by_ratio(build, tmp_path):
    folder = tmp_path / "apacc/isbi2025-ps3c-train-dataset"
    write_images(folder, dict.fromkeys(CLASSES, 10), size=8)
    with pytest.warns(UserWarning, match="neither patient nor slide is published"):
        data = build(tmp_path, NAME)
    assert len([*data.train_x, *data.val, *data.test]) == 40
    assert data.split_record["by"] == "patient"
