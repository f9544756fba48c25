"""What the report says of the blocks that val decides: operating points, calibration, sets, gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.evaluation.measures.thresholds.operating_points import same_threshold
from cerviclip.report.document import Document
from cerviclip.report.numbers import cell, digits_of, interval_note, size_of, title_of
from cerviclip.report.sentences.partitions import was_calibrated
from cerviclip.runs.report.groups import METRICS
from cerviclip.runs.report.prediction_figures import points_title

_SETS = (
    "lac: all classes above one threshold of the probability, the smallest sets on average; aps: "
    "the most probable classes until their sum passes a threshold; class conditional: as lac, with "
    "a threshold for each class. A set of nearly all classes says little, whatever its coverage."
)
_RATES = ("sensitivity", "specificity", "ppv", "npv")


def subgroups(document: Document, run: Mapping[str, Any]) -> None:
    """A table for each column that ``TEST.SUBGROUPS`` named."""
    for column, centers in (run.get("subgroups") or {}).items():
        rows, notes, known = [], [], {}
        for center, groups in centers.items():
            for name, entry in groups.items():
                known[f"{center} ({name})"] = entry
                binary, carried = entry["binary"], entry["points"].get("youden") or {}
                rows.append(
                    (
                        center,
                        name,
                        size_of(entry),
                        cell(entry["accuracy"]),
                        cell(binary["auc"], 3),
                        *(cell(binary[rate]) for rate in ("sensitivity", "specificity")),
                        *(cell(carried.get(rate)) for rate in ("sensitivity", "specificity")),
                    )
                )
                notes += [f"{center}, {name}: {entry['note']}."] if entry.get("note") else []
        head = ("centre", column, "images / patients", "accuracy (%)", "AUC",
                "sensitivity (%)", "specificity (%)", "Youden: sens.", "Youden: spec.")  # fmt: skip
        document.table(
            f"Subgroups by {column}; the Youden threshold is the one that val chose for everybody.",
            head, rows, "accuracy", "fairness",
            note=" ".join([interval_note(known), *notes]), labels=3,
        )  # fmt: skip


def points(document: Document, run: Mapping[str, Any]) -> None:
    for title, blocks in (("by image", run), ("by patient", run["patient_level"] or {})):
        block = blocks.get("operating_points")
        if not block:
            continue
        rows = point_rows(block)
        head = (
            "point",
            "threshold",
            "centre",
            "sensitivity (%)",
            "specificity (%)",
            "PPV (%)",
            "NPV (%)",
            "loss of sens. / spec.",
        )
        of_intervals = interval_note(run["centers"])
        notes = [
            of_intervals,
            "Loss: by how many percentage points sensitivity and specificity are lower than at the "
            "threshold that the same rule would have chosen with the centre's own labels. A "
            "negative loss means that the threshold of val did better.",
        ]
        notes += coinciding_notes(block)
        notes += [f"The choice {block['note']}."] if block.get("note") else []
        notes += [f"{block['reason']}."] if block.get("reason") else []
        document.table(
            f"Operating points {title}, chosen on val and carried unchanged.",
            head,
            rows,
            "points",
            "thresholds",
            note=" ".join(notes),
            labels=3,
        )
        document.table(
            f"PPV and NPV {title} at other prevalences, at the same operating points.",
            ("point", "centre", "prevalence (%)", "PPV (%)", "NPV (%)"),
            prevalence_rows(block),
            "points",
            "imbalance",
            note=f"{of_intervals} By Bayes' rule from the likelihood ratios of the centre.",
            labels=2,
        )
        if not rows and title == "by image":
            document.text(
                f"Operating points: none, {block.get('reason', 'nothing was chosen')}.",
                "points",
                "thresholds",
            )


def _by_threshold(block: Mapping[str, Any] | None) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The points of each threshold, with their names for a row; most often it is one point."""
    points = {n: p for n, p in ((block or {}).get("points") or {}).items() if p["centers"]}
    thresholds = {n: p.get("by_fold") or p["threshold"] for n, p in points.items()}
    return [
        (points_title(names).removesuffix(" on val"), [points[name] for name in names])
        for names in same_threshold(thresholds)
    ]


def coinciding_notes(block: Mapping[str, Any]) -> list[str]:
    """Which points have one threshold and so share their rows."""
    shared = [(names, points) for names, points in _by_threshold(block) if len(points) > 1]
    told = [
        f"{names} coincide: val gives them the same threshold, so they share their rows."
        for names, _ in shared
    ]
    several = any(
        len(_losses(points, center)) > 1 for _, points in shared for center in points[0]["centers"]
    )
    told += ["Where their losses differ, these stand in the order of the points."] * several
    return told


