"""The results of the report: tables with intervals, and the figures of the runs shown in detail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.measures.patients import is_order
from cerviclip.evaluation.names import NO_IDS, patients_known
from cerviclip.report import measured
from cerviclip.report.cards import mixed_patients, without_root
from cerviclip.report.compared import all_methods
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import (
    RULE,
    cell,
    digits_of,
    interval_note,
    size_of,
    title_of,
)
from cerviclip.report.sentences.captions import captions
from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.sentences.ensembles import members_of
from cerviclip.report.sentences.federation import federation_results
from cerviclip.report.sentences.flow import data_flow
from cerviclip.report.study import Part, Study
from cerviclip.runs.report.groups import METRICS
from cerviclip.runs.report.prediction_figures import prediction_figures
from cerviclip.runs.settings.folders import safe_part
from cerviclip.runs.settings.run_key import shots_words


def results(document: Document, study: Study, figures: Path) -> None:
    """All subsections of the results; figures are written to a folder."""
    figures.mkdir(parents=True, exist_ok=True)
    document.heading("Results")
    for part in study.parts:
        data_flow(document, part, figures)
    document.text(
        "Patients: "
        + blank(
            "age, symptoms, HPV status and other characteristics of each "
            "part and centre; severity; other diagnoses; times between imaging and reference"
        ),
        "baseline",
        "severity",
        "interval",
    )
    document.text(
        "Representativeness: "
        + blank(
            "how far these sets have the share and severity of "
            "disease of those on whom the model is to be used"
        ),
        "representativeness",
    )
    federation_results(document, study)
    for part in study.parts:
        all_methods(document, study, part)
        _featured(document, part, figures)
    _failures(document, study)


def closing(document: Document, study: Study) -> None:
    """What follows the results; all of it is the authors'."""
    document.heading("Discussion")
    for title, topics, what in (
        (
            "Interpretation",
            ("interpretation",),
            "the main findings, fairness included, beside earlier studies",
        ),
        (
            "Limitations",
            ("limitations",),
            "sources of bias, uncertainty and limits of generalisation",
        ),
        (
            "Implications",
            ("implications",),
            "intended use, input of poor quality, what users must do, what comes next",
        ),
        ("Ethics of use", ("fairuse",), "ethical questions and fairness in use"),
    ):
        document.text(f"{title}: {blank(what)}", *topics)
    document.heading("Other information")
    for title, topics, what in (
        ("Registration", ("registration",), "registry and number, or that there is none"),
        ("Protocol", ("protocol",), "where the protocol can be read"),
        ("Funding", ("funding",), "sources and the role of funders"),
        ("Interests", ("interests",), "commercial and other interests"),
        ("Adverse events", ("adverse",), "of imaging or of the reference standard"),
        (
            "Data and weights",
            ("availability",),
            "where images, trained weights and these runs can be had, and under which terms",
        ),
    ):
        document.text(f"{title}: {blank(what)}", *topics)
    joined = any(map(members_of, study.done))
    ensembles = " An ensemble names its members' configurations by their hashes." * joined
    document.text(
        "Code: the software and its commit are named under Methods. Each run keeps its "
        "configuration, its split with a hash, and a probability for each class and image "
        f"(predictions.csv), so every number here can be computed again.{ensembles}",
        "availability",
        "audit",
    )


# -- one run in detail --------------------------------------------------------------------------


