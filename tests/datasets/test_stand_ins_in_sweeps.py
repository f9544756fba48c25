"""Every data set's stand-in, in the layout of its release, through a sweep of two runs."""

from __future__ import annotations

import csv
import json

import pytest
from cases import DatasetCase, dataset_cases

import cerviclip
from cerviclip.data.images import cache as image_cache
from cerviclip.plugins import ensure_loaded
from dassl.data.datasets import build_dataset

CASES = dataset_cases()
BARE = "Herlev"  # goes through in the bare tests too

TRAINED = "trainers: [LinearProbe]\nshots: [1, 2]\nseeds: [1]\n"


def sweep_of(case: DatasetCase, root, out):
    file = root / "two_runs.yaml"
    opts = {f"DATASET.{key}": value for key, value in case.options.items()}
    head = f"datasets: [{case.dataset}]\nbackbone: PhantomCLIP\n"
    file.write_text(head + TRAINED)
    return cerviclip.sweep(file, root=root, output_dir=out, opts=opts, external=(), echo=False)


def goes_through(case: DatasetCase, root, make_cfg) -> None:
    if getattr(ensure_loaded("dataset", case.dataset), "test_only", False):
        pytest.skip("a centre that is only tested on")
    case.write(root)
    data = build_dataset(make_cfg(root, case.dataset, **case.options))
    sweep_of(case, root, root / "out")
    folders = sorted(path.parent for path in (root / "out").rglob("results.json"))
    assert len(folders) == 2
    drawn = set()
    for folder in folders:
        results = json.loads((folder / "results.json").read_text())
        assert results["status"] == "done", results["error"]
        assert results["dataset"] == case.dataset
        test = results["centers"]["test"]
        assert list(test["per_class"]) == data.classnames
        assert test["n_images"] == len(data.test) and test["accuracy"]["value"] is not None
        with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
            assert len(list(csv.DictReader(file))) >= len(data.test)
        drawn.add(results["draw_hash"])
        assert results["split_hash"] == data.split_hash
    assert len(drawn) == 2
    assert (root / "out" / "summary.csv").is_file()


@pytest.fixture(autouse=True)
def _no_images_kept():
    yield
    image_cache.disable()


@pytest.mark.filterwarnings("ignore::UserWarning")  # what each stand-in warns of has its own test
def test_one_stand_in_goes_through_a_sweep(make_cfg, tmp_path):
    goes_through(CASES[BARE], tmp_path, make_cfg)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(CASES.keys() - {BARE}))
def test_every_stand_in_goes_through_a_sweep(make_cfg, tmp_path, name):
    goes_through(CASES[name], tmp_path, make_cfg)
