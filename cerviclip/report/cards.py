"""Data cards: what a data set's own module says of its source, licence and defects."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.evaluation.names import HOME_PARTS, IN_DOMAIN
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import count
from cerviclip.report.sentences.centers import all_views
from cerviclip.report.sentences.classes import explained, plain_name
from cerviclip.report.study import Part, Study
from cerviclip.runs.report.few import few_in_folds, test_of_folds
from cerviclip.runs.report.groups import Group, fold_of, repeat_of
from cerviclip.runs.study_title import shown_name

_DESCRIBE = "what the images show: organ, device, stain or scan, who took them and of whom"
_SENTENCES = 6  # of each kind
_DEFECTS = re.compile(
    r"no patient|not published|is published|copies|twice|misspel|leak|alone separates|resized|"
    r"not checked|may lie|hold cells of several|no check|known defect",
    re.IGNORECASE,
)


@dataclass
class Told:
    """What the runs say of the images of a data set or centre.

    Args:
        title: of the runs, where the card has another name.
        defects: warnings about the images.
        limits: how few patients were tested, which is no defect of the images.
    """

    title: str = ""
    defects: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


def card(
    document: Document,
    name: str,
    source: Mapping[str, Any] | None,
    told: Told | None = None,
    shown: str = "",
    classes: Sequence[str] = (),
    explain: bool = True,
) -> None:
    """Add the card of one data set.

    Args:
        name: as it is registered.
        source: its entry in ``flow``; None in runs that have none.
        told: what the runs say of it.
        shown: its title; "" for the registered name.
        classes: its classes, as files call them.
        explain: say what their names are short for; no earlier card has.
    """
    found, shown, told = facts(name), shown or name, told or Told()
    document.heading(f"Data card: {shown}", "source", level=2)
    rows = [("What it is", found.get("summary") or blank(_DESCRIBE))]
    if told.title not in ("", shown):
        rows.append(("Title", told.title))
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
    notes = "; ".join([*(source["notes"] if source else ()), *dict.fromkeys(told.defects)])
    notes = f"Noted by the runs: {notes}" if notes and known else notes
    rows.append(("Known defects", " ".join(filter(None, [known, notes])) or "none on record"))
    if told.limits:
        rows.append(("Limits of the scores", "; ".join(dict.fromkeys(told.limits))))
    document.table(f"Data card of {shown}.", ("", ""), rows, "source", "datacard", labels=2)


def classes_of(source: Mapping[str, Any] | None) -> list[str]:
    """The classes of a source of ``flow``, as files call them."""
    parts = (source or {}).get("parts") or {}
    return list(dict.fromkeys(c for part in parts.values() for c in part["per_class"]))


def without_root(text: str, run: Mapping[str, Any]) -> str:
    """A warning without the place where somebody keeps her data."""
    root = str((run["runtime"] or {}).get("data_root") or "").rstrip("/\\")
    return text.replace(f"{root}/", "").replace(f"{root}\\", "") if root else text


def told_by_source(study: Study) -> dict[str, Told]:
    """Data set, centre of a federation or external centre -> what the runs themselves say of it."""
    found: dict[str, Told] = {}
    for part in all_views(study):
        key = part.shown or part.dataset
        own = found.setdefault(key, Told(shown_name(part.dataset, part.run_list)))
        own.title = "" if not part.shown or own.title == part.dataset else own.title
        own.defects += [without_root(text, part.run) for text in part.run["warnings"] or ()]
        for center in part.run["centers"]:
            told = found.setdefault(key if center in HOME_PARTS else center, Told())
            _tell(told, part, center)
    return found


def _tell(told: Told, part: Part, center: str) -> None:
    """What the run in detail says of a centre; of folds, what all of them tested together."""
    entry, where = part.run["centers"][center], f"of the {center} part, "
    number, patients = mixed_patients(part.run).get(center), entry["n_patients"]
    if center == IN_DOMAIN and part.featured.folds:
        runs = _folds_of_one_seed(part.featured, part.run)
        together = f"the test parts of {len(runs)} folds together"
        where, patients = f"of {together}, ", test_of_folds(part.featured).get("", patients)
        number = sum(mixed_patients(run).get(center, 0) for run in runs)
        if few := few_in_folds(part.featured):
            told.limits.append(f"{together}: few patients ({few})")
    elif entry.get("note"):
        told.limits.append(f"{center}: {entry['note']}")
    if number:
        where = where if center in HOME_PARTS else ""
        told.defects.append(f"{where}{number} of {patients} patients have several classes")


def _folds_of_one_seed(group: Group, run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs of all folds beside a run, of its seed and its way of dealing."""
    repeat = fold_of(run["fold"]).repeat
    return [
        other
        for other in group.runs
        if other["seed"] == run["seed"] and fold_of(repeat_of(other).fold).repeat == repeat
    ]


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