def _featured(document: Document, part: Part, figures: Path) -> None:
    run = part.run
    shots = "" if run["shots"] == 0 else f" with {shots_words(run['shots'])}"
    fold = f", fold {run['fold']}" if run["fold"] else ""
    document.heading(f"{part.label}{shots} on {part.name}", "accuracy", level=2)
    document.text(
        f"One run in detail: seed {run['seed']}{fold}. "
        f"Positive group: {', '.join(map(plain_name, run['positive_classes'])) or 'none is set'}.",
        "accuracy",
    )
    by_patient = (run["patient_level"] or {}).get("centers") or {}
    _metric_table(document, "Performance by image", run["centers"])
    if by_patient:
        rule = run["patient_level"]["rule"]
        title = f"Performance by patient (rule: {rule} of her images)"
        _metric_table(document, title, by_patient, patient_note(run), mixed_patients(run))
    elif run["patient_level"]:
        document.text(f"By patient: not scored, {run['patient_level'].get('reason')}.", "accuracy")
    _class_table(document, run)
    _crosstab(document, run)
    samples = part.samples()
    drawn: dict[str, Path] = {}
    if samples:
        prefix = f"{safe_part(part.dataset)}_"
        drawn = prediction_figures(figures, samples, part.home(samples), prefix)
    told = captions(run)

    def figure(name: str, *topics: str) -> None:
        if name in drawn:
            document.figure(told[name], drawn[name], *topics)

    figure("roc", "accuracy", "thresholds")
    measured.subgroups(document, run)
    measured.points(document, run)
    figure("probabilities", "crosstab")
    measured.calibration(document, run)
    figure("reliability", "calibration")
    figure("decision", "benefit")
    measured.conformal(document, run)
    measured.gap(document, run)


def patient_note(run: Mapping[str, Any]) -> str:
    """What a patient's true class is, and where figures that depend on it mean little."""
    centers = run["patient_level"]["centers"]
    classes = next(iter(centers.values())).get("per_class") or {}
    if is_order((run["measured_with"] or {}).get("order") or (), tuple(classes)):
        rule = "the worst class of her images"
    elif run["positive_classes"]:
        rule = (
            "the most frequent class of her images; if any is of the positive group, only images "
            "of that group count"
        )
    else:
        rule = "the most frequent class of her images"
    told = [f"A patient's true class is {rule}."]
    mixed = mixed_patients(run)
    most = [c for c, entry in centers.items() if 2 * mixed.get(c, 0) > entry["n_patients"]]
    if most:
        told.append(
            f"At {', '.join(most)} most patients have images of several classes: accuracy, F1 and "
            "other figures by patient that depend on her one class mean little there."
        )
    return " ".join(told)


def _metric_table(
    document: Document,
    title: str,
    centers: Mapping[str, Any],
    note: str = "",
    mixed: Mapping[str, int] | None = None,
) -> None:
    names = [name for name in centers if name != "new"]
    rows = []
    for metric in METRICS:
        cells = [cell(_at(centers[name], metric), digits_of(metric)) for name in names]
        if set(cells) > {"-"} or "-" not in cells:
            rows.append((title_of(metric), *cells))
    what = "patients" if "patient (" in title else "images / patients"
    sizes = [size_of(centers[name]) for name in names]
    sizes = [size.split(" / ")[1] for size in sizes] if what == "patients" else sizes
    events = [_events(centers[name]) for name in names]
    twice = [name for name in names if _in_both(centers[name])]
    several = (
        [("patients with several classes", *(str(mixed.get(n, 0)) for n in names))] if mixed else []
    )
    rates = [("patients with / without the event", *events)] if set(events) != {"-"} else []
    rows = [(what, *sizes), *several, *rates, *rows]
    told = [interval_note(centers)]
    if what != "patients" and any(row[0] == title_of("binary.sensitivity") for row in rows):
        told.append(RULE)
    if twice:
        told.append(
            "A patient with images of both kinds counts as one with the event and as one without "
            f"it, so the two add up to more than the patients ({', '.join(twice)})."
        )
    nameless = [name for name in names if not patients_known(centers[name])]
    told += [f"{', '.join(nameless)}: {NO_IDS}."] if nameless else []
    note = " ".join(filter(None, [*told, note]))
    document.table(f"{title}.", ("", *names), rows, "accuracy", "numbers", note=note)


