"""A chain of data sets: what a stage starts from, its head, and how a cut-off chain goes on."""

from __future__ import annotations

import json

import pytest
import torch

from cerviclip.runs import chain as chains
from dassl.errors import MissingFileError, UserError
from helpers import write_images

TINY = (
    *("INPUT.SIZE", "(32,32)", "MODEL.BACKBONE.PRETRAINED", "False", "USE_CUDA", "False"),
    *("TRAIN.MAX_ITERS", "2", "DATALOADER.NUM_WORKERS", "0", "TRAINER.CNNBASELINE.PREC", "fp32"),
    *("DATASET.PATIENT_PATTERN", r"(P\d{7})"),
    *("OPTIM.LR", "0.001", "TEST.FINAL_MODEL", "last_step"),
)
STAGES = {"first": "abc", "second": "pqrs", "third": "abc"}


@pytest.fixture
def chain(tmp_path):
    lines = ["backbone: torchvision:shufflenet_v2_x0_5", "stages:"]
    for seed, (name, classes) in enumerate(STAGES.items()):
        write_images(tmp_path / name, dict.fromkeys(classes, 8), patients=8, seed=seed)
        lines.append(f"  - {{dataset: FolderDataset, root: {tmp_path / name}}}")
    (tmp_path / "three.yaml").write_text("\n".join(lines))
    return chains.read_chain(tmp_path / "three.yaml")


def run(chain, out):
    return chains.run_chain(chain, out, opts=TINY)


def kill_in(patch, stage, epoch):
    """Die, as by a kill, before ``epoch`` (from 0) of a stage, or before the stage is scored."""
    from cerviclip.runs.run.runner import Run
    from dassl.engine import TrainerX

    def at(method, condition):
        def dying(self, *args):
            if condition(self):
                raise KeyboardInterrupt
            return method(self, *args)

        return dying

    def here(trainer):
        return trainer.cfg.OUTPUT_DIR.endswith(stage) and trainer.epoch == epoch

    if epoch is None:
        patch.setattr(Run, "score", at(Run.score, lambda r: r.cfg.OUTPUT_DIR.endswith(stage)))
    else:
        patch.setattr(TrainerX, "run_epoch", at(TrainerX.run_epoch, here))


def test_a_stage_starts_at_the_former_ones_weights_with_a_new_head(chain, tmp_path, monkeypatch):
    from dassl.engine import TrainerX

    started, epoch = [], TrainerX.run_epoch

    def noting(self):
        if self.epoch == 0:
            started.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return epoch(self)

    monkeypatch.setattr(TrainerX, "run_epoch", noting)
    folders = run(chain, tmp_path / "out")
    assert [len(state["fc.bias"]) for state in started] == [3, 4, 3]
    for before, start in zip(folders, started[1:], strict=False):
        end = torch.load(before / "model" / "model.pth.tar-2", weights_only=False)["state_dict"]
        assert all(torch.equal(end[k], start[k]) for k in end if not k.startswith("fc."))
        assert not torch.equal(end["fc.weight"][:3], start["fc.weight"][:3])
    results = [json.loads((folder / "results.json").read_text()) for folder in folders]
    assert [r["status"] for r in results] == ["done"] * 3

    started.clear()  # all is there: nothing is trained again
    assert run(chain, tmp_path / "out") == folders and not started


def test_a_seed_of_the_command_has_a_folder_of_its_own(chain, tmp_path, monkeypatch):
    made = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        chains, "run_chain", lambda chain, out, **_: made.append((chain, out)) or []
    )
    for flags in ([], ["--seed", "2"], ["--seed", "2", "--output-dir", "mine"]):
        assert chains.main([str(tmp_path / "three.yaml"), *flags]) == 0
    assert [c.seed for c, _ in made] == [1, 2, 2]
    named = [out.as_posix().removeprefix("./") for _, out in made]
    assert named == ["output/chains/three", "output/chains/three/seed_2", "mine"]


