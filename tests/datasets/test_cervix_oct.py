"""The three OCT centres in the real layout, and their yaml files."""

from __future__ import annotations

import pytest
from cases import DatasetCase
from data_fixtures import write_oct

from cerviclip.data.centers.external import build_external_datasets
from dassl.config import merge_file
from dassl.data.datasets import build_dataset

CASE = (
    DatasetCase("MixedCenterOCT", write_oct),
    DatasetCase("HuaxiOCT", write_oct),
    DatasetCase("XiangyaOCT", write_oct),
    DatasetCase(
        "CervixOCTDomains",
        write_oct,
        {"SOURCE_DOMAINS": ("mixed", "huaxi"), "TARGET_DOMAINS": ("xiangya",)},
    ),
)


def test_mixed_gives_three_parts_and_centers_are_test_only(build, oct_root):
    mixed = build(oct_root, "MixedCenterOCT")
    assert mixed.train_x and mixed.val and mixed.test
    for name in ("HuaxiOCT", "XiangyaOCT"):
        center = build(oct_root, name, NUM_SHOTS=4)
        assert center.train_x == [] and len(center.test) == 30
        assert center.lab2cname == mixed.lab2cname


def test_positive_are_cancer_and_hsil(build, oct_root):
    data = build(oct_root, "XiangyaOCT")
    assert data.positive_classes == ["cancer", "high-grade_squamous_intraepithelial_lesion"]


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("MixedCenterOCT", "mixed", "mixed-center_OCT_images"),
        ("HuaxiOCT", "huaxi", "tiff_huaxi_modified_frame"),
        ("XiangyaOCT", "xiangya", "tiff_xiangya_frame_update"),
    ],
)
def test_folder_names_of_the_original_code_are_found(build, oct_root, name, here, there):
    before = build(oct_root, name)
    (oct_root / here / "images").rename(oct_root / there)
    (oct_root / here).rmdir()
    after = build(oct_root, name)
    assert len(after.test) == len(before.test) and after.split_hash == before.split_hash


def test_yaml_scores_both_external_centers(make_cfg, oct_root, repo_dir):
    cfg = make_cfg(oct_root, "MixedCenterOCT")
    merge_file(cfg, repo_dir / "configs/datasets/mixed_center_oct.yaml")
    data = build_dataset(cfg)
    assert data.descriptions[cfg.DATASET.PROMPT_SET]
    assert set(build_external_datasets(cfg, data)) == {"HuaxiOCT", "XiangyaOCT"}
