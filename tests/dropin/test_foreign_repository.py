"""A repository written for Dassl 0.6.3 runs as it is: train, resume, evaluate, its log lines.

``repo/`` beside this file is copied to a temporary folder and run from there by its own
``train.py`` in processes of their own, with this project's root on ``PYTHONPATH``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import write_images

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMMON = (
    "--root data --seed 1 --dataset-config-file configs/datasets/toy.yaml "
    "--config-file configs/trainers/vit_ep3.yaml"
).split()
# Trainer -> folders of the models it registers.
TRAINERS = {
    "CoCoOp": ["prompt_learner"],
    "MaPLe": ["MultiModalPromptLearner"],
    "PromptSRCToy": ["VLPromptLearner"],
    "ProGrad": ["prompt_learner"],
    "PLOT": ["prompt_learner"],
    "CLIP_Adapter": ["clip_adapter"],
    "TwoModels": ["adapter", "residual"],
    "PromptKD": ["VPT_image_trans"],
    "OwnEpoch": ["clip_adapter"],
    "OwnTrain": ["clip_adapter"],
    "OnSimpleTrainer": ["model"],
    "OnTrainerXU": ["clip_adapter"],
}
DOMAINS = [
    "DATASET.NAME",
    "ToyDomains",
    "DATASET.SOURCE_DOMAINS",
    "['source']",
    "DATASET.TARGET_DOMAINS",
    "['target']",
]
EPOCH_LINE = re.compile(
    r"epoch \[(\d+)/3\] batch \[(\d+)/4\] time \d+\.\d{3} \(\d+\.\d{3}\) "
    r"data \d+\.\d{3} \(\d+\.\d{3}\) (.*) lr (\d\.\d{4}e[-+]\d\d) eta \d+:\d\d:\d\d"
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign") / "repo"
    shutil.copytree(HERE / "repo", folder, ignore=shutil.ignore_patterns("__pycache__"))
    classes = {"alpha_cell": 16, "beta cell": 16, "delta": 16, "gamma": 16}
    write_images(folder / "data" / "toy" / "images", classes)
    return folder


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def train_py(repo, *arguments, code=0):
    """Run the repository's own train.py in a process of its own."""
    command = [sys.executable, "train.py", *COMMON, *arguments]
    result = subprocess.run(command, cwd=repo, env=environment(), capture_output=True, text=True)
    assert result.returncode == code, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


# Runs many command lines in one process, each through train.py as __main__, to save the seconds
# that importing torch takes; the output of each goes to its own file.
DRIVER = """
import contextlib, json, runpy, sys, traceback
sys.path.insert(0, "")
for name, argv in json.load(open("plan.json")):
    sys.argv = ["train.py", *argv]
    console = sys.stdout
    with open(f"{name}.out", "w") as file, contextlib.redirect_stdout(file):
        try:
            runpy.run_path("train.py", run_name="__main__")
        except BaseException:
            traceback.print_exc(file=file)
    sys.stdout = console
"""


@pytest.fixture(scope="module")
def outputs(repo):
    """Printed output of training and of --eval-only of each trainer."""
    shots = ["DATASET.NUM_SHOTS", "4"]
    plan = []
    for trainer in TRAINERS:
        data = DOMAINS if trainer == "OnTrainerXU" else shots
        common = [*COMMON, "--trainer", trainer]
        out = f"output/{trainer}"
        plan.append((f"{trainer}-train", [*common, "--output-dir", out, *data]))
        evaluate = ["--eval-only", "--model-dir", out, "--load-epoch", "3"]
        plan.append((f"{trainer}-eval", [*common, *evaluate, "--output-dir", f"{out}-e", *data]))
    zero_shot = [*COMMON, "--trainer", "ZeroshotCLIP", "--eval-only", "--output-dir", "output/zs"]
    plan.append(("ZeroshotCLIP-eval", [*zero_shot, *shots]))
    run_plan(repo, plan)
    return {name: (repo / f"{name}.out").read_text() for name, _ in plan}


