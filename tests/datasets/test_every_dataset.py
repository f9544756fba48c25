"""What holds for every registered data set: no patient on two sides, relative paths, a record."""

from __future__ import annotations

import json

import pytest
from data_fixtures import write_herlev

from cerviclip import plugins
from helpers import write_images

OCT = ("mixed", "huaxi", "xiangya")
FOLDERS = {name: f"{name}/images" for name in (*OCT, "huaxi_b", "xiangya_b")}
# How each is pointed at small data; a new data set adds its line.
OPTIONS = {
    "CervixOCTDomains": {"SOURCE_DOMAINS": ("mixed", "huaxi"), "TARGET_DOMAINS": ("xiangya",)},
    "FolderDataset": {"FOLDER": "mine", "PATIENT_PATTERN": r"(P\d{7})"},
    "Herlev": {},
    "HuaxiOCT": {},
    "MixedCenterOCT": {},
    "PhantomDomains": {
        "SOURCE_DOMAINS": ("mixed", "huaxi"),
        "TARGET_DOMAINS": ("xiangya",),
        "EXTERNAL_FOLDERS": FOLDERS,
    },
    "PhantomHuaxi": {"FOLDER": "huaxi/images"},
    "PhantomHuaxiB": {"FOLDER": "huaxi/images"},
    "PhantomOCT": {"FOLDER": "mixed/images"},
    "PhantomXiangya": {"FOLDER": "xiangya/images"},
    "PhantomXiangyaB": {"FOLDER": "xiangya/images"},
    "XiangyaOCT": {},
}
OURS = sorted(
    name for name, entry in plugins.discover()["dataset"].items() if "/datasets/" in entry.source
)


@pytest.fixture
def root(oct_root):
    write_herlev(oct_root / "herlev")
    write_images(oct_root / "mine", {"a": 30, "b": 30}, patients=8, size=8)
    return oct_root


def test_every_data_set_is_in_the_table():
    assert set(OPTIONS) == {n for n in OURS if not n.startswith("_")} and len(OURS) >= 6


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shots", [-1, 2])
def test_no_patient_is_on_two_sides(make_cfg, root, name, shots):
    from dassl.data.datasets import build_dataset

    cfg = make_cfg(root, name, NUM_SHOTS=shots, **OPTIONS[name])
    data = build_dataset(cfg)
    train = {d.patient_id for d in [*data.train_x, *(data.train_u or [])]}
    val, test = ({d.patient_id for d in part or []} for part in (data.val, data.test))
    assert test and "" not in train | val | test
    assert not (train & test or val & test or train & val)

    record = data.split_record
    assert str(root) not in json.dumps(record)
    assert record["hash"] == data.split_hash and record["draw_hash"] == data.draw_hash
    for side, part in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        assert [row["patient"] for row in record[side]] == [d.patient_id for d in part or []]
    assert data.classnames == [data.lab2cname[k] for k in range(data.num_classes)]
    assert set(data.positive_classes) <= set(data.classnames)
    for texts in data.descriptions.values():
        assert set(texts) == set(data.classnames)
    again = build_dataset(cfg)
    assert [d.impath for d in again.train_x] == [d.impath for d in data.train_x]