def test_ctrl_c_says_how_many_stages_stay(chain, tmp_path, monkeypatch):
    kill_in(monkeypatch, "2-FolderDataset", 0)
    with pytest.raises(KeyboardInterrupt, match=r"1 of 3 stages finished and stay; the same comm"):
        run(chain, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, epoch",
    [
        ("1-FolderDataset", None),
        ("2-FolderDataset", 0),
        ("2-FolderDataset", 1),
        ("3-FolderDataset", 1),
    ],
)
def test_a_killed_chain_goes_on_to_the_same_numbers(chain, tmp_path, monkeypatch, stage, epoch):
    whole = run(chain, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_in(patch, stage, epoch)
        with pytest.raises(KeyboardInterrupt):
            run(chain, tmp_path / "out")
    for one, other in zip(whole, run(chain, tmp_path / "out"), strict=True):
        one, other = (json.loads((f / "results.json").read_text()) for f in (one, other))
        assert one["centers"] == other["centers"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("stages: [Herlev]\nbackbone: x", "two data sets or more"),
        ("stages: [Herlev, SIPaKMeD]", "no 'backbone'"),
        ("backbone: x\nstages: [Herlev, {data: y}]", "'dataset: NAME'"),
        ("backbone: x\nstagse: [Herlev]", "did you mean 'stages'"),
        ("backbone: x\nseed: one\nstages: [Herlev, SIPaKMeD]", "'seed' in chain.*'one'"),
    ],
)
def test_a_faulty_chain_is_refused(tmp_path, text, message):
    (tmp_path / "chain.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        chains.read_chain(tmp_path / "chain.yaml")


@pytest.mark.parametrize(
    "opts, key",
    [
        ("{DATASET.SPLIT_RATIO: [0.5, 0.2, 0.3]}", "DATASET.SPLIT_RATIO"),
        ("{DATASET.SPLIT_BY: image}", "DATASET.SPLIT_BY"),
    ],
)
def test_a_return_to_a_data_set_with_another_split_is_refused(tmp_path, opts, key):
    write_images(tmp_path / "data", dict.fromkeys("abc", 8), patients=8)
    stage = f"dataset: FolderDataset, root: {tmp_path / 'data'}"
    (tmp_path / "back.yaml").write_text(
        "backbone: torchvision:shufflenet_v2_x0_5\n"
        f"stages: [{{{stage}}}, {{{stage}, opts: {opts}}}]"
    )
    back = chains.read_chain(tmp_path / "back.yaml")
    with pytest.raises(UserError, match=f"stages 1 and 2 split FolderDataset .*{key}"):
        run(back, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "refused before the first stage is trained"


def cfg_of(dataset, root, external=(), folders=None, **data):
    from dassl.config import CfgNode, get_cfg_default

    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT = dataset, str(root)
    cfg.TEST.EXTERNAL, cfg.DATASET.EXTERNAL_FOLDERS = list(external), CfgNode(folders or {})
    for key, value in data.items():
        cfg.DATASET[key] = value
    return cfg


def test_a_centre_that_an_earlier_stage_trains_on_is_refused(tmp_path):
    of = chains.Chain("c", "b", "full", 1, ())
    first = cfg_of("Herlev", tmp_path, SPLIT_RATIO=(0.6, 0.2, 0.2))
    with pytest.raises(UserError, match="stage 2 is tested on Herlev, which stage 1 .*SPLIT_RATIO"):
        chains.check_centers(of, [first, cfg_of("SIPaKMeD", tmp_path, ["Herlev"])])
    told = cfg_of("Herlev", tmp_path, PATIENT_PATTERN=r"(\d+)-")  # other patients, another split
    with pytest.raises(UserError, match="PATIENT_PATTERN"):
        chains.check_centers(of, [told, cfg_of("SIPaKMeD", tmp_path, ["Herlev"])])
    chains.check_centers(of, [cfg_of("Herlev", tmp_path), cfg_of("SIPaKMeD", tmp_path, ["Herlev"])])
    chains.check_centers(of, [cfg_of("SIPaKMeD", tmp_path, ["Herlev"]), first])  # tested before
    first = cfg_of("FolderDataset", tmp_path, FOLDER="cells")
    for folder in ("cells", "cells/../cells", str(tmp_path / "cells" / "part")):
        other = cfg_of("SIPaKMeD", tmp_path, folders={"far": folder})
        with pytest.raises(UserError, match="the centre far of stage 2 lies where stage 1 trains"):
            chains.check_centers(of, [first, other])
    chains.check_centers(of, [first, cfg_of("SIPaKMeD", tmp_path, folders={"far": "others"})])


def test_an_unknown_chain_is_refused_with_the_known_ones():
    with pytest.raises(MissingFileError, match="deep_cervical_cancer"):
        chains.find_chain("no-such-chain")


def test_every_chain_of_ours_is_read():
    for path in chains.CHAINS.glob("*.yaml"):
        assert len(chains.read_chain(path).stages) >= 2


def test_one_title_for_stages_of_two_data_sets_is_refused(tmp_path):
    (tmp_path / "two.yaml").write_text(
        "backbone: torchvision:shufflenet_v2_x0_5\nstages: [SIPaKMeD, Herlev]"
    )
    two = chains.read_chain(tmp_path / "two.yaml")
    with pytest.raises(UserError, match="'A' would name two data sets, SIPaKMeD and Herlev"):
        chains.run_chain(two, tmp_path / "out", opts=("DATASET.TITLE", "A"))
    assert not (tmp_path / "out").exists()
