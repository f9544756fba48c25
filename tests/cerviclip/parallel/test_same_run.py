"""A run in two processes of torchrun is the run of one process: its losses, scores and files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import trainer_cases
from safetensors.torch import save_file

from helpers import tiny_clip_state_dict, write_images

TESTS = Path(__file__).parents[2]
CLASSES = ("red", "green", "blue")

#: Dropout is drawn by each process for its images: without it the runs are the same.
NO_DROPOUT = {
    "CLIPLoRA": ("TRAINER.CLIPLORA.DROPOUT", 0.0),
    "SAVLT": ("TRAINER.SAVLT.LORA.DROPOUT", 0.0, "TRAINER.SAVLT.TEXT_LORA.DROPOUT", 0.0),
    "DAPD": ("TRAINER.DAPD.LORA.DROPOUT", 0.0),
    "ClipMLP": ("TRAINER.CLIPMLP.DROPOUT", 0.0),
    "CLIVP": ("TRAINER.CLIVP.DROPOUT", 0.0),
}
#: Runs besides one of each trainer: title -> trainer, options.
MORE = {
    # Norms over few values make rounding grow from step to step, so the steps are small.
    "batch norm": (
        "CNNBaseline",
        ("MODEL.BACKBONE.NAME", "torchvision:resnet18", "OPTIM.NAME", "sgd", "OPTIM.LR", 1e-5),
    ),
    "stored views": ("CLIPLoRA", ("INPUT.FEATURE_VIEWS", 2, "TRAIN.MAX_ITERS", 4)),
    "chosen on val": ("CoOp", ("TEST.FINAL_MODEL", "best_val", "DATASET.NUM_SHOTS", 3)),
    "by image": ("CoOp", ("DATALOADER.DRAW_BY", "image", "DATALOADER.NUM_WORKERS", 1)),
    "plain images": ("FullFineTune", ("INPUT.TRANSFORMS", "('normalize',)")),
}


def sharing() -> dict[str, tuple]:
    """Title -> trainer, options: a run of each trainer that processes can share, and `MORE`."""
    from cerviclip import plugins

    found = {}
    for name, case in trainer_cases().items():
        if name == "CNNBaseline":  # of SqueezeNet, which has dropout: "batch norm" stands for it
            continue
        if plugins.ensure_loaded("trainer", name).many_processes and not case.second_name_of:
            found[name] = (name, case.opts)
    return found | MORE


class Runs:
    """Two folders of the same runs, by one process and by two."""

    def __init__(self, root: Path) -> None:
        self.root = root
        save_file(tiny_clip_state_dict(), root / "clip.safetensors")
        write_images(root / "data" / "cells", {name: 12 for name in CLASSES}, patients=6)
        write_images(root / "data" / "far", {"red": 3, "green": 2}, patients=2, seed=3)
        (root / "empty.yaml").touch()
        self.descriptions = root / "texts.json"
        self.descriptions.write_text(
            json.dumps({"one": {name: [f"a {name} cell", f"{name}!"] for name in CLASSES}})
        )

    def argv(self, title: str, processes: int) -> list[str]:
        trainer, opts = sharing()[title]
        case = trainer_cases()[trainer]
        weights = ["--weights", str(self.root / "clip.safetensors")]
        pairs = {
            "DATASET.FOLDER": "cells",
            "DATASET.PATIENT_PATTERN": r"(P\d{7})",
            "DATASET.EXTERNAL_FOLDERS": "{'Far': 'far'}",
            "DATALOADER.NUM_WORKERS": 0,
            "DATALOADER.TRAIN_X.BATCH_SIZE": 5,  # three images here and two there
            "DATALOADER.TEST.BATCH_SIZE": 4,
            "OPTIM.MAX_EPOCH": 2,
            "OPTIM.LR": 0.002,
            "TRAIN.PRINT_FREQ": 1,
            "INPUT.TRANSFORMS": "('random_resized_crop','random_flip','normalize')",
        }
        if trainer == "BiomedCoOp":
            pairs["DATASET.DESCRIPTIONS"] = self.descriptions
        for some in (case.opts, NO_DROPOUT.get(trainer, ()), opts):
            pairs |= dict(zip(some[::2], some[1::2], strict=True))
        return [
            *("--trainer", trainer, "--dataset", "FolderDataset", "--root", f"{self.root}/data"),
            *("--config-file", f"{self.root}/empty.yaml", "--backbone", case.backbone),
            *(weights if case.backbone == "CLIP" else ()),
            *("--shots", str(case.shots), "--seed", "1"),
            *("--output-dir", str(self.folder(title, processes))),
            *(str(word) for pair in pairs.items() for word in pair),
        ]

    def folder(self, title: str, processes: int) -> Path:
        return self.root / f"out{processes}" / title.replace(" ", "_")

    def make(self, titles: list[str], processes: int) -> list:
        """Run them all; the outcome of each."""
        jobs = self.root / f"jobs{processes}.json"
        jobs.write_text(json.dumps([self.argv(title, processes) for title in titles]))
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start += ["--nproc_per_node", str(processes)]
        env = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
        env |= {"CERVICLIP_CACHE": str(self.root / f"cache{processes}"), "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*start, str(TESTS / "group_worker.py"), str(jobs)],
            env=env,
            cwd=TESTS.parent,
            timeout=1200,
            check=True,
        )
        outcomes = [json.loads(Path(f"{jobs}.{rank}").read_text()) for rank in range(processes)]
        assert all(outcome == outcomes[0] for outcome in outcomes)
        return outcomes[0]

    def results(self, title: str, processes: int) -> dict:
        return json.loads((self.folder(title, processes) / "results.json").read_text())

    def rows(self, title: str, processes: int, file: str) -> list[dict]:
        with open(self.folder(title, processes) / file, newline="") as handle:
            return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    made = Runs(tmp_path_factory.mktemp("group"))
    for processes in (1, 2):
        outcomes = made.make(list(sharing()), processes)
        assert outcomes == [None] * len(sharing())
    return made


def images(rows: list[dict]) -> list[tuple[str, ...]]:
    """What was scored, and where, in the order of the file."""
    return [(row["center"], row["path"], row["patient_id"], row["label"]) for row in rows]


def numbers(rows: list[dict], prefix: str = "") -> np.ndarray:
    return np.array([[float(v) for k, v in row.items() if k.startswith(prefix)] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("title", sharing())
def test_two_processes_make_the_run_of_one(runs, title):
    one, two = (runs.rows(title, n, "history.csv") for n in (1, 2))
    assert [list(row) for row in one] == [list(row) for row in two]
    if title != "ZeroShotCLIP":
        np.testing.assert_allclose(numbers(two), numbers(one), rtol=1e-4, atol=1e-4)
    for file in ("predictions.csv", "val_predictions.csv"):
        one, two = (runs.rows(title, n, file) for n in (1, 2))
        assert images(one) == images(two)
        # Rounding of two epochs: the losses are held to 1e-4 above.
        np.testing.assert_allclose(numbers(two, "p_"), numbers(one, "p_"), atol=3e-4)
    one, two = (runs.results(title, n) for n in (1, 2))
    assert two["runtime"].pop("processes") == 2 and "processes" not in one["runtime"]
    for key in ("config_hash", "split_hash", "draw_hash", "weights_sha256", "search", "flow"):
        assert one[key] == two[key], key
    assert one.keys() == two.keys() and list(one["centers"]) == list(two["centers"])
    files = [{p.name for p in runs.folder(title, n).iterdir()} for n in (1, 2)]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_run_goes_on_in_any_number_of_processes(runs, monkeypatch):
    """What two processes began, two or one go on with from its second epoch."""
    opts = ("OPTIM.MAX_EPOCH", 4, "TRAIN.CHECKPOINT_FREQ", 1)
    titles = {f"resumed {n}": ("CoOp", opts) for n in ("whole", "by two", "by one")}
    monkeypatch.setattr(sys.modules[__name__], "MORE", MORE | titles)
    whole = "resumed whole"
    assert runs.make([whole], 2) == [None]
    for title, processes in (("resumed by two", 2), ("resumed by one", 1)):
        folder = runs.folder(title, processes)
        shutil.copytree(runs.folder(whole, 2), folder)
        for file in ("results.json", "predictions.csv", "history.csv"):
            (folder / file).unlink()
        model = folder / "prompt_learner"
        for epoch in (3, 4):
            (model / f"model.pth.tar-{epoch}").unlink()
        (model / "checkpoint").write_text("model.pth.tar-2\n")
        assert runs.make([title], processes) == [None]
        assert "will resume training" in " ".join(
            file.read_text() for file in folder.glob("log.txt*")
        )
        for file in ("history.csv", "predictions.csv"):
            wanted, got = runs.rows(whole, 2, file), runs.rows(title, processes, file)
            prefix = "p_" if file == "predictions.csv" else ""
            np.testing.assert_allclose(
                numbers(got, prefix), numbers(wanted, prefix), rtol=1e-5, atol=1e-5
            )
            assert processes == 1 or got == wanted, "to the last digit"


@pytest.mark.slow
def test_two_processes_evaluate_a_saved_run(runs):
    """``torchrun train.py --eval-only``: the scores of the run, each image once, one folder."""
    out = runs.root / "evaluated"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    flags = ["--eval-only", "--model-dir", str(runs.folder("CoOp", 1)), "--output-dir", str(out)]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, str(TESTS.parent / "train.py"), *flags],
        env=env | {"CERVICLIP_CACHE": str(runs.root / "cache_evaluated")},
        cwd=runs.root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["runtime"]["processes"] == 2
    with open(out / "predictions.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    wanted = runs.rows("CoOp", 1, "predictions.csv")
    assert images(rows) == images(wanted)
    np.testing.assert_allclose(numbers(rows, "p_"), numbers(wanted, "p_"), atol=1e-6)
    assert not (runs.folder("CoOp", 1) / "eval").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "extra", "said"),
    [
        (
            "LinearProbe",
            (),
            "error: torchrun has started 2 processes, and LinearProbe works",
        ),
        ("CoOp", ("DATALOADER.TRAIN_X.BATCH_SIZE", "1"), "error: a batch of 1 images"),
    ],
)
def test_torchrun_ends_with_the_error_in_one_line(tmp_path, trainer, extra, said):
    made = Runs(tmp_path)
    argv = made.argv("CoOp", 2)
    argv[1] = trainer
    if trainer != "CoOp":
        own = {i + n for i, word in enumerate(argv) if word.startswith("TRAINER.") for n in (0, 1)}
        argv = [word for i, word in enumerate(argv) if i not in own]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, "2", str(TESTS.parent / "train.py"), *argv, *extra],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode != 0 and len(lines) == 1 and lines[0].startswith(said), done.stderr
    assert not (made.folder("CoOp", 2) / "results.json").exists()
