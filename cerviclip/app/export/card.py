"""The model card of an export: the sections of Mitchell et al., FAT* 2019, arXiv:1810.03993."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cerviclip.engine.task import Task
from cerviclip.evaluation.measures.thresholds.operating_points import same_threshold
from cerviclip.evaluation.names import patients_known
from cerviclip.runs.study_title import shown_name

_SHOWN = (
    ("accuracy", "accuracy, %"),
    ("balanced_accuracy", "balanced accuracy, %"),
    ("macro_f1", "macro F1, %"),
    ("macro_auc", "macro AUC"),
    ("ece", "ECE"),
)


def model_card(record: Mapping[str, Any], task: Task) -> str:
    """Markdown."""
    results = record["results"]
    positive = ", ".join(task.positive) or "none"
    name = shown_name(task.dataset, [results])
    lines = [
        f"# Model card: {record['trainer']} on {name}",
        "",
        "**Research use only. Not a medical device.**",
        "",
        "## Model details",
        "",
        f"- Method: {record['trainer']}; backbone: {record['backbone']}",
        f"- Backbone's weights (sha256): {results.get('weights_sha256') or 'not recorded'}",
        f"- Exported weights (sha256): {record['model_sha256']}",
        f"- Shots: {results.get('shots')}; seed: {results.get('seed')}; "
        f"settings: {results.get('config_hash')}",
        f"- Input: one RGB image; classes: {', '.join(task.classnames)}",
        "",
        "## Intended use",
        "",
        "Research on few-shot adaptation. It is not for diagnosis, screening or triage.",
        "",
        "## Factors",
        "",
        "Centre, device and staining change results: compare the centres below.",
        "",
        "## Metrics",
        "",
        "Each value has its 95 % interval by patient.",
        f"The positive group is: {positive}.",
        "",
        *_metrics(results),
        "",
        "## Evaluation data",
        "",
        *(
            f"- {name}: {entry['n_images']} images, {patients_said(entry)}"
            for name, entry in results.get("centers", {}).items()
        ),
        "",
        "## Training data",
        "",
        f"{name}, {results.get('shots')} shots; split {results.get('split_hash')}, "
        f"draw {results.get('draw_hash')}.",
        "",
        "## Quantitative analyses",
        "",
        *_points(results),
        "",
        "## Ethical considerations",
        "",
        "A wrong answer can delay treatment. No patient may be treated by these answers. Paths of "
        "training images stand in `train_features.safetensors`; look whether they tell patients "
        "before you give the folder away.",
        "",
        "## Caveats and limits",
        "",
        "- The model answers for every image, also for one that is no cervical image.",
        "- The out-of-distribution score is a hint and no proof.",
        "- Thresholds, temperature and prediction sets were fitted on the val images of one data "
        "set. Elsewhere their promises need not hold.",
    ]
    return "\n".join(lines) + "\n"


def _metrics(results: Mapping[str, Any]) -> list[str]:
    rows = ["| centre | " + " | ".join(title for _, title in _SHOWN) + " |"]
    rows.append("|---" * (len(_SHOWN) + 1) + "|")
    for name, entry in results.get("centers", {}).items():
        rows.append(f"| {name} | " + " | ".join(said(entry.get(k)) for k, _ in _SHOWN) + " |")
    return rows


def _points(results: Mapping[str, Any]) -> list[str]:
    block = results.get("operating_points") or {}
    rows = ["| threshold of home | centre | sensitivity, % | specificity, % |", "|---" * 4 + "|"]
    points = block.get("points", {})
    known = {name: point["threshold"] for name, point in points.items()}
    thresholds = {name: value for name, value in known.items() if value is not None}
    for names, threshold in same_threshold(thresholds).items():
        rows += [
            f"| {', '.join(names)}: {threshold:.4f} | {center} | "
            f"{said(entry.get('sensitivity'))} | {said(entry.get('specificity'))} |"
            for center, entry in points[names[0]]["centers"].items()
        ]
    return rows if len(rows) > 2 else ["No operating points: " + block.get("reason", "none set")]


def patients_said(entry: Mapping[str, Any]) -> str:
    """The number of a center's patients, where its images have ids."""
    return f"{entry['n_patients']} patients" if patients_known(entry) else "patients not known"


def said(number: Mapping[str, Any] | None, to: str = "to") -> str:
    """``65.4 (60.1 to 70.2)``, with another word for "to"; a dash for what is undefined."""
    if not number or number.get("value") is None:
        return "–"
    digits = 1 if abs(number["value"]) > 1 else 3
    text = f"{number['value']:.{digits}f}"
    if number.get("low") is None:
        return text
    return f"{text} ({number['low']:.{digits}f} {to} {number['high']:.{digits}f})"
