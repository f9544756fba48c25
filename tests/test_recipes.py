"""The recipes of the five systems and their chain, run to their end on stand-ins of their data.

Stand-ins have the true layout and few images, weights are random; epochs and iterations are cut.
What is shown is that each command runs whole: every entry, shot, seed, fold and centre.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from data_fixtures import write_herlev
from datasets.test_breakhis import SLIDES, write_breakhis
from datasets.test_mendeley_lbc import write_release as write_mendeley
from datasets.test_sipakmed import write_release as write_sipakmed
from test_real_sweeps import write_oct

from cerviclip.backbones import names
from cerviclip.runs.settings.folders import find_results
from dassl.errors import cli_main
from helpers import tiny_clip_state_dict

SHORT = (
    *("TRAIN.MAX_ITERS", "2", "OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.SIZE", "(64,64)"),
)

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """``recipe(name, *flags, opts=...)``: the results of one recipe on ``tmp_path/data``."""
    import run_shell

    monkeypatch.chdir(tmp_path)

    def run(name: str, *flags: str, opts: tuple[str, ...] = SHORT) -> list[dict[str, Any]]:
        argv = ["--sweep", f"recipes/{name}", "--root", "data", "--output-dir", "out", *flags]
        assert cli_main(run_shell.main, [*argv, "--opts", *opts]) == 0
        results = [json.loads(path.read_text()) for path in find_results(tmp_path / "out")]
        assert {result["status"] for result in results} == {"done"}
        table = (tmp_path / "out" / "results.md").read_text()
        assert all(result["trainer"] in table for result in results)
        return results

    return run


def variants(results: list[dict[str, Any]]) -> Counter[str]:
    return Counter(result["variant"] for result in results)


def save_clip(path: Path, name: str = "", **sizes: int) -> str:
    """Random weights of OpenAI's architecture of this name, or of a tiny one."""
    from cerviclip.vlm.towers.clip_package import import_clip

    if not name:
        torch.save(tiny_clip_state_dict(**sizes), path)
        return str(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = import_clip().model.CLIP(*names.OPENAI_GEOMETRY[name])
    torch.save(model.half().state_dict(), path)
    return str(path)


def save_cnn(path: Path, name: str) -> str:
    import torchvision

    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
    return str(path)


def test_savlt(recipe, tmp_path):
    write_oct(tmp_path / "data", 32)
    clip = save_clip(tmp_path / "clip.pt", vision_layers=12)
    results = recipe("savlt", "--backbone", "CLIP", "--weights", clip)
    assert variants(results) == {"default": 1 + 6, "lr-5e-4": 6, "last-6": 6}
    assert all(set(r["centers"]) == {"test", "HuaxiOCT", "XiangyaOCT"} for r in results)
    assert {r["seed"] for r in results if r["shots"]} == {5, 42, 123}


# The recipe says so at its head: it splits by image, as the system did.
@pytest.mark.filterwarnings("ignore:MendeleyLBC is split by image")
def test_clivp_cervix_pools_ten_folds_of_both_modes(recipe, tmp_path):
    write_mendeley(tmp_path / "data" / "mendeley_lbc")
    clip = save_clip(tmp_path / "clip.pt")
    results = recipe("clivp_cervix", "--backbone", "CLIP", "--weights", clip)
    assert variants(results) == {"mode-0": 10, "mode-1": 10}
    images = {name: 0 for name in ("mode-0", "mode-1")}
    for result in results:
        images[result["variant"]] += result["centers"]["test"]["n_images"]
    assert images == {"mode-0": 57, "mode-1": 57}, "each image is tested once in each mode"
    rows = (tmp_path / "out" / "results.md").read_text()
    assert "10 folds" in rows and "TBD" not in rows


@pytest.mark.long
def test_pathovision_on_the_true_architectures(recipe, tmp_path):
    few = {kind: " ".join(ids.split()[-3:]) for kind, ids in SLIDES.items()}
    write_breakhis(tmp_path / "data" / "BreaKHis_v1", few, magnifications=(200,))
    for name in ("RN50", "ViT-L/14"):
        save_clip(tmp_path / names.OPENAI_FILES[name][0], name)
    save_cnn(tmp_path / "resnet50.pth", "resnet50")
    results = recipe("pathovision", "--seeds", "1", opts=SHORT[:6])
    assert variants(results) == {
        name: 1 for name in ("rn50", "vit-l-14", "logistic-regression", "mlp-head", "resnet50")
    }
    assert {len(r["centers"]["test"]["per_class"]) for r in results} == {8}
    for path in find_results(tmp_path / "out"):
        assert (path.parent / "predictions.csv").is_file()


@pytest.mark.filterwarnings("ignore:SIPaKMeD is split by image")
def test_sipakmed_efficientnet_by_cluster_and_by_image(recipe, tmp_path):
    write_sipakmed(tmp_path / "data" / "sipakmed")
    weights = save_cnn(tmp_path / "efficientnet_b0.pth", "efficientnet_b0")
    results = recipe("sipakmed_efficientnet", "--weights", weights)
    assert variants(results) == {"by-cluster": 3, "by-image": 3}


def test_deep_cervical_cancer_on_clusters(recipe, tmp_path):
    write_sipakmed(tmp_path / "data" / "sipakmed")
    results = recipe(
        "deep_cervical_cancer", "--weights", save_cnn(tmp_path / "resnet50.pth", "resnet50")
    )
    assert variants(results) == {"default": 3}
    # Of the 8 clusters of a class 60 % are 5, 20 % for val are 2; one is left for the test.
    assert {r["centers"]["test"]["n_images"] for r in results} == {5}


def test_the_triple_transfer_of_deep_cervical_cancer(tmp_path, monkeypatch):
    from cerviclip.runs import chain

    monkeypatch.chdir(tmp_path)
    write_sipakmed(tmp_path / "data" / "sipakmed")
    write_herlev(tmp_path / "data" / "herlev")
    weights = save_cnn(tmp_path / "resnet50.pth", "resnet50")
    argv = ["deep_cervical_cancer", "--root", "data", "--weights", weights, "--output-dir", "out"]
    assert cli_main(chain.main, [*argv, "--opts", *SHORT]) == 0
    stages = sorted(path.parent for path in find_results(tmp_path / "out"))
    classes = [len(json.loads((s / "task.json").read_text())["classnames"]) for s in stages]
    assert [stage.name for stage in stages] == ["1-SIPaKMeD", "2-Herlev", "3-SIPaKMeD"]
    assert classes == [5, 7, 5]
    splits = [json.loads((stage / "split.json").read_text()) for stage in stages]
    assert splits[0]["test"] == splits[2]["test"], "the last test was not trained on in stage one"