def point_rows(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Of each threshold and centre the rates, and what each point of that threshold loses."""
    return [
        (
            names,
            f"{points[0]['threshold']:.3f}",
            center,
            *(cell(found[rate]) for rate in _RATES),
            "; ".join(_losses(points, center)),
        )
        for names, points in _by_threshold(block)
        for center, found in points[0]["centers"].items()
    ]


def _losses(points: Sequence[Mapping[str, Any]], center: str) -> list[str]:
    """``+1.2 / −0.3`` of each point, in one line; once where all lose the same."""
    losses = [point["centers"][center]["loss"] or {} for point in points]
    found = [
        "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}".join(
            signed_loss(loss.get(key)) for key in ("sensitivity", "specificity")
        )
        for loss in losses
    ]
    return found[:1] if len(set(found)) == 1 else found


def prevalence_rows(block: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Of each threshold and centre PPV and NPV at each of ``TEST.PREVALENCES``; none where no such
    value is defined."""
    rows: list[tuple[str, ...]] = []
    for names, points in _by_threshold(block):
        for center, found in points[0]["centers"].items():
            ppv, npv = (found.get(key) or {} for key in ("ppv_at", "npv_at"))
            for share in sorted({*ppv, *npv}, key=float):
                cells = cell(ppv.get(share)), cell(npv.get(share))
                if set(cells) > {"-"} or "-" not in cells:
                    rows.append((names, center, f"{100 * float(share):g}", *cells))
    return rows


def signed_loss(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")


def calibration(document: Document, run: Mapping[str, Any]) -> None:
    rows = []
    for center, entry in ((run["calibration"] or {}).get("centers") or {}).items():
        for name, title in (
            ("before", "as predicted"),
            ("temperature", "temperature"),
            ("isotonic", "isotonic"),
        ):
            found = (entry.get(name) or {}).get("binary") or {}
            if "slope" in found:
                numbers = [
                    cell(found[key], 2) for key in ("intercept", "slope", "observed_expected")
                ]
                losses = [cell(found[key], 3) for key in ("brier", "ece")]
                rows.append((center, title, *numbers, *losses))
    head = ("centre", "probabilities", "intercept", "slope", "O/E", "Brier", "ECE")
    note = f"{interval_note(run['centers'])} Calibrated: intercept 0, slope 1, O/E 1."
    note += " Maps were fitted on val." * was_calibrated(run)
    undefined = any(row[3] == "-" for row in rows)
    note += " A dash: not defined, such as the slope of probabilities that are equal." * undefined
    document.table(
        "Calibration of the positive group's probability, by image.",
        head,
        rows,
        "calibration",
        note=note,
        labels=2,
    )


def conformal(document: Document, run: Mapping[str, Any]) -> None:
    block = run["conformal"] or {}
    rows = []
    for center, methods in (block.get("centers") or {}).items():
        for name, found in methods.items():
            if isinstance(found, Mapping) and "coverage" in found:
                rows.append(
                    (
                        center,
                        name.replace("_", " "),
                        cell(found["coverage"]),
                        cell(found["set_size"], 2),
                    )
                )
    empty = any(
        (found.get("set_size") or {}).get("value", 1) is not None
        and (found.get("set_size") or {}).get("value", 1) < 1
        for methods in (block.get("centers") or {}).values()
        for found in methods.values()
        if isinstance(found, Mapping)
    )
    told = " Fewer than one class in a set: some sets are empty, and hold no class." * empty
    document.table(
        f"Conformal prediction sets, calibrated on val for a coverage of "
        f"{100 * block.get('coverage', 0.9):g} %.",
        ("centre", "sets", "coverage (%)", "classes in a set"),
        rows,
        "conformal",
        note=f"{interval_note(run['centers'])} {_SETS}{told}",
        labels=2,
    )


def gap(document: Document, run: Mapping[str, Any]) -> None:
    block = run["generalisation_gap"] or {}
    if not block:
        document.text("No external centre was scored.", "gap", "external")
        return
    names = list(block)
    rows = [
        (title_of(metric), *(cell(block[name].get(metric), digits_of(metric)) for name in names))
        for metric in METRICS
    ]
    rows = [row for row in rows if set(row[1:]) != {"-"}]  # of a positive group, where none is set
    document.table(
        "Generalisation gap: the test part minus each external centre.",
        ("", *names),
        rows,
        "gap",
        "external",
        "heterogeneity",
        note=f"{interval_note(run['centers'])} Above 0: worse outside (for ECE: below 0).",
    )


# -- failures -----------------------------------------------------------------------------------
