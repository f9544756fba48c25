"""Sets of Cytology_Benchmark: class folders by code, its lists by choice."""

from __future__ import annotations

import hashlib

import pytest
from cases import DatasetCase
from PIL import Image
from yacs.config import CfgNode

from cerviclip.datasets.cytology_benchmark import BCFC, BMCD, BMT, FNAC2019
from dassl.data.datasets import build_dataset
from dassl.errors import MissingFileError, UserError

SETS = {kind.__name__: kind for kind in (BCFC, BMCD, BMT, FNAC2019)}


def write_set(root, name, images="images", number=6) -> None:
    """Class folders in ``<set>/images``, and lists of "path label" lines beside it.

    BMT's paths hold blanks; bone-marrow cells lie in folders of a thousand.
    """
    home = root / SETS[name].dataset_dir
    lists = {"train": [], "val": [], "test": []}
    for label, folder in enumerate(sorted(SETS[name].folders)):
        for i in range(number):
            inner = {"BMT": f"{folder}/{folder} {i}.png", "BMCD": f"{folder}/0001-1000/{i}.png"}
            path = inner.get(name, f"{folder}/{i}.png")
            file = home / images / path
            file.parent.mkdir(parents=True, exist_ok=True)
            colours = hashlib.sha256(path.encode()).digest()
            Image.frombytes("RGB", (5, 2), colours[:30]).save(file)
            lists[("train", "train", "val", "test")[i % 4]].append(f"{path} {label}")
    (home / "splits").mkdir()
    for part, lines in lists.items():
        (home / f"splits/{part}.txt").write_text("\n".join(lines) + "\n")


CASE = tuple(
    DatasetCase(name, lambda root, name=name: write_set(root, name), {"PATIENT_PATTERN": "stem"})
    for name in SETS
)


@pytest.fixture
def benchmark_set(make_cfg, tmp_path):
    def build(name, split="ratio", **options):
        cfg = make_cfg(tmp_path, name, **options)
        cfg.DATASET.CYTOLOGY_BENCHMARK = CfgNode({"SPLIT": split})
        return build_dataset(cfg)

    return build


@pytest.mark.parametrize("images", ["images", "", "bone_marrow_cell_dataset"])
def test_codes_become_names_wherever_the_folders_lie(benchmark_set, tmp_path, images):
    write_set(tmp_path, "BMCD", images)
    with pytest.warns(UserWarning, match="nothing tells whose images"):
        data = benchmark_set("BMCD")
    assert data.num_classes == 21 and "faggot cell" in data.classnames
    assert {i.classname for i in data.train_x if "/FGC/" in i.impath} == {"faggot cell"}


def test_the_benchmarks_lists_are_the_split_by_choice(benchmark_set, tmp_path):
    write_set(tmp_path, "BMT")
    data = benchmark_set("BMT", "lists", PATIENT_PATTERN="stem")
    assert [len(data.train_x), len(data.val), len(data.test)] == [12, 3, 3]
    assert data.split_record["by"] == "release" and data.classnames == ["NILM", "LSIL", "HSIL"]
    assert {i.classname for i in data.test if "/NIL/" in i.impath} == {"NILM"}


def test_lists_that_do_not_fit(benchmark_set, tmp_path):
    write_set(tmp_path, "FNAC2019")
    file = tmp_path / "fnac2019/splits/test.txt"
    lines = file.read_text()
    file.write_text("\ufeff" + lines.replace("/", "\\"))  # as Windows programs write it
    assert len(benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem").test) == 2
    file.write_text(lines + "B/0.png 0\n")
    with pytest.raises(UserError, match=r"splits lists B/0.png twice \(in train and test\)"):
        benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem")
    file.write_text(lines + "B/99.png 0\n")
    with pytest.raises(
        MissingFileError, match=r"1 of 13 images in .*splits are not .*first: B/99.png"
    ):
        benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem")
    file.write_text("")
    with pytest.raises(UserError, match="2 images .* are in no list"):
        benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem")
    file.write_text("B/2.png\n")
    with pytest.raises(UserError, match='test.txt line 1 is "B/2.png"; a line is "path label"'):
        benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem")
    file.unlink()
    with pytest.raises(MissingFileError, match="no .*test.txt.*SPLIT to ratio"):
        benchmark_set("FNAC2019", "lists", PATIENT_PATTERN="stem")


def test_a_folder_of_something_else(benchmark_set, tmp_path):
    (tmp_path / "bcfc/images/dogs").mkdir(parents=True)
    with pytest.raises(MissingFileError, match="none of the class folders of BCFC"):
        benchmark_set("BCFC")