def run_plan(repo, plan):
    (repo / "plan.json").write_text(json.dumps(plan))
    (repo / "driver.py").write_text(DRIVER)
    subprocess.run([sys.executable, "driver.py"], cwd=repo, env=environment(), check=True)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_trains_and_saves(repo, outputs, trainer):
    out = outputs[f"{trainer}-train"]
    assert "Traceback" not in out, out[-4000:]
    assert "Finish training" in out and re.search(r"^Elapsed: 0:\d\d:\d\d$", out, re.M)
    assert re.search(r"^\* accuracy: \d+\.\d%$", out, re.M)
    for name in TRAINERS[trainer]:
        folder = repo / "output" / trainer / name
        assert (folder / "checkpoint").read_text() == "model.pth.tar-3\n"
        checkpoint = torch.load(folder / "model.pth.tar-3", weights_only=True)
        assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(checkpoint)
        assert checkpoint["epoch"] == 3
    log = (repo / "output" / trainer / "log.txt").read_text()
    assert "* accuracy" in log and "** Config **" in log


@pytest.mark.parametrize("trainer", TRAINERS)
def test_learnable_weights_changed(repo, outputs, trainer):
    folder = repo / "output" / trainer / TRAINERS[trainer][0]
    first = torch.load(folder / "model.pth.tar-1", weights_only=True)["state_dict"]
    last = torch.load(folder / "model.pth.tar-3", weights_only=True)["state_dict"]
    assert any(not torch.equal(first[key], last[key]) for key in first)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_eval_only_repeats_the_runs_own_accuracy(outputs, trainer):
    trained, evaluated = outputs[f"{trainer}-train"], outputs[f"{trainer}-eval"]
    assert "Traceback" not in evaluated, evaluated[-4000:]
    assert results(evaluated) == results(trained)
    assert "epoch [1/3]" not in evaluated
    assert re.search(r"\(epoch ?= ?3", evaluated)


def results(output):
    """Lines of the last evaluation."""
    return re.findall(r"^\* .*$", output.rsplit("=> result", 1)[1], re.M)


def test_zero_shot_needs_no_model(outputs):
    out = outputs["ZeroshotCLIP-eval"]
    assert "Traceback" not in out, out[-4000:]
    assert "load_model() is skipped" in out
    assert results(out)[0] == "* total: 16"


def test_prograd_prints_both_losses_and_own_loops_their_lines(outputs):
    assert "xe_loss" in outputs["ProGrad-train"] and "kl_loss" in outputs["ProGrad-train"]
    assert "own epoch [3/3]" in outputs["OwnEpoch-train"]
    assert "(own loop)" in outputs["PromptKD-train"]
    assert (
        "eval() of the model's own\nEvaluate on the *test* set" in outputs["OnSimpleTrainer-eval"]
    )
    assert "Using GPA model" in outputs["PromptSRCToy-train"]


# CoOp, each step in a process of its own ---------------------------------------------------------

COOP = ["--trainer", "CoOp"]
SHOTS = ["DATASET.NUM_SHOTS", "4"]


@pytest.fixture(scope="module")
def coop(repo, outputs):
    """After ``outputs``, which left a few-shot file: drawing it takes random numbers."""
    return train_py(repo, *COOP, "--output-dir", "output/coop", *SHOTS)


