"""The example sweeps of docs/protocols.md, run to their end on phantoms."""

from __future__ import annotations

import json

import pytest

import run_shell
from cerviclip.places import SWEEPS
from cerviclip.runs.settings.folders import find_results
from dassl.errors import cli_main

NAMES = sorted(path.stem for path in SWEEPS.glob("protocol_*.yaml"))


def test_every_example_is_named_in_the_page_and_run_here(repo_dir):
    page = (repo_dir / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert len(NAMES) == 5
    assert all(f"--sweep {name}" in page for name in NAMES)
    assert {name.removeprefix("protocol_") for name in NAMES} == set(CHECKS)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the phantoms are rendered once."""
    return tmp_path_factory.mktemp("phantoms")


def check_folds(out, results):
    assert {r["fold"] for r in results} == {"1/2", "2/2"}
    entries = json.loads((out / "pooled.json").read_text())["pooled"]
    points = entries[0]["measures"]["operating_points"]
    assert points["chosen_on"] == "out of fold"
    assert len(points["points"]["youden"]["by_fold"]) == 2
    assert set(points["points"]["youden"]["centers"]) == {"test", "PhantomHuaxi", "PhantomXiangya"}


def check_leave_one_center(out, results):
    assert {r["left_out_center"] for r in results} == {"mixed", "huaxi", "xiangya"}
    assert "each centre left out of training once" in (out / "results.md").read_text()


def check_base_to_new(out, results):
    assert "harmonic mean of base and new" in (out / "results.md").read_text()
    by_trainer = {r["trainer"]: r for r in results}
    assert by_trainer["ZeroShotCLIP"]["centers"]["new"]["accuracy"]["value"] is not None
    assert by_trainer["LinearProbe"]["centers"]["new"]["accuracy"]["value"] is None


def check_shots(out, results):
    assert {r["variant"] for r in results} == {"balanced", "natural", "natural-missing"}
    drawn = {}
    for r in results:
        used = r["flow"]["sources"]["PhantomOCT"]["used"]["train"]["per_class"]
        drawn[r["variant"]] = sorted(count["images"] for count in used.values())
    assert drawn["balanced"] == [4] * 5
    assert sum(drawn["natural"]) == sum(drawn["natural-missing"]) == 20
    assert drawn["natural"][0] >= 1  # the phantoms' training part has each class about as often
    assert drawn["natural-missing"] != drawn["balanced"]


def check_class_map(out, results):
    for r in results:
        assert set(r["centers"]["test"]["per_class"]) == {"low_risk", "high_risk"}
        assert set(r["centers"]) == {"test", "PhantomHuaxi", "PhantomXiangya"}
        assert r["centers"]["PhantomHuaxi"]["binary"]["auc"]["low"] is not None


CHECKS = {
    "folds": (["--folds", "2", "--repeats", "1", "--trainers", "LinearProbe"], check_folds),
    "leave_one_center": (
        ["--trainers", "LinearProbe", "--seeds", "1", "--opts", "DATASET.CENTERS",
         "['mixed', 'huaxi', 'xiangya']"],
        check_leave_one_center,
    ),
    "base_to_new": (
        ["--trainers", "ZeroShotCLIP", "LinearProbe", "--seeds", "1"],
        check_base_to_new,
    ),
    "shots": (["--seeds", "1"], check_shots),
    "class_map": (["--seeds", "1", "--shots", "16"], check_class_map),
}  # fmt: skip


# A centre has 15 cysts to train on, which the sweep says.
@pytest.mark.filterwarnings("ignore:PhantomXiangya. 16 shots asked:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_the_example_runs_to_its_end(root, tmp_path, name):
    flags, check = CHECKS[name]
    places = ["--root", str(root), "--output-dir", str(tmp_path)]
    assert cli_main(run_shell.main, ["--sweep", f"protocol_{name}", *places, *flags]) == 0
    results = [json.loads(path.read_text()) for path in find_results(tmp_path)]
    assert results and {r["status"] for r in results} == {"done"}
    check(tmp_path, results)
