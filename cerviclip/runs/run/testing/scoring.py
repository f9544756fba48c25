"""The scores of a trained model on every centre: computed for results.json, and printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.centers.coarse import is_coarse
from cerviclip.evaluation.names import IN_DOMAIN, patients_known
from cerviclip.evaluation.shown import INTERVAL, cell
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.run.testing.predict import predict_items
from dassl.errors import UserError

MOST_WARNINGS = 10  # that are printed again
# What is printed of a centre that knows no classes.
GROUPS_ALONE = (
    ("binary.sensitivity", "sensitivity", 1, " %"),
    ("binary.specificity", "specificity", 1, " %"),
    ("binary.auc", "binary AUC", 3, ""),
)


def metric_of(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """``accuracy`` or ``binary.auc`` of a centre's entry."""
    node: Any = entry
    for part in name.split("."):
        node = node[part]
    return node


def collect_predictions(trainer: Any, external: Mapping[str, Sequence[Any]]) -> list[Predictions]:
    """Predictions for the in-domain test set and every external centre.

    With ``TEST.SPLIT val`` those of the val set alone: a search for settings sees nothing else.
    """
    dataset, cfg = trainer.dm.dataset, trainer.cfg
    roots = [str(cfg.DATASET.ROOT), str(getattr(dataset, "root", ""))]
    if cfg.TEST.SPLIT == "val":
        if not dataset.val:
            raise UserError(f"TEST.SPLIT is val, and {cfg.DATASET.NAME} has no val images")
        centers = {"val": dataset.val}
    else:
        centers = {IN_DOMAIN: dataset.test or [], **external}
    return [predict_items(trainer, items, name, roots) for name, items in centers.items()]


def predict_val(trainer: Any) -> Predictions | None:
    """Predictions for the val images, on which thresholds are chosen.

    None where there are none, or where they are what is tested (``TEST.SPLIT val``).
    """
    dataset, cfg = trainer.dm.dataset, trainer.cfg
    if cfg.TEST.SPLIT == "val" or not dataset.val:
        return None
    roots = [str(cfg.DATASET.ROOT), str(getattr(dataset, "root", ""))]
    return predict_items(trainer, dataset.val, "val", roots)


def measure_run(
    trainer: Any,
    val: Predictions | None,
    predictions: Sequence[Predictions],
    centers: Mapping[str, Any],
) -> dict[str, Any]:
    """The blocks of results.json that follow from predictions."""
    from cerviclip.evaluation.measures.blocks import NO_VAL
    from cerviclip.runs.measured import VAL_IS_TESTED, measure_predictions, settings_of

    dataset, cfg = trainer.dm.dataset, trainer.cfg
    positive = list(getattr(dataset, "positive_classes", []))
    reason = VAL_IS_TESTED if cfg.TEST.SPLIT == "val" else NO_VAL
    of = (positive, centers, settings_of(cfg, dataset), reason)
    return measure_predictions(val, predictions, *of)


def score_subgroups(
    trainer: Any, predictions: Sequence[Predictions], blocks: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``subgroups`` of results.json: of each column that ``TEST.SUBGROUPS`` names."""
    dataset, test = trainer.dm.dataset, trainer.cfg.TEST
    if not test.SUBGROUPS:
        return {}
    from cerviclip.runs.subgroup_scores import measure_subgroups
    from cerviclip.runs.subgroups import read_subgroups

    positive = list(getattr(dataset, "positive_classes", []))
    read = [read_subgroups(spec) for spec in test.SUBGROUPS]
    return measure_subgroups(predictions, positive, read, blocks, test.INTERVALS)


def score_centers(trainer: Any, predictions: Sequence[Predictions]) -> dict[str, Any]:
    """The ``centers`` of results.json."""
    dataset = trainer.dm.dataset
    positive = list(getattr(dataset, "positive_classes", []))
    return score_predictions(predictions, dataset.classnames, positive, trainer.cfg.TEST.INTERVALS)


def score_predictions(
    predictions: Sequence[Predictions], names: Sequence[str], positive: Sequence[str], how: str
) -> dict[str, Any]:
    """The same of predictions alone.

    Args:
        names: the classes in label order.
        positive: class names of the positive group.
        how: ``TEST.INTERVALS``.
    """
    from cerviclip.evaluation.groups_only import score_groups
    from cerviclip.evaluation.report import score

    return {
        p.center: (score_groups if is_coarse(p.labels) else score)(
            p.labels.tolist(), p.probs, p.known_patients, names, positive, how
        )
        for p in predictions
    }


def print_centers(centers: Mapping[str, Any]) -> None:
    """Upstream's result block for the test set, then one line per centre, with intervals.

    Scripts take the last ``* accuracy`` of a log, so only the test set is printed that way.
    """
    for name, entry in centers.items():
        if name == IN_DOMAIN:
            correct = sum(row[i] for i, row in enumerate(entry["confusion_matrix"]))
            accuracy, f1 = entry["accuracy"]["value"], entry["macro_f1"]["value"]
            if accuracy is None:
                continue
            print(f"=> result\n* total: {entry['n_images']:,}\n* correct: {correct:,}")
            print(f"* accuracy: {accuracy:.1f}%\n* error: {100 - accuracy:.1f}%")
            print(f"* macro_f1: {f1:.1f}%")
    print(INTERVAL)
    for name, entry in centers.items():
        known = patients_known(entry)
        patients = counted(entry["n_patients"], "patient") if known else "patients not known"
        cells = [counted(entry["n_images"], "image"), patients]
        cells += [
            f"{title} {cell(metric_of(entry, key), digits)}{unit}"
            for key, title, digits, unit in (
                ("accuracy", "accuracy", 1, " %"),
                ("macro_f1", "macro F1", 1, " %"),
                ("macro_auc", "AUC", 3, ""),
                *GROUPS_ALONE * (entry["confusion_matrix"] is None),
            )
            if metric_of(entry, key)["value"] is not None
        ]
        print(f"{name}: {', '.join(cells)}")
        if "note" in entry:
            print(f"{name}: {entry['note']}")


def print_again(warned: Sequence[str]) -> None:
    """What was warned of in the data, after the results, where it is read; they rest on it."""
    if not warned:
        return
    print(f"{counted(len(warned), 'warning')} on these data (also in results.json):")
    for text in warned[:MOST_WARNINGS]:
        print(f"- {text}")
    if len(warned) > MOST_WARNINGS:
        print(f"- and {len(warned) - MOST_WARNINGS} more")
