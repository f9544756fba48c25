"""Local, federated and pooled training side by side, on each centre's own test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.federated.leaks import sentences
from cerviclip.federated.plan import Plan
from cerviclip.federated.record import folder_of
from cerviclip.runs.predictions import Predictions, read_predictions
from cerviclip.runs.report.few import few_in
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import WAYS
from dassl.errors import UserError
from dassl.utils.files import atomic_write

METRICS = {"accuracy": ("accuracy", "%"), "macro_auc": ("macro AUC", "")}


def scores_of(
    centers: Sequence[str], out: Path, pooled: bool
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The scores of each way of training on each centre's test images.

    All ways are scored on the very same images of a centre: those of its local run's test.

    Args:
        centers: names of the centres.
        out: folder of the federation.
        pooled: whether there is a run on the images of all centres.

    Returns:
        ``{way: {centre: entry of results.json}}``.

    Raises:
        UserError: two ways do not have predictions of the same images.
    """
    from cerviclip.runs.run.testing.scoring import score_predictions

    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for center in centers:
        local = _test(folder_of(out, "local", center))
        results = read_results(folder_of(out, "local", center)) or {}
        positive = results.get("positive_classes") or []
        for way in WAYS:
            folder = folder_of(out, way, center)
            if way == "pooled" and not pooled:
                continue
            chosen = _same_images(_test(folder), local, folder)
            entry = score_predictions([chosen], local.classnames, positive, "few_patients")
            found.setdefault(way, {})[center] = entry[chosen.center]
    return found


def _test(folder: Path) -> Predictions:
    return next(p for p in read_predictions(folder) if p.center == "test")


def _same_images(given: Predictions, wanted: Predictions, folder: Path) -> Predictions:
    """The rows of ``given`` for the images of ``wanted``, in their order."""
    rows = {path: row for row, path in enumerate(given.paths)}
    missing = [path for path in wanted.paths if path not in rows]
    if missing:
        raise UserError(
            f"{folder} has no prediction of {len(missing)} of the {len(wanted)} test images of a "
            f"centre (such as {missing[0]}); pooled and local data are split in different ways"
        )
    order = [rows[path] for path in wanted.paths]
    chosen = replace(
        given,
        paths=list(wanted.paths),
        patient_ids=list(wanted.patient_ids),
        labels=np.asarray(given.labels)[order],
        probs=np.asarray(given.probs)[order],
    )
    if chosen.labels.tolist() != wanted.labels.tolist():
        raise UserError(f"{folder} labels the same test images in another way")
    return chosen


def table(plan: Plan, scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A markdown table of each metric: ways in rows, centres in columns, 95 % intervals."""
    centers = [site.name for site in plan.centers]
    blocks = []
    for key, (title, unit) in METRICS.items():
        head = [f"| {title}{', ' + unit if unit else ''} | {' | '.join(centers)} | mean |"]
        head.append("|---|" + "---:|" * (len(centers) + 1))
        for way, of_center in scores.items():
            cells = [_cell(of_center[name][key], unit) for name in centers]
            values = [of_center[name][key]["value"] for name in centers]
            whole = all(value is not None for value in values)
            mean = _number(float(np.mean(values)), unit) if whole else "–"
            head.append(f"| {way} | {' | '.join(cells)} | {mean} |")
        blocks.append("\n".join(head))
    return "\n\n".join(blocks) + "\n"


def _cell(metric: Mapping[str, Any], unit: str) -> str:
    if metric["value"] is None:
        return "–"
    low, high = metric.get("low"), metric.get("high")
    text = _number(metric["value"], unit)
    return text if low is None else f"{text} [{_number(low, unit)}, {_number(high, unit)}]"


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit else f"{value:.3f}"


def write_table(plan: Plan, out: Path, record: Mapping[str, Any]) -> Path:
    """``out/federated.md``: the table, and what has travelled."""
    centers = [site.name for site in plan.centers]
    scores = scores_of(centers, out, plan.pooled is not None)
    rounds = record["rounds"]
    parts = max((row["participants"] for row in rounds), default=0)
    mib = (record["bytes_up"] + record["bytes_down"]) / 2**20
    mu = f", mu {plan.mu:g}" if plan.mu else ""
    counted = rounds[-1]["images"] if rounds else {}
    images = ", ".join(f"{name} {count}" for name, count in counted.items())
    lines = [
        f"# {plan.trainer} across centres",
        "",
        f"{plan.backbone}, shots {plan.shots}, seed {plan.seed}; {plan.strategy}{mu}, "
        f"{len(rounds)} rounds of {parts} centres (training images: {images}). "
        f"Weights alone left a centre: {mib:.2f} MiB in all, both ways together"
        f"{', encrypted' if record['encrypted'] else ', not encrypted'}.",
        "",
        table(plan, scores),
        "Each centre's own test images; 95 % intervals by patient. `local` is trained on that "
        "centre alone.",
        "",
        *(f"Note: {text}." for text in few_in(scores[WAYS[0]])),
        *sentences(record.get("leaks")),
        "",
    ]
    path = out / "federated.md"
    with atomic_write(path) as handle:
        handle.write("\n".join(lines))
    return path
