"""Data cards: what a data set's own module says of its source, licence and defects."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.evaluation.names import HOME_PARTS
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import count
from cerviclip.report.sentences.classes import explained, plain_name
from cerviclip.report.study import Study

_DESCRIBE = "what the images show: organ, device, stain or scan, who took them and of whom"
_SENTENCES = 6  # of each kind
_DEFECTS = re.compile(
    r"no patient|not published|is published|copies|twice|misspel|leak|alone separates|resized|"
    r"not checked|may lie|hold cells of several|no check|known defect",
    re.IGNORECASE,
)


def card(
    document: Document,
    name: str,
    source: Mapping[str, Any] | None,
    told: Sequence[str] = (),
    shown: str = "",
    classes: Sequence[str] = (),
    explain: bool = True,
) -> None:
    """Add the card of one data set.

    Args:
        name: as it is registered.
        source: its entry in ``flow``; None in runs that have none.
        told: what the runs warned of it.
        shown: its title; "" for the registered name.
        classes: its classes, as files call them.
        explain: say what their names are short for; no earlier card has.
    """
    found, shown = facts(name), shown or name
    document.heading(f"Data card: {shown}", "source", level=2)
    rows = [("What it is", found.get("summary") or blank(_DESCRIBE))]
    if shown != name:
        rows.append(("Name in files and folders", name))
    if source:
        seen = source["seen"]
        rows.append(("Images (patients)", count(seen)))
        names = explained(classes) if explain else ", ".join(map(plain_name, classes))
        rows.append(("Classes", names or "-"))
        if seen["patients"] is None:
            rows.append(("Patients", "not known: no file names them"))
    rows.append(
        ("Source", found.get("where") or blank("where the images are from, and since when"))
    )
    rows.append(("Licence", found.get("licence") or blank("licence or agreement of use")))
    known = found.get("defects") or ""
    notes = "; ".join([*(source["notes"] if source else ()), *told])
    notes = f"Noted by the runs: {notes}" if notes and known else notes
    rows.append(("Known defects", " ".join(filter(None, [known, notes])) or "none on record"))
    document.table(f"Data card of {shown}.", ("", ""), rows, "source", "datacard", labels=2)


def classes_of(source: Mapping[str, Any] | None) -> list[str]:
    """The classes of a source of ``flow``, as files call them."""
    parts = (source or {}).get("parts") or {}
    return list(dict.fromkeys(c for part in parts.values() for c in part["per_class"]))


def without_root(text: str, run: Mapping[str, Any]) -> str:
    """A warning without the place where somebody keeps her data."""
    root = str((run["runtime"] or {}).get("data_root") or "").rstrip("/\\")
    return text.replace(f"{root}/", "").replace(f"{root}\\", "") if root else text


def warnings_by_source(study: Study) -> dict[str, list[str]]:
    """Data set or centre -> what the runs themselves say against it."""
    found: dict[str, list[str]] = {}
    for part in study.parts:
        run, mixed = part.run, mixed_patients(part.run)
        told_of_data = (without_root(text, run) for text in run["warnings"] or ())
        found.setdefault(part.dataset, []).extend(told_of_data)
        for center, entry in run["centers"].items():
            told = found.setdefault(part.dataset if center in HOME_PARTS else center, [])
            if entry.get("note"):
                told.append(f"{center}: {entry['note']}")
            if mixed.get(center):
                number, patients = mixed[center], entry["n_patients"]
                where = f"of the {center} part, " if center in HOME_PARTS else ""
                told.append(f"{where}{number} of {patients} patients have several classes")
    return found


def mixed_patients(run: Mapping[str, Any]) -> dict[str, int]:
    """Centre -> how many of its patients have images of several classes."""
    return dict((run["patient_level"] or {}).get("mixed_patients") or {})


def facts(name: str) -> dict[str, str]:
    """``summary where licence defects`` from the docstrings of a data set; nothing is imported."""
    entry = plugins.discover()["dataset"].get(name)
    if entry is None or (entry.own_images and not entry.base):
        return {}  # the images are the user's own: the module's text is about the software
    out = {"summary": entry.summary}
    text = _docstring(Path(entry.source))
    if entry.is_phantom:
        out["licence"] = "rendered by this software, under its own licence (MIT)"
        out["where"] = "rendered by this software (docs/phantom.md)"
        out["defects"] = "No patient is behind any image: figures say nothing about a hospital."
        return out
    paragraphs = re.sub(r"^ {4,}.*$", "", text, flags=re.M).split("\n\n")
    plain = "\n".join(" ".join(p.split()) for p in paragraphs).replace("``", "").replace("**", "")
    if match := re.search(r"Where: (.+?)(?: Licence:|\. [A-Z]|\n|$)", plain):
        out["where"] = match.group(1).rstrip(".")
    if match := re.search(r"Licence: (.+?)(?:\n|$)", plain):
        out["licence"] = match.group(1).rstrip(".")
    sentences = re.split(r"(?<=[.!?:]) (?=[A-Z])|\n", plain)
    told = [s for s in sentences if _DEFECTS.search(s) and not s.startswith(("Read too", "class"))]
    out["defects"] = " ".join(told[:_SENTENCES])
    return out


def _docstring(path: Path) -> str:
    try:
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, ValueError):
        return ""
