"""``flow``: the numbers add up, say why images are not used, and count planted leaks."""

import shutil

import pytest

from cerviclip.data.centers.external import build_external_datasets
from cerviclip.data.flow import NO_PATIENTS, NOT_LOOKED, flow_of
from dassl.data.datasets import DatasetBase, Datum, build_dataset


def flow(make_cfg, root, external=(), **options):
    cfg = make_cfg(root, "MixedCenterOCT", **options)
    cfg.TEST.EXTERNAL = list(external)
    dataset = build_dataset(cfg)
    return flow_of(dataset, build_external_datasets(cfg, dataset)), dataset


def adds_up(source):
    parts = sum(part["images"] for part in source["parts"].values())
    assert source["seen"]["images"] == sum(e["images"] for e in source["excluded"]) + parts
    for name, part in source["parts"].items():
        assert part["images"] == source["used"][name]["images"] + source["not_drawn"][name]
        assert part["images"] == sum(c["images"] for c in part["per_class"].values())


def test_numbers_add_up_from_seen_to_used(oct_root, make_cfg):
    images = sorted((oct_root / "mixed" / "images").rglob("*.png"))
    (images[0].parent / "scan.dcm").write_bytes(b"not read")
    name = images[0].name
    with pytest.warns(UserWarning, match="scan|dcm"):
        external = ["HuaxiOCT", "XiangyaOCT"]
        found, dataset = flow(make_cfg, oct_root, external, LEAVE_OUT=[f"*{name}"], NUM_SHOTS=2)
    assert list(found["sources"]) == ["MixedCenterOCT", "HuaxiOCT", "XiangyaOCT"]
    for source in found["sources"].values():
        adds_up(source)
    home = found["sources"]["MixedCenterOCT"]
    assert home["seen"]["images"] == len(images) + 1
    reasons = {entry["reason"]: entry["images"] for entry in home["excluded"]}
    assert reasons == {"left out by DATASET.LEAVE_OUT": 1, ".dcm files are not read": 1}
    assert home["used"]["train"]["images"] == len(dataset.train_x) == 10
    assert home["seen"]["patients"] == len({i.patient for i in dataset.images_read})
    leaks = found["leaks"]
    assert leaks["patients_in_two_parts"] == leaks["images_in_two_parts"] == {"count": 0}
    none = {"images_of_training": 0, "shared_patient_ids": 0}
    assert leaks["centers"] == {"HuaxiOCT": none, "XiangyaOCT": none}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_planted_leaks_are_counted(oct_root, make_cfg):
    cfg = make_cfg(oct_root, "MixedCenterOCT", SPLIT_BY="image")
    clean = build_dataset(cfg)
    train, test = clean.train_x[0], clean.test[0]
    assert train.label is not None
    record = {"train": [train], "test": [test]}
    path = oct_root / "mixed" / "images"
    copy = path / test.classname / test.impath.rsplit("/", 1)[1].replace("_S", "_S9")
    shutil.copy(train.impath, copy)
    rows = [f"{d.impath},{d.classname},{part}" for part, ds in record.items() for d in ds]
    rows += [f"{copy},{test.classname},test"]
    given = oct_root / "split.csv"
    given.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    found, dataset = flow(make_cfg, oct_root, SPLIT_BY="image", SPLIT_FILE=str(given))
    source = found["sources"]["MixedCenterOCT"]
    adds_up(source)
    assert [e["reason"] for e in source["excluded"]] == ["in no part of the split"]
    assert found["leaks"]["copies_in_two_parts"] == {"count": 1}
    assert any("trained on" in text for text in dataset.warnings)


def test_a_foreign_data_set_says_what_it_does_not_know(tmp_path):
    for name in "abc":
        (tmp_path / name).touch()
    a, b, c = (Datum(str(tmp_path / n), i % 2, 0, "xy"[i % 2]) for i, n in enumerate("abc"))
    found = flow_of(DatasetBase(train_x=[a, b], val=[a], test=[c]), {})
    source = found["sources"]["DatasetBase"]
    adds_up(source)
    assert source["seen"] == {"images": 4, "patients": None}
    assert found["leaks"]["images_in_two_parts"] == {"count": 1}
    assert found["leaks"]["patients_in_two_parts"] == {"count": None, "reason": NO_PATIENTS}
    assert found["leaks"]["copies_in_two_parts"] == {"count": None, "reason": NOT_LOOKED}
