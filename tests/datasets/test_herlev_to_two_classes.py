"""Herlev's seven classes scored on another laboratory's normal and abnormal nuclei.

The other laboratory is a stand-in: the two-class nuclei that are to be had have no known origin.
"""

from __future__ import annotations

import pytest
from data_fixtures import write_herlev

from cerviclip.data.centers.coarse import NEGATIVE, POSITIVE
from cerviclip.data.centers.external import build_external_datasets
from dassl.data.datasets import build_dataset
from dassl.errors import UserError
from helpers import write_images

NUCLEI = {"Normal": 6, "Abnormal": 9}
GROUPS = {"Normal": "negative", "Abnormal": "positive"}


def write_laboratories(root):
    write_herlev(root / "herlev")
    write_images(root / "other_lab", {**NUCLEI, "Artefact": 2}, patients=5, size=24, seed=4)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the lab's file names tell no patient
def test_seven_classes_meet_two_by_a_binary_map_alone(make_cfg, tmp_path):
    write_laboratories(tmp_path)
    centers = {"EXTERNAL_FOLDERS": {"lab": "other_lab"}}
    cfg = make_cfg(tmp_path, "Herlev", **centers, BINARY_MAP={**GROUPS, "Artefact": ""})
    data = build_dataset(cfg)
    items = build_external_datasets(cfg, data)["lab"]
    assert data.num_classes == 7 and len(data.positive_classes) == 4
    labels = [item.label for item in items]
    assert labels.count(NEGATIVE) == NUCLEI["Normal"]
    assert labels.count(POSITIVE) == NUCLEI["Abnormal"] and len(labels) == 15
    for groups in ({}, {"Normal": "negative"}):
        cfg = make_cfg(tmp_path, "Herlev", **centers, BINARY_MAP=groups)
        with pytest.raises(UserError, match="BINARY_MAP"):
            build_external_datasets(cfg, build_dataset(cfg))
