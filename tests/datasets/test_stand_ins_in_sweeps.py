"""Every data set's stand-in, in the layout of its release, through a sweep of two runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cases import DatasetCase, dataset_cases, registered

import cerviclip
from cerviclip.data.images import cache as image_cache
from cerviclip.plugins import ensure_loaded
from dassl.data.datasets import build_dataset

CASES = dataset_cases()
BARE = "Herlev"  # goes through in the bare tests too
TEST_ONLY = sorted(
    name for name in CASES if getattr(ensure_loaded("dataset", name), "test_only", False)
)
TRAINED = sorted(CASES.keys() - {BARE, *TEST_ONLY})

RUNS = "backbone: PhantomCLIP\ntrainers: [LinearProbe]\nshots: [1, 2]\nseeds: [1]\n"


def swept(root, dataset: str, options: Mapping[str, Any], external=()) -> list[dict[str, Any]]:
    """The results of two runs, which differ in their draw and in nothing else of the data."""
    file = root / "two_runs.yaml"
    file.write_text(f"datasets: [{dataset}]\n{RUNS}")
    opts = {f"DATASET.{key}": value for key, value in options.items()}
    out = root / "out"
    cerviclip.sweep(file, root=root, output_dir=out, opts=opts, external=external, echo=False)
    folders = sorted(path.parent for path in out.rglob("results.json"))
    assert len(folders) == 2 and (out / "summary.csv").is_file()
    found = [json.loads((folder / "results.json").read_text()) for folder in folders]
    for folder, results in zip(folders, found, strict=True):
        assert results["status"] == "done", results["error"]
        assert results["dataset"] == dataset
        scored = sum(center["n_images"] for center in results["centers"].values())
        with open(folder / "predictions.csv", encoding="utf-8", newline="") as lines:
            assert len(list(csv.DictReader(lines))) == scored
    assert len({results["draw_hash"] for results in found}) == 2
    assert len({results["split_hash"] for results in found}) == 1
    return found


def goes_through(case: DatasetCase, root, make_cfg) -> None:
    case.write(root)
    data = build_dataset(make_cfg(root, case.dataset, **case.options))
    for results in swept(root, case.dataset, case.options):
        test = results["centers"]["test"]
        assert list(test["per_class"]) == data.classnames
        assert test["n_images"] == len(data.test) and test["accuracy"]["value"] is not None
        assert results["split_hash"] == data.split_hash


@pytest.fixture(autouse=True)
def _no_images_kept():
    yield
    image_cache.disable()


@pytest.mark.filterwarnings("ignore::UserWarning")  # what each stand-in warns of has its own test
def test_one_stand_in_goes_through_a_sweep(make_cfg, tmp_path):
    goes_through(CASES[BARE], tmp_path, make_cfg)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TRAINED)
def test_every_stand_in_goes_through_a_sweep(make_cfg, tmp_path, name):
    goes_through(CASES[name], tmp_path, make_cfg)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TEST_ONLY)
def test_every_centre_that_is_only_tested_on_is_scored_in_a_sweep(make_cfg, tmp_path, name):
    case = CASES[name]
    case.write(tmp_path)
    images = build_dataset(make_cfg(tmp_path, name, **case.options)).test
    folder = case.options.get("FOLDER")
    own = {"EXTERNAL_FOLDERS": {name: folder}} if folder else {}
    for results in swept(tmp_path, "MixedCenterOCT", own, external=(name,)):
        center = results["centers"][name]
        assert center["n_images"] == len(images) > 0 and center["accuracy"]["value"] is not None


def test_no_data_set_is_left_out():
    assert {BARE, *TRAINED, *TEST_ONLY} == set(registered("dataset")) and TEST_ONLY