def test_log_lines_that_scripts_parse(repo, coop):
    rows = EPOCH_LINE.findall(coop)
    assert [(int(e), int(b)) for e, b, _, _ in rows] == [
        (e, b) for e in (1, 2, 3) for b in (1, 2, 3, 4)
    ]
    assert re.fullmatch(r"loss \d+\.\d{4} \(\d+\.\d{4}\) acc .*", rows[0][2])
    # Constant warm-up, then cosine from 0.02 over 3 epochs; the last batch shows the stepped rate.
    assert [rate for _, _, _, rate in rows] == (
        ["1.0000e-05"] * 3 + ["2.0000e-02"] * 4 + ["1.5000e-02"] * 4 + ["5.0000e-03"]
    )
    for line in (
        r"\*+\n\*\* Config \*\*\n\*+\nDATALOADER:\n",
        r"Loading trainer: CoOp\nLoading dataset: ToyCells\n",
        r"=> result\n\* total: 16\n\* correct: \d+\n\* accuracy: \d+\.\d%\n\* error: \d+\.\d%\n"
        r"\* macro_f1: \d+\.\d%\nElapsed: 0:\d\d:\d\d",
        r"Dataset +ToyCells\n# classes +4\n# train_x +16\n# val +16\n# test +16\n",
        r"Evaluate on the \*test\* set",
        r"Checkpoint saved to output/coop/prompt_learner/model.pth.tar-3",
        r"Finish training\nDeploy the last-epoch model",
    ):
        assert re.search(line, coop), line
    assert (repo / "output/coop/log.txt").read_text() in coop


def losses(output):
    """Epoch, batch, losses and learning rate of each line, without the times."""
    return EPOCH_LINE.findall(output)


def kill_after(repo, epoch):
    """A folder as a run leaves it that is killed after an epoch."""
    whole = repo / "output/coop/prompt_learner"
    half = repo / f"output/half{epoch}" / "prompt_learner"
    half.mkdir(parents=True)
    for done in range(1, epoch + 1):
        shutil.copy(whole / f"model.pth.tar-{done}", half)
    (half / "checkpoint").write_text(f"model.pth.tar-{epoch}\n")
    return f"output/half{epoch}"


def check_resumed(repo, coop, out, folder, epoch):
    assert losses(out) == [row for row in losses(coop) if int(row[0]) > epoch]
    assert results(out) == results(coop)
    left = torch.load(repo / "output/coop/prompt_learner/model.pth.tar-3", weights_only=True)
    right = torch.load(repo / folder / "prompt_learner/model.pth.tar-3", weights_only=True)
    for key, value in left["state_dict"].items():
        assert torch.equal(value, right["state_dict"][key])


def test_killed_and_resumed_in_a_fresh_process_ends_with_the_same_numbers(repo, coop):
    options = ["--resume", kill_after(repo, 1), "--output-dir", "output/resumed1"]
    resumed = train_py(repo, *COOP, *options, *SHOTS)
    check_resumed(repo, coop, resumed, "output/resumed1", 1)


def test_eval_only_in_a_fresh_process(repo, coop):
    evaluate = ["--eval-only", "--model-dir", "output/coop", "--load-epoch", "3"]
    out = train_py(repo, *COOP, *evaluate, "--output-dir", "output/coop-eval", *SHOTS)
    assert "epoch = 3" in out and results(out) == results(coop)


VARIANTS = {
    "fp16": ["TRAINER.COOP.PREC", "fp16", "OPTIM.LR", "0.002"],
    "amp": ["TRAINER.COOP.PREC", "amp"],
    "csc": ["TRAINER.COOP.CSC", "True"],
    "init": ["TRAINER.COOP.CTX_INIT", "a_photo_of_a"],
    "base": ["DATASET.SUBSAMPLE_CLASSES", "base"],
    "new": ["DATASET.SUBSAMPLE_CLASSES", "new"],
    "best": ["TEST.FINAL_MODEL", "best_val"],
    "cmat": ["TEST.COMPUTE_CMAT", "True", "TEST.PER_CLASS_RESULT", "True"],
    "big": ["DATALOADER.TRAIN_X.BATCH_SIZE", "100"],
    "adam": ["OPTIM.NAME", "adam", "OPTIM.LR_SCHEDULER", "single_step"],
    "noshots": ["DATASET.NUM_SHOTS", "-1"],
    "notest": ["TEST.NO_TEST", "True"],
    "same": [],
    "resumed2": ["RESUME", "output/half2"],
    "nan": ["OPTIM.LR", "1e30", "OPTIM.WARMUP_EPOCH", "0"],
    "absent": ["--eval-only", "--model-dir", "output/coop", "--load-epoch", "9"],
}


