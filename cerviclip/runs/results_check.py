"""Whether a results.json can be what it says: its shape, and numbers that follow from each other.

A hand that changed an accuracy has seldom changed the confusion matrix beside it. Every reader of
results goes through this check; what only predictions can show is left to ``cerviclip audit``.
Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cerviclip.data.split.folds import parse_fold
from cerviclip.runs.results_shape import BLOCKS, WHOLE
from cerviclip.shapes import Misshapen, Shape
from dassl.errors import UserError

STATES = ("done", "failed")
_TOLERANCE = 1e-6  # percent; sums in another order move the last digits
WAY_OUT = "it is damaged or was edited: take the file as the run wrote it, or make the run again"


def why_no_results(results: Mapping[str, Any], consistent: bool = True) -> str:
    """What is wrong with results of the newest schema; "" if nothing shows.

    Args:
        results: as `results_json.upgrade` gives them.
        consistent: also look whether the numbers of a centre follow from each other.
    """
    try:
        WHOLE(results, "")
        if results["status"] not in STATES:
            raise Misshapen(f"status is {results['status']!r}, not {' or '.join(STATES)}")
        if isinstance(results["shots"], str) and results["shots"] != "full":
            raise Misshapen(f"shots is {results['shots']!r}, not a number or full")
        parse_fold(results["fold"])
        if consistent:
            check_centers(results["centers"], "centers", results)
    except (Misshapen, UserError) as error:
        return str(error)
    return ""


def check_centers(centers: Mapping[str, Any], where: str, results: Mapping[str, Any]) -> None:
    """`check_center` of each of several entries; ``results`` tell the positive group."""
    for center, entry in centers.items():
        check_center(entry, f"{where}.{center}", results.get("positive_classes") or ())


def check_blocks(results: Mapping[str, Any], source: object, shape: Shape = BLOCKS) -> None:
    """The same of what follows from predictions, for those who show it.

    Args:
        results: of ``read_results``.
        source: the file, for the message.
        shape: that of the blocks which are read.

    Raises:
        UserError: a block is not of its shape.
    """
    try:
        shape(results, "")
        if shape is not BLOCKS:
            return
        of_patients = (results.get("patient_level") or {}).get("centers") or {}
        check_centers(of_patients, "patient_level.centers", results)
    except Misshapen as error:
        raise UserError(f"{source}: {error}; {WAY_OUT}") from error


def check_center(entry: Mapping[str, Any], where: str, positive: Sequence[str] = ()) -> None:
    """A centre's entry, of the right shape: its values against its own confusion matrix.

    Args:
        entry: as ``evaluation.report.score`` makes it.
        where: its place, for the message.
        positive: class names of the positive group.

    Raises:
        Misshapen: with the place at fault.
    """
    n_images, n_patients = entry.get("n_images"), entry.get("n_patients", 0)
    if n_images is not None and n_patients > n_images:
        raise Misshapen(f"{where} has {n_images} images of {n_patients} patients")
    matrix = entry.get("confusion_matrix")
    if not matrix:
        return
    classes = list(entry.get("per_class") or range(len(matrix)))
    if any(len(row) != len(matrix) for row in matrix) or len(classes) != len(matrix):
        raise Misshapen(f"{where}.confusion_matrix is not of {len(classes)} x {len(classes)}")
    total = sum(map(sum, matrix))
    if n_images is not None and total != n_images:
        raise Misshapen(f"{where} has {n_images} images, and {total} in its confusion_matrix")
    for name, said, counted in _counted(entry, matrix, classes, positive):
        if said is None or counted is None:
            continue
        if not math.isclose(said, counted, rel_tol=0, abs_tol=_TOLERANCE):
            raise Misshapen(f"{where}.{name} is {said}, and its confusion_matrix gives {counted:g}")


def _counted(
    entry: Mapping[str, Any], matrix: list[list[int]], classes: list[Any], positive: Sequence[str]
) -> Iterator[tuple[str, Any, float | None]]:
    """Place, what is said, and what the matrix gives, in percent (``support`` in images)."""
    hits = [row[i] for i, row in enumerate(matrix)]
    rows, columns = list(map(sum, matrix)), list(map(sum, zip(*matrix, strict=True)))
    yield "accuracy", _value(entry, "accuracy"), _percent(sum(hits), sum(rows))
    recalls = [100 * hit / of for hit, of in zip(hits, rows, strict=True) if of]
    balanced = sum(recalls) / len(recalls) if recalls else None
    yield "balanced_accuracy", _value(entry, "balanced_accuracy"), balanced
    for i, name in enumerate(classes):
        own = (entry.get("per_class") or {}).get(name) or {}
        yield f"per_class.{name}.support", own.get("support"), rows[i]
        yield f"per_class.{name}.recall", _value(own, "recall"), _percent(hits[i], rows[i])
        found = _percent(hits[i], columns[i])
        yield f"per_class.{name}.precision", _value(own, "precision"), found
    group = [i for i, name in enumerate(classes) if name in positive]
    rest = [i for i in range(len(classes)) if i not in group]
    if not group or not rest:
        return
    caught = sum(matrix[i][j] for i in group for j in group)
    spared = sum(matrix[i][j] for i in rest for j in rest)
    binary = entry.get("binary") or {}
    of = {
        "sensitivity": (caught, sum(rows[i] for i in group)),
        "specificity": (spared, sum(rows[i] for i in rest)),
        "ppv": (caught, sum(columns[i] for i in group)),
        "npv": (spared, sum(columns[i] for i in rest)),
        "accuracy": (caught + spared, sum(rows)),
    }
    for name, (part, whole) in of.items():
        yield f"binary.{name}", _value(binary, name), _percent(part, whole)


def _value(entry: Mapping[str, Any], name: str) -> Any:
    return (entry.get(name) or {}).get("value")


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
