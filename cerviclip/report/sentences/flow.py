"""Where the images and patients of the run in detail went: figure, counts, and leaks looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import VAL
from cerviclip.report.cards import without_root
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import count
from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.sentences.partitions import UNLABELLED, home_part
from cerviclip.report.study import Part
from cerviclip.runs.report.flow_figure import flow_figure
from cerviclip.runs.settings.folders import safe_part

_UNLABELLED = (
    "Unlabelled: kept without labels for methods that learn from such images; other methods never "
    "read them."
)
_AMONG = "The unlabelled images are among them."
_LEAKS = {
    "images_in_two_parts": "images in two parts of the split",
    "patients_in_two_parts": "patients in two parts of the split",
    "copies_in_two_parts": "images that lie in two parts as copies of each other",
    "images_of_training": "images of the training's data set, copies included",
    "shared_patient_ids": "patient ids that the training's data set has too",
}


def data_flow(document: Document, part: Part, figures: Path) -> None:
    """The section of one data set; the figure is written to a folder."""
    document.heading(f"Data flow of {part.name}", "flow", level=2)
    flow = part.flow
    if not flow:
        document.text(
            "The runs were made before flow was kept: " + blank("flow of patients and images"),
            "flow",
        )
        return
    path = figures / f"{safe_part(part.dataset)}_flow.png"
    flow_figure(flow).savefig(path)
    document.figure(
        "Flow of images; patients are in brackets behind the images of each class. Drawn: the "
        f"shots of the run shown in detail (seed {part.run['seed']}).",
        path,
        "flow",
    )
    rows, head = _count_rows(flow["sources"])
    document.table(
        "Images (patients) by source, part and class, as used in the run shown in detail.",
        head,
        rows,
        "flow",
        "numbers",
        "external",
        note=_flow_note(part, rows),
        labels=2,
    )
    excluded = [
        (name, entry["reason"], count(entry))
        for name, source in flow["sources"].items()
        for entry in source["excluded"]
    ]
    if excluded:
        document.table(
            "Images (patients) that were seen and in no part above with their labels.",
            ("source", "reason", "images"),
            excluded,
            "flow",
            "exclusions",
            note=_AMONG * any(row[1] == UNLABELLED for row in rows),
            labels=2,
        )
    else:
        document.text(
            "Every image that was found is in a part of the split or in an external centre."
            f"{_not_drawn(part.name, flow)}",
            "flow",
            "exclusions",
        )
    document.table(
        "Leaks looked for before training.",
        ("where", "what", "found"),
        leak_rows(part.name, flow),
        "flow",
        "level",
        labels=2,
    )
    if part.run["warnings"]:
        document.text("Warnings about these data:", "flow")
        told = [without_root(text, part.run) for text in part.run["warnings"]]
        document.bullets(told, "flow")


def _not_drawn(name: str, flow: Mapping[str, Any]) -> str:
    """How many images of a part the run in detail did not use; "" where it used all."""
    numbers = (flow["sources"].get(name) or {}).get("not_drawn") or {}
    told = [f"{number:,} of {part}" for part, number in numbers.items() if number]
    return f" Not drawn, so not used as labelled images: {', '.join(told)}." if told else ""


def _flow_note(part: Part, rows: Sequence[Sequence[str]]) -> str:
    """Which of the images in the rows the run did not use, or not as other images of the part."""
    told = [_UNLABELLED] if any(row[1] == UNLABELLED for row in rows) else []
    if home_part(part.run) == VAL:
        told.append("The run was scored on val alone; no test image was scored.")
    return " ".join(told)


def _count_rows(sources: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    classes = list(
        dict.fromkeys(
            c for s in sources.values() for p in s["used"].values() for c in p["per_class"]
        )
    )
    shown = classes if len(classes) <= 7 else []
    rows = [
        (name, part, count(used), *(count(used["per_class"].get(c)) for c in shown))
        for name, source in sources.items()
        for part, used in source["used"].items()
        if used["images"]
    ]
    return rows, ("source", "part", "all", *map(plain_name, shown))


def leak_rows(dataset: str, flow: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each leak that was looked for, and how often it was found, or that this is not known.

    Older runs have a 0 for patients whom nobody knows.
    """
    leaks, sources = flow["leaks"], flow["sources"]
    rows = []
    for key, title in _LEAKS.items():
        if key in leaks:
            found = leaks[key]
            rows.append((dataset, title, _found(found["count"], found.get("reason"))))
    unknown = [name for name in sources if sources[name]["seen"].get("patients") is None]
    training = [name for name in sources if sources[name]["role"] == "training"]
    for center, found in leaks["centers"].items():
        nameless = [name for name in (center, *training) if name in unknown]
        for key in (key for key in found if key in _LEAKS):
            number, reason = found[key], found.get("reason")
            if key == "shared_patient_ids" and not number and nameless:
                number, reason = None, reason or f"{', '.join(nameless)}: no patient ids"
            rows.append((center, _LEAKS[key], _found(number, reason)))
    return rows


def _found(count: int | None, reason: str | None) -> str:
    if count is not None:
        return str(count)
    return f"not known: {reason}" if reason else "not known"
