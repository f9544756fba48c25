"""Every trainer of the project: a run is loaded where neither its images nor its data set are."""

from __future__ import annotations

import ast
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import SAMPLE, trainer_cases

from cerviclip.plugins import discover
from cerviclip.runs.run.process.summation_order import VARIABLE
from helpers import write_images

CLASSES = ("red", "green", "blue")
TRAINERS = sorted(
    name
    for name, entry in discover()["trainer"].items()
    if Path(entry.source).parent.name == "trainers"
)
PARAMS = [
    name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in TRAINERS
]
OF_ONE = {
    "CNNBaseline": ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False"),
    "CoOp": ("TRAINER.COOP.CSC", "True", "OPTIM.MAX_EPOCH", "2"),
}

# Run in a process of its own: loads each run and predicts the images twice, as files and from
# memory; what it must not have done is checked before it ends.
SCRIPT = """
import json, sys
from pathlib import Path
from PIL import Image
from cerviclip.runs.run.load import load_run
runs, images, out = json.loads(sys.argv[1]), sys.argv[2:-1], sys.argv[-1]
answers = {}
for name, folder in runs.items():
    cfg, task, trainer = load_run(folder)
    pixels = [Image.open(path) for path in images]
    answers[name] = {
        "classes": task.classnames,
        "files": trainer.predict_images(images).tolist(),
        "memory": trainer.predict_images(pixels).tolist(),
        "one": trainer.predict_images(images[:1]).tolist(),
        "transductive": getattr(trainer, "transductive", False),
        "mode": any(m.training for m in trainer._models.values()),
    }
assert not any(name.startswith("cerviclip.datasets.") for name in sys.modules), "data set imported"
Path(out).write_text(json.dumps(answers))
"""


def test_there_are_trainers_to_load():
    assert {"ZeroShotCLIP", "LinearProbe", "TipAdapter", "TipAdapterF", "CoOp"} <= set(TRAINERS)
    assert {"CLIPLoRA", "SAVLT", "CNNBaseline"} <= set(TRAINERS)


@pytest.fixture(scope="module")
def loaded(request, tmp_path_factory, clip_file):
    """Runs of the trainers asked for, what another process predicts with them, its store."""
    import train

    root = tmp_path_factory.mktemp("load")
    write_images(root / "data" / "cells", {name: 12 for name in CLASSES}, patients=6)
    (root / "empty.yaml").touch()
    runs = {}
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == request.path and "loaded" in item.fixturenames
    }
    for name in sorted(asked):
        shots = "2" if discover()["trainer"][name].needs_training else "0"
        backbone = trainer_cases()[name].backbone
        file = ["--weights", str(clip_file)] if backbone == "CLIP" else []
        words = [
            *("--trainer", name, "--dataset", "FolderDataset", "--root", str(root / "data")),
            *("--config-file", str(root / "empty.yaml"), "--backbone", backbone, *file),
            *("--shots", shots, "--seed", "1", "--output-dir", str(root / "runs" / name)),
            *("DATASET.FOLDER", "cells", "DATASET.PATIENT_PATTERN", r"(P\d{7})"),
            *("DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
            *(*map(str, trainer_cases()[name].opts), "OPTIM.MAX_EPOCH", "1"),
            *("TRAIN.MAX_ITERS", "3", *OF_ONE.get(name, ())),
        ]
        assert train.main(words) == 0
        runs[name] = root / "runs" / name
    rows = {name: rows_of(folder) for name, folder in runs.items()}
    paths = list(next(iter(rows.values())))
    (root / "elsewhere").mkdir()
    copies = [root / "elsewhere" / f"{i}_{Path(path).name}" for i, path in enumerate(paths)]
    for path, copy in zip(paths, copies, strict=True):
        shutil.copy(root / "data" / path, copy)
    shutil.rmtree(root / "data")
    out, store = root / "answers.json", root / "store"
    words = [json.dumps({n: str(f) for n, f in runs.items()}), *map(str, copies), str(out)]
    without_order = {k: v for k, v in os.environ.items() if k != VARIABLE}  # load_run sets it
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        check=True,
        env={**without_order, "CERVICLIP_CACHE": str(store)},
        cwd=root / "elsewhere",
    )
    answers = json.loads(out.read_text())
    wanted = {name: np.array([of[path] for path in paths]) for name, of in rows.items()}
    return answers, wanted, store, copies


def rows_of(folder: Path) -> dict[str, list[float]]:
    """Path -> probabilities of the test images in predictions.csv."""
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["center"] == "test"]
    return {row["path"]: [float(v) for k, v in row.items() if k[:2] == "p_"] for row in rows}


@pytest.mark.parametrize("name", PARAMS)
def test_predictions_are_those_of_the_run(loaded, name):
    answers, wanted, _, _ = loaded
    assert answers[name]["classes"] == sorted(CLASSES)
    assert not answers[name]["mode"]
    np.testing.assert_allclose(answers[name]["files"], wanted[name], rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers[name]["memory"], wanted[name], rtol=0, atol=1e-6)
    if not answers[name]["transductive"]:  # else an answer depends on the other images
        np.testing.assert_allclose(answers[name]["one"], wanted[name][:1], rtol=0, atol=1e-6)
    assert np.ptp(wanted[name], axis=0).max() > 1e-4  # else any model would pass


@pytest.mark.parametrize("name", ["LinearProbe"])
def test_nothing_goes_to_the_store(loaded, name):
    _, _, store, _ = loaded
    assert not list(store.rglob("*")) if store.exists() else True


def names_that_build(source: str, function: str) -> set[str]:
    """Attributes of ``self`` that a class's ``function`` names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            found |= {
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute)
                and isinstance(inner.value, ast.Name)
                and inner.value.id == "self"
            }
    return found


SEEN = {"dm", "train_loader_x", "train_loader_u", "train_loader", "val_loader", "test_loader"}
SEEN |= {"split_features", "make_loader"}


@pytest.mark.parametrize("name", TRAINERS)
def test_build_model_names_no_data(name):
    source = Path(discover()["trainer"][name].source).read_text(encoding="utf-8")
    for function in ("build_model", "build_head", "build_texts"):
        assert not names_that_build(source, function) & SEEN


def test_the_check_sees_data_in_build_model():
    planted = "class A:\n    def build_model(self):\n        len(self.dm.dataset.train_x)\n"
    assert names_that_build(planted, "build_model") & SEEN
