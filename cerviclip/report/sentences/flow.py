"""Where the images and patients of the run in detail went: figure, counts, and leaks looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import VAL
from cerviclip.report.cards import without_root
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import count
from cerviclip.report.sentences.centers import views
from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.sentences.partitions import UNLABELLED, home_part, in_fold
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
    of_centers = views(part)
    flows = {view.name: view.flow for view in of_centers if view.flow}
    if not flows:
        document.text(
            "The runs were made before flow was kept: " + blank("flow of patients and images"),
            "flow",
        )
        return
    sources = _together(flows)
    path = figures / f"{safe_part(part.dataset)}_flow.png"
    flow_figure({"sources": sources}).savefig(path)
    which = _which(part, of_centers)
    document.figure(
        "Flow of images; patients are in brackets behind the images of each class. Drawn: the "
        f"shots of {which}.",
        path,
        "flow",
    )
    rows, head = _count_rows(sources)
    document.table(
        f"Images (patients) by source, part and class, as used in {which}.",
        head,
        rows,
        "flow",
        "numbers",
        "external",
        note=_flow_note(part, rows),
        labels=2,
    )
    _left_out(document, flows, sources, any(row[1] == UNLABELLED for row in rows))
    document.table(
        "Leaks looked for before training.",
        ("where", "what", "found"),
        [row for name, flow in flows.items() for row in leak_rows(name, flow, len(flows) > 1)],
        "flow",
        "level",
        labels=2,
    )
    if len(of_centers) > 1:
        document.text(
            "Each centre looked for leaks in its own images. Whether a patient was seen at two "
            "centres is not in the files: " + blank("whether any patient was seen at two centres"),
            "flow",
            "level",
        )
    told = dict.fromkeys(
        without_root(text, view.run) for view in of_centers for text in view.run["warnings"] or ()
    )
    if told:
        document.text("Warnings about these data:", "flow")
        document.bullets(list(told), "flow")


def _which(part: Part, of_centers: Sequence[Part]) -> str:
    """The runs whose numbers the flow has."""
    if len(of_centers) > 1:
        return "one run of each centre"
    return f"the run shown in detail (seed {part.run['seed']}{in_fold(part.run)})"


def _together(flows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The sources of several flows; an external centre that several have tested stands once."""
    found: dict[str, Any] = {}
    for owner, flow in flows.items():
        for name, source in flow["sources"].items():
            again = name in found and found[name] != source
            found[f"{name} (tested for {owner})" if again else name] = source
    return found


def _left_out(
    document: Document, flows: Mapping[str, Any], sources: Mapping[str, Any], unlabelled: bool
) -> None:
    """What was seen and not used, and why."""
    excluded = [
        (name, entry["reason"], count(entry))
        for name, source in sources.items()
        for entry in source["excluded"]
    ]
    if excluded:
        document.table(
            "Images (patients) that were seen and in no part above with their labels.",
            ("source", "reason", "images"),
            excluded,
            "flow",
            "exclusions",
            note=_AMONG * unlabelled,
            labels=2,
        )
        return
    document.text(
        "Every image that was found is in a part of the split or in an external centre."
        f"{_not_drawn(flows)}",
        "flow",
        "exclusions",
    )


def _not_drawn(flows: Mapping[str, Mapping[str, Any]]) -> str:
    """How many images of a part the runs of the flow did not use; "" where they used all."""
    told = []
    for name, flow in flows.items():
        numbers = (flow["sources"].get(name) or {}).get("not_drawn") or {}
        at = f" at {name}" * (len(flows) > 1)
        told += [f"{number:,} of {part}{at}" for part, number in numbers.items() if number]
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


def leak_rows(
    dataset: str, flow: Mapping[str, Any], several: bool = False
) -> list[tuple[str, str, str]]:
    """Each leak that was looked for, and how often it was found, or that this is not known.

    Older runs have a 0 for patients whom nobody knows.

    Args:
        dataset: what the training's data set or centre is called.
        flow: of results.json.
        several: whether rows of other centres' training stand beside these.
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
            where = f"{center}, model of {dataset}" if several else center
            rows.append((where, _LEAKS[key], _found(number, reason)))
    return rows


def _found(count: int | None, reason: str | None) -> str:
    if count is not None:
        return str(count)
    return f"not known: {reason}" if reason else "not known"