def _events(entry: Mapping[str, Any]) -> str:
    counts = entry.get("counts") or {}
    if "events" not in counts:
        return "-"
    if not patients_known(entry):
        return "not known"
    return f"{counts['events']['patients']} / {counts['non_events']['patients']}"


def _in_both(entry: Mapping[str, Any]) -> bool:
    """Whether some patients have images with the event and images without it."""
    counts = entry.get("counts") or {}
    kinds = [counts[key]["patients"] for key in ("events", "non_events") if key in counts]
    return sum(kinds) > entry["n_patients"]


def _at(entry: Mapping[str, Any], metric: str) -> Any:
    node: Any = entry
    for key in metric.split("."):
        node = (node or {}).get(key)
    return node


def _class_table(document: Document, run: Mapping[str, Any]) -> None:
    rows = []
    for center, entry in run["centers"].items():
        measured = (run["discrimination"] or {}).get(center, {}).get("per_class") or {}
        for name, numbers in (entry.get("per_class") or {}).items():
            found = measured.get(name, {})
            rows.append(
                (
                    center,
                    plain_name(name),
                    str(numbers["support"]),
                    cell(numbers["recall"]),
                    cell(numbers["precision"]),
                    cell(found.get("auc"), 3),
                )
            )
    head = ("centre", "class", "images", "recall (%)", "precision (%)", "AUC")
    document.table(
        "Performance by class.",
        head,
        rows,
        "accuracy",
        "alternatives",
        note=interval_note(run["centers"]),
        labels=2,
    )


def _crosstab(document: Document, run: Mapping[str, Any]) -> None:
    for center, entry in run["centers"].items():
        classes = [plain_name(name) for name in entry.get("per_class") or {}]
        if not entry.get("confusion_matrix") or len(classes) > 8:
            continue
        rows = [
            (name, *map(str, row))
            for name, row in zip(classes, entry["confusion_matrix"], strict=True)
        ]
        document.table(
            f"Cross-tabulation at {center}: true class in rows, predicted class in columns "
            f"(images).",
            ("", *classes),
            rows,
            "crosstab",
        )


def _failures(document: Document, study: Study) -> None:
    document.heading("Failures and warnings", "failures", level=2)
    early = [run for run in study.done if run["test_read_early"]]
    document.text(
        f"{counted(len(study.done), 'run')} finished, {len(study.failed)} failed; {len(early)} "
        "read the test set before training had ended.",
        "failures",
    )
    document.bullets(
        [
            f"{run['trainer']}, {shots_words(run['shots'])}, seed {run['seed']}: {run['error']}"
            for run in study.failed
        ],
        "failures",
    )
    texts = dict.fromkeys(
        without_root(text, run)
        for run in study.done
        for text in run["runtime"].get("warnings") or ()
    )
    document.bullets([f"Warning of the software: {text}" for text in texts], "failures")
    rows = []
    for part in study.parts:
        for center, entry in part.run["centers"].items():
            rows += [
                (part.name, center, _confusion(entry, positive), str(number))
                for positive, number in _worst_confusions(entry)
            ]
    document.table(
        "The three most frequent confusions of the run shown in detail.",
        ("data set", "centre", "true class taken for", "images"),
        rows,
        "failures",
        labels=3,
    )
    document.text(
        "Failure analysis: "
        + blank("what the wrongly classified images have in common, seen by a clinician"),
        "failures",
    )


def _worst_confusions(entry: Mapping[str, Any]) -> list[tuple[tuple[int, int], int]]:
    matrix = entry.get("confusion_matrix") or []
    wrong = {(i, j): n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n}
    return sorted(wrong.items(), key=lambda pair: (-pair[1], pair[0]))[:3]


def _confusion(entry: Mapping[str, Any], pair: tuple[int, int]) -> str:
    names = [plain_name(name) for name in entry["per_class"]]
    return f"{names[pair[0]]} → {names[pair[1]]}"
