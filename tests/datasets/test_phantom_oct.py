"""The phantom data sets: rendered at first use, read by the real data sets' code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cases import DatasetCase
from data_fixtures import write_oct

from cerviclip.data.phantoms import CENTERS, CLASSES, VERSION
from cerviclip.plugins import ensure_loaded
from dassl.config import get_cfg_default
from dassl.errors import UserError

FOLDERS = {n: f"{n}/images" for n in ("mixed", "huaxi", "xiangya", "huaxi_b", "xiangya_b")}
CASE = (
    *(
        DatasetCase(name, write_oct, {"FOLDER": f"{folder}/images"})  # no rendering
        for name, folder in {
            "PhantomOCT": "mixed",
            "PhantomHuaxi": "huaxi",
            "PhantomHuaxiB": "huaxi",
            "PhantomXiangya": "xiangya",
            "PhantomXiangyaB": "xiangya",
        }.items()
    ),
    DatasetCase(
        "PhantomDomains",
        write_oct,
        {
            "SOURCE_DOMAINS": ("mixed", "huaxi"),
            "TARGET_DOMAINS": ("xiangya",),
            "EXTERNAL_FOLDERS": FOLDERS,
        },
    ),
)

# Imported at collection, so that the fixture that puts the registries back leaves them registered.
ensure_loaded("dataset", "PhantomOCT")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One data root with few patients per centre, rendered as the tests ask for centres."""
    with pytest.MonkeyPatch.context() as patch:
        for name, center in list(CENTERS.items()):
            small = replace(center, patients=(3, 3, 3, 3, 3), frames=(2, 2))
            patch.setitem(CENTERS, name, small)
        yield tmp_path_factory.mktemp("data")


def build(root, name: str, **options):
    cfg = get_cfg_default()
    cfg.DATASET.ROOT, cfg.DATASET.NAME = str(root), name
    for key, value in options.items():
        cfg.DATASET[key] = value
    return ensure_loaded("dataset", name)(cfg)


def test_the_mixed_center_is_split_by_patient(root):
    data = build(root, "PhantomOCT")
    assert data.classnames == list(CLASSES)
    parts = [{d.patient_id for d in part} for part in (data.train_x, data.val, data.test)]
    assert all(parts) and not parts[0] & parts[1] and not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert all(patient.startswith("P001") for part in parts for patient in part)
    assert data.positive_classes == ["cancer", "high-grade_squamous_intraepithelial_lesion"]
    assert set(data.descriptions) == {"plain", "structural", "report"}
    assert data.split_record["version"] == VERSION


def test_external_centers_are_tested_on_only(root):
    for name, digits in (
        ("PhantomHuaxi", "P002"),
        ("PhantomXiangya", "P003"),
        ("PhantomHuaxiB", "P004"),
        ("PhantomXiangyaB", "P005"),
    ):
        data = build(root, name)
        assert data.train_x == [] and len(data.test) == 30
        assert {d.patient_id[:4] for d in data.test} == {digits}


def test_the_generator_version_is_part_of_the_split_hash(root, monkeypatch):
    one = build(root, "PhantomOCT").split_hash
    assert build(root, "PhantomOCT").split_hash == one
    monkeypatch.setattr(ensure_loaded("dataset", "PhantomOCT"), "version", "other")
    assert build(root, "PhantomOCT").split_hash != one


def test_domains_come_from_the_centers_asked_for(root):
    data = build(
        root,
        "PhantomDomains",
        SOURCE_DOMAINS=("huaxi", "mixed"),
        TARGET_DOMAINS=("xiangya",),
        NUM_SHOTS=1,
    )
    assert {d.patient_id[:4] for d in data.train_x} == {"P002", "P001"}
    assert {d.domain for d in data.train_x} == {0, 1}
    assert {d.patient_id[:4] for d in data.test} == {"P003"}
    unlabelled, tested = ({d.patient_id for d in part} for part in (data.train_u, data.test))
    assert unlabelled and not unlabelled & tested


def test_an_unknown_domain_is_named_before_anything_is_rendered(tmp_path):
    with pytest.raises(UserError, match='unknown domain "mars"'):
        build(tmp_path, "PhantomDomains", SOURCE_DOMAINS=("mars",))
    assert not (tmp_path / "phantom").exists()
