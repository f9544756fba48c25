"""A tiny honest folder of runs, made by the functions that real runs are written with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cerviclip.counted import counted
from cerviclip.data.split.patient_grouped import PARTS, Item, split_hash
from cerviclip.data.split.repeated import draw_hash_of
from cerviclip.evaluation.measures import Settings
from cerviclip.evaluation.report import score
from cerviclip.runs.measured import measure_predictions
from cerviclip.runs.predictions import Predictions, write_predictions
from cerviclip.runs.report.formats import summary, to_csv, to_json, to_markdown
from cerviclip.runs.report.groups import METRICS, group_runs, load_runs
from cerviclip.runs.report.tables import build_tables
from cerviclip.runs.results_json import read_results, write_results
from cerviclip.runs.run.run_files import results_record
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.sweep.about import about_lines
from dassl.config import get_cfg_default

CLASSES = ["normal", "lesion"]
DATASET, TRAINER = "AuditSet", "Method"
VERSIONS = {"cerviclip": "1.0", "torch": "2.9"}
PATIENTS = {"train": range(0, 6), "val": range(6, 12), "test": range(12, 24)}


def write_honest(root: Path, seeds: Iterable[int] = (1, 2, 3)) -> Path:
    """``root/data`` with images and ``root/output`` with one run for each seed; the latter."""
    for part in PARTS:
        for item in whole_split()[part]:
            path = root / "data" / "set" / item.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"a picture of {item.patient}".encode())
    for seed in seeds:
        write_run(root, seed)
    write_tables(root / "output")
    return root / "output"


def whole_split() -> dict[str, list[Item]]:
    """A patient with an image in each class in turn."""
    return {
        part: [
            Item(f"{CLASSES[n % 2]}/{n:03d}.png", n % 2, CLASSES[n % 2], f"P{n:03d}")
            for n in numbers
        ]
        for part, numbers in PATIENTS.items()
    }


def write_run(root: Path, seed: int, trainer: str = TRAINER) -> Path:
    """A run of two shots whose model is chance."""
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.TRAINER.NAME, cfg.SEED = DATASET, trainer, seed
    cfg.DATASET.NUM_SHOTS, cfg.DATASET.ROOT = 2, str(root / "data")
    key = RunKey.of(cfg)
    folder = key.folder(root / "output")
    folder.mkdir(parents=True)
    whole = whole_split()
    hashed = split_hash(DATASET, "1", whole)
    first = seed % 2  # which of the patients are drawn
    drawn = whole | {"train": whole["train"][2 * first : 2 * first + 4]}
    record = split_record(hashed, drawn, seed)
    (folder / "split.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text(cfg.dump())
    task = {"version": 1, "dataset": DATASET, "classnames": CLASSES, "positive": ["lesion"]}
    (folder / "task.json").write_text(json.dumps(task))
    rng = np.random.default_rng(seed)
    test, val = (_predictions(part, drawn[part], rng) for part in ("test", "val"))
    write_predictions(folder, [test], CLASSES)
    write_predictions(folder, [val], CLASSES, "val_predictions.csv")
    dataset = SimpleNamespace(
        split_hash=hashed, draw_hash=record["draw_hash"], positive_classes=["lesion"]
    )
    centers = {"test": scored(test)}
    results = results_record(
        key, cfg, status="done", centers=centers,
        trainer=SimpleNamespace(dm=SimpleNamespace(dataset=dataset)),
        blocks=measure_predictions(val, [test], ["lesion"], centers, Settings()),
        runtime={"versions": VERSIONS, "data_root": str(root / "data")},
    )  # fmt: skip
    write_results(folder, results)
    return folder


def scored(p: Predictions) -> dict[str, Any]:
    return score(p.labels.tolist(), p.probs, p.known_patients, CLASSES, ["lesion"])


def split_record(hashed: str, drawn: dict[str, list[Item]], seed: int) -> dict[str, Any]:
    rows = {
        part: [{"path": f"set/{i.path}", "label": i.label, "patient": i.patient} for i in items]
        for part, items in drawn.items()
    }
    facts = {"dataset": DATASET, "by": "patient", "version": "1", "shots": 2, "draw_seed": seed}
    hashes = {"hash": hashed, "draw_hash": draw_hash_of(hashed, drawn)}
    return {**facts, **hashes, "classes": CLASSES, **rows}


def _predictions(part: str, items: Sequence[Item], rng: np.random.Generator) -> Predictions:
    labels = np.array([item.label for item in items])
    lesion = np.clip(0.25 * labels + 0.75 * rng.random(len(items)), 0.01, 0.99)
    return Predictions(
        center=part,
        paths=[f"set/{item.path}" for item in items],
        patient_ids=[item.patient for item in items],
        labels=labels,
        probs=np.stack([1 - lesion, lesion], axis=1),
        classnames=tuple(CLASSES),
    )


def write_tables(output: Path) -> None:
    """summary.json, summary.csv and results.md as a sweep writes them."""
    runs = load_runs(output)
    groups = group_runs(runs)
    (output / "summary.json").write_text(to_json(summary(groups, runs)))
    (output / "summary.csv").write_text(to_csv(groups))
    tables = [to_markdown(t) for metric in METRICS for t in build_tables(groups, metric)]
    backbones = ", ".join(dict.fromkeys(group.backbone for group in groups)) or "none"
    count = counted(sum(len(group.runs) for group in groups), "run")
    head = ["# Sweep", "", f"{count}; backbones: {backbones}.", "", *about_lines(groups), ""]
    (output / "results.md").write_text("\n".join([*head, *tables]))


def run_folder(output: Path, seed: int) -> Path:
    return output / DATASET / TRAINER / "none" / "default" / "shots_2" / f"seed_{seed}"


def edit_json(path: Path, change: Any) -> None:
    """Change a JSON file in place; results.json too, as somebody with an editor does."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old}: the fraud would not be planted"
    path.write_text(text.replace(old, new, 1))


def results_of(folder: Path) -> dict[str, Any]:
    results = read_results(folder)
    assert results is not None
    return results