@pytest.fixture(scope="module")
def variants(repo, coop):
    plan = [
        (
            f"coop-{name}",
            [*COMMON, *COOP, "--output-dir", f"output/coop-{name}", *arguments(opts)],
        )
        for name, opts in VARIANTS.items()
    ]
    kill_after(repo, 2)
    run_plan(repo, plan)
    return {name: (repo / f"coop-{name}.out").read_text() for name in VARIANTS}


def arguments(opts):
    return [*opts, *SHOTS] if opts and opts[0].startswith("--") else [*SHOTS, *opts]


@pytest.mark.parametrize("name", [n for n in VARIANTS if n not in ("nan", "absent")])
def test_usual_options(repo, variants, name):
    out = variants[name]
    assert "Traceback" not in out, out[-4000:]
    assert "Finish training" in out
    assert ("* accuracy" in out) == (name != "notest")


def test_same_seed_same_numbers(coop, variants):
    assert losses(variants["same"]) == losses(coop) != []
    assert results(variants["same"]) == results(coop)


def test_killed_after_the_second_epoch(repo, coop, variants):
    check_resumed(repo, coop, variants["resumed2"], "output/coop-resumed2", 2)


def test_absent_epoch_is_a_file_not_found_error(variants):
    assert 'FileNotFoundError: Model not found at "output/coop/' in variants["absent"]


def test_what_options_do(repo, variants):
    assert re.search(r"# classes +2\n", variants["base"]) and "BASE CLASSES" in variants["base"]
    assert re.search(r"# classes +2\n", variants["new"])
    assert "batch [1/1]" in variants["big"]  # 16 images, batches of 100: the partial one is kept
    assert re.search(r"# train_x +32\n", variants["noshots"])
    assert 'Initial context: "a photo of a"' in variants["init"]
    assert "Deploy the model with the best val performance" in variants["best"]
    assert (repo / "output/coop-best/prompt_learner/model-best.pth.tar").is_file()
    assert "=> per-class result\n* class: 0 (alpha_cell)\ttotal: 4\t" in variants["cmat"]
    assert torch.load(repo / "output/coop-cmat/cmat.pt").shape == (4, 4)
    half = torch.load(repo / "output/coop-fp16/prompt_learner/model.pth.tar-3")
    assert half["state_dict"]["ctx"].dtype == torch.float16
    csc = torch.load(repo / "output/coop-csc/prompt_learner/model.pth.tar-3")
    assert csc["state_dict"]["ctx"].shape[0] == 4


def test_nan_loss_stops_with_advice_and_a_last_good_state(repo, variants):
    out = variants["nan"]
    assert "FloatingPointError: Loss is infinite or NaN!" in out
    assert re.search(r"epoch 1, batch \d, lr 1\.0000e\+30", out) and "OPTIM.LR" in out
    saved = repo / "output/coop-nan/prompt_learner/model-last-good.pth.tar"
    weights = torch.load(saved, weights_only=True)["state_dict"]["ctx"]
    assert torch.isfinite(weights).all()


def test_parse_results_as_upstreams_script_does(repo, coop):
    """Upstream's parse_test_res.py: the number behind "* accuracy:" after "Finish training"."""
    found, good = [], False
    for line in (repo / "output/coop/log.txt").read_text().splitlines():
        if line == "Finish training":
            good = True
        match = re.search(r"\* accuracy: ([\.\deE+-]+)%", line)
        if match and good:
            found.append(float(match.group(1)))
    assert len(found) == 1 and 0 <= found[0] <= 100
