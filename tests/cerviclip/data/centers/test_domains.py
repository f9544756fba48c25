"""Centres as domains: sources train, targets test, patients never cross."""

from __future__ import annotations

import json

import pytest

from dassl.data import DataManager
from dassl.errors import UserError

NAME = "CervixOCTDomains"


def patients(items) -> set[str]:
    return {item.patient_id for item in items}


def center(item) -> str:
    return item.impath.split("/images/")[0].rsplit("/", 1)[1]


def test_sources_train_and_targets_test(build, oct_root):
    data = build(
        oct_root, NAME, SOURCE_DOMAINS=("mixed", "huaxi"), TARGET_DOMAINS=("xiangya",), NUM_SHOTS=1
    )
    assert {(item.domain, center(item)) for item in data.train_x} == {(0, "mixed"), (1, "huaxi")}
    assert len(data.train_x) == 10  # per class and centre
    assert {center(item) for item in (*data.train_u, *data.test)} == {"xiangya"}
    assert {item.domain for item in data.test} == {0}
    assert not patients(data.train_u) & patients(data.test)
    assert len(data.train_u) + len(data.test) == 30
    assert data.num_classes == 5


def test_without_targets_it_is_the_semi_supervised_setting(build, oct_root):
    data = build(oct_root, NAME, SOURCE_DOMAINS=("mixed",), NUM_SHOTS=1)
    parts = (data.train_x, data.val, data.test)
    assert {center(item) for part in (*parts, data.train_u) for item in part} == {"mixed"}
    drawn = {item.impath for item in data.train_x}
    assert not drawn & {item.impath for item in data.train_u}
    assert not patients(data.train_u) & patients(data.test)


def test_a_domain_on_both_parts_is_split_by_patient(build, oct_root):
    data = build(oct_root, NAME, SOURCE_DOMAINS=("mixed",), TARGET_DOMAINS=("mixed", "huaxi"))
    in_domain = [item for item in data.test if center(item) == "mixed"]
    assert in_domain and {item.domain for item in in_domain} == {0}
    trained = patients(data.train_x) | patients(data.train_u or []) | patients(data.val)
    assert not trained & patients(data.test)


def test_a_target_with_an_image_of_a_source_is_refused(build, oct_root):
    """A copy of an image that is trained on would be tested on."""
    source = next((oct_root / "mixed" / "images").glob("*/*.png"))
    copy = next((oct_root / "huaxi" / "images" / source.parent.name).glob("*.png"))
    copy.write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="huaxi: 1 of its .* belong to mixed"):
        build(oct_root, NAME, SOURCE_DOMAINS=("mixed",), TARGET_DOMAINS=("huaxi",))


def test_record_and_hashes(build, oct_root):
    options = {"SOURCE_DOMAINS": ("mixed",), "TARGET_DOMAINS": ("huaxi",), "NUM_SHOTS": 2}
    data = build(oct_root, NAME, **options)
    record = data.split_record
    assert str(oct_root) not in json.dumps(record)
    for part, items in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        assert [str(oct_root / row["path"]) for row in record[part]] == [d.impath for d in items]
    assert {row["domain"] for row in record["test"]} == {"huaxi"}
    assert (record["hash"], record["draw_hash"]) == (data.split_hash, data.draw_hash)
    again = build(oct_root, NAME, **options)
    assert (again.split_hash, again.draw_hash) == (data.split_hash, data.draw_hash)
    turned = build(oct_root, NAME, SOURCE_DOMAINS=("huaxi",), TARGET_DOMAINS=("mixed",))
    assert turned.split_hash != data.split_hash


def test_class_missing_in_one_source_is_fine_in_all_it_is_not(build, oct_root):
    for name in ("mixed", "huaxi"):
        for file in (oct_root / name / "images/cyst").iterdir():
            file.unlink()
        if name == "mixed":
            data = build(oct_root, NAME, SOURCE_DOMAINS=("mixed", "huaxi"))
            assert data.num_classes == 5
    with pytest.raises(UserError, match="mixed, huaxi have no images of cyst"):
        build(oct_root, NAME, SOURCE_DOMAINS=("mixed", "huaxi"))


def test_unknown_domain(build, oct_root):
    with pytest.raises(UserError, match='"moon".*mixed, huaxi, xiangya'):
        build(oct_root, NAME, SOURCE_DOMAINS=("moon",))


def test_folders_of_domains_by_config(build, oct_root):
    (oct_root / "huaxi").rename(oct_root / "renamed")
    data = build(
        oct_root, NAME, SOURCE_DOMAINS=("huaxi",), EXTERNAL_FOLDERS={"huaxi": "renamed/images"}
    )
    assert {center(item) for item in data.train_x} == {"renamed"}


def test_loaders_of_source_and_target(make_cfg, oct_root):
    cfg = make_cfg(oct_root, NAME, SOURCE_DOMAINS=("mixed", "huaxi"), TARGET_DOMAINS=("xiangya",))
    cfg.INPUT.SIZE = (8, 8)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.SAMPLER = "RandomDomainSampler"
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 8
    dm = DataManager(cfg)
    assert dm.num_source_domains == 2
    batch = next(iter(dm.train_loader_x))
    assert sorted(batch["domain"].tolist()) == [0] * 4 + [1] * 4
    assert len(next(iter(dm.train_loader_u))["label"]) == 8
