"""Small data sets on disk in the real layouts: three OCT centres, Herlev."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from yacs.config import CfgNode

from cerviclip import plugins
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from helpers import write_images

CLASSES = (
    "cancer",
    "cyst",
    "ectropion",
    "high-grade_squamous_intraepithelial_lesion",
    "mild_inflammation",
)


def write_center(folder: Path, patients: int, frames: int, first: int = 0, classes=CLASSES) -> None:
    """``patients`` per class with ``frames`` each, under the real files' names."""
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for p in range(patients):
            number = first + 1000 * c + p
            for f in range(frames):
                file = f"M0008_2021_P{number:07d}_circle_2.5x3.0_C{f:02d}_S11.png"
                (folder / name / file).write_bytes(_png(40 * c + f, number))


@cache
def _png(grey: int, number: int) -> bytes:
    """Eight by eight pixels; the first three hold a number, so that no two files are the same."""
    stream = io.BytesIO()
    image = Image.new("L", (8, 8), grey)
    for x in range(3):
        image.putpixel((x, 0), number >> 8 * x & 255)
    image.save(stream, "png", compress_level=0)
    return stream.getvalue()


HERLEV_FOLDERS = (
    "carcinoma_in_situ",
    "light_dysplastic",
    "moderate_dysplastic",
    "normal_columnar",
    "normal_intermediate",
    "normal_superficiel",
    "severe_dysplastic",
)


def write_herlev(folder: Path) -> None:
    """The original release's layout: four slides per class, two cells each, masks beside them."""
    for c, name in enumerate(HERLEV_FOLDERS):
        (folder / name).mkdir(parents=True)
        for slide in range(4):
            for cell in range(2):
                stem = folder / name / f"{149000000 + 10 * c + slide}-14914337{c}-00{cell + 1}"
                Image.new("RGB", (8, 8), (c, slide, cell)).save(f"{stem}.BMP")
                Image.new("RGB", (8, 8)).save(f"{stem}-d.bmp")


def write_oct(root: Path) -> None:
    """The three OCT centres."""
    write_center(root / "mixed/images", patients=7, frames=3)
    write_center(root / "huaxi/images", patients=3, frames=2, first=100_000)
    write_center(root / "xiangya/images", patients=3, frames=2, first=200_000)


@pytest.fixture
def oct_root(tmp_path: Path) -> Path:
    write_oct(tmp_path)
    return tmp_path


@pytest.fixture
def make_cfg() -> Callable[..., CfgNode]:
    """``make_cfg(root, name, SPLIT_SEED=2, ...)``: a cfg for a data set, its module loaded."""

    def make(root: Path, name: str, **options) -> CfgNode:
        kind = plugins.ensure_loaded("dataset", name)
        cfg = get_cfg_default()
        if extend := plugins.extend_cfg_of(kind.__module__):
            extend(cfg)
        cfg.VERBOSE = False
        cfg.SEED = 1
        cfg.DATASET.ROOT = str(root)
        cfg.DATASET.NAME = name
        for key, value in options.items():
            if isinstance(value, dict):
                for inner, text in value.items():
                    cfg.DATASET[key][inner] = text
            else:
                cfg.DATASET[key] = value
        return cfg

    return make


@pytest.fixture
def build(make_cfg):
    """``build(root, name, **options)``: the data set itself."""
    return lambda root, name, **options: build_dataset(make_cfg(root, name, **options))


OWN_CLASSES = {"benign": 12, "malign": 12}


def part_sizes(data) -> list[int]:
    """Images in train, val and test."""
    return [len(part or []) for part in (data.train_x, data.val, data.test)]


@pytest.fixture
def folder(tmp_path):
    """A root whose folder ``mine`` holds own images of six patients in two classes."""
    write_images(tmp_path / "mine", OWN_CLASSES, patients=6, size=8)
    return tmp_path
