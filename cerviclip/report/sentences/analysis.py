"""The statistical analysis: what was measured where, and no measure that the files do not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.evaluation.names import patients_known
from cerviclip.report.document import Document, blank
from cerviclip.report.numbers import RULE, title_of
from cerviclip.report.sentences.partitions import external_centers, home_part, thresholds_sentence
from cerviclip.report.study import Part, Study
from cerviclip.runs.report.groups import Group

RULE_BY_PATIENT = (
    "A patient is called positive by the same rule, from the one prediction that is made of her "
    "images."
)


def analysis(document: Document, study: Study) -> None:
    document.heading("Statistical analysis", "statistics", level=2)
    for sentence in grouped(study, {part.dataset: measured_sentence(part) for part in study.parts}):
        document.text(sentence, "metrics")
    document.text(f"{_intervals(study)}{_of_several(study)}", "statistics")
    if study.binary:
        rules = [RULE, RULE_BY_PATIENT * any(map(scored_by_patient, study.binary))]
        rests = "AUC and operating points rest on the summed probability of the positive group."
        start = f"Positive group{study.where_binary}: " * bool(study.where_binary)
        text = " ".join(filter(None, [*rules, rests]))
        document.text(start + text, "metrics", "thresholds")
    told = {part.dataset: thresholds_sentence(part.run) for part in study.parts}
    for sentence in grouped(study, told):
        document.text(sentence, "thresholds")
    document.text(
        "Rationale of the thresholds: " + blank("why these operating points suit the use"),
        "thresholds",
    )
    several = any(len(group.runs) > 1 for part in study.parts for group in part.groups)
    document.text(
        f"Variability: scores are given for each centre{' and as deviations over runs' * several}. "
        + blank("further subgroups, and which analyses were planned beforehand"),
        "variability",
        "heterogeneity",
    )
    document.text(
        "Fairness: " + blank("groups of patients that were compared, or why none were"), "fairness"
    )
    document.text(
        "Robustness: " + blank("sensitivity analyses, such as blur, stain or missing inputs"),
        "robustness",
    )


def grouped(study: Study, told: Mapping[str, str]) -> list[str]:
    """Each different sentence once, behind the names of its data sets where there are several."""
    found = []
    for sentence in dict.fromkeys(told.values()):
        names = ", ".join(study.name_of(d) for d, said in told.items() if said == sentence)
        found.append(sentence if len(set(told.values())) == 1 else f"{names}: {sentence}")
    return found


# -- measures -------------------------------------------------------------------------------------


def scored_by_patient(part: Part) -> bool:
    """Whether the run in detail has scores by patient."""
    return bool((part.run["patient_level"] or {}).get("centers"))


def has_conformal(run: Mapping[str, Any]) -> bool:
    """Whether prediction sets were calibrated and their coverage measured."""
    centers = ((run["conformal"] or {}).get("centers") or {}).values()
    return any("coverage" in _mapping(found) for center in centers for found in center.values())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def measured_sentence(part: Part) -> str:
    """Which measures were computed, on which parts, and of what: images, or patients as well."""
    run = part.run
    if run["positive_classes"]:
        measures = [
            "discrimination (AUC, average precision), accuracy, sensitivity and specificity",
            "calibration (intercept, slope, observed/expected, Brier score, log loss, ECE)",
            "net benefit",
        ]
    else:
        measures = [
            "discrimination (AUC of each class against the others), accuracy, recall and "
            "precision of each class",
            "calibration (Brier score, log loss, ECE)",
        ]
    measures += ["conformal coverage"] * has_conformal(run)
    told = f"{', '.join(measures[:-1])} and {measures[-1]}"
    external = " and at each external centre" * bool(external_centers(run))
    where = f"on the {home_part(run)} part{external}"
    by = "by image and by patient" if scored_by_patient(part) else "by image"
    return f"{told[:1].upper()}{told[1:]} were computed {where}, {by}."


# -- intervals ------------------------------------------------------------------------------------


def _intervals(study: Study) -> str:
    entry: Mapping[str, Any] = next(iter(study.parts[0].run["centers"].values()), {})
    how = entry.get("uncertainty", {})
    level = f"Intervals are of {100 * how.get('level', 0.95):g} %"
    return f"{level}, with {unit_of_intervals(study)}. {_interval_methods(how, study)}"


def unit_of_intervals(study: Study) -> str:
    """What was taken as one: the patient, and the image where no patient is known."""
    nameless = nameless_centers(study)
    if len(nameless) == sum(len(part.run["centers"]) for part in study.parts):
        return "the image as the unit, since no patient is known"
    told = f"; no patient is known of {', '.join(nameless)}, where the image is the unit"
    return f"the patient as the unit{told * bool(nameless)}"


def nameless_centers(study: Study) -> list[str]:
    """Data sets, with the centre, where nobody knows the patients."""
    return [
        f"{part.name} ({center})"
        for part in study.parts
        for center, entry in part.run["centers"].items()
        if not patients_known(entry)
    ]


def _interval_methods(how: Mapping[str, Any], study: Study) -> str:
    """``Rates: mid-P. Balanced accuracy, macro F1: MOVER ...``, a sentence for each method."""
    told: dict[str, list[str]] = {}
    for key, text in (how.get("method") or {}).items():
        if key.startswith("binary/") and not study.binary:
            continue
        title = "Rates" if key == "default" else title_of(key.replace("/", ".")).partition(" (")[0]
        told.setdefault(text, []).append(title)
    return " ".join(f"{', '.join(titles)}: {text}." for text, titles in told.items())


def _of_several(study: Study) -> str:
    """What holds of several runs of a method and of several methods, where there are such."""
    told = ""
    groups = [group for part in study.parts for group in part.groups]
    if kinds := _repeated(groups):
        told += f" Means over {kinds} have a standard deviation over runs."
    if any(part.paired for part in study.parts):
        nameless = nameless_centers(study)
        unit = "image where no patient is known, else by patient" if nameless else "patient"
        told += f" Differences between methods are paired by {unit}."
    return told


def _repeated(groups: Sequence[Group]) -> str:
    """``seeds``, ``folds`` or both: of what some method has several runs."""
    seeds = any(len(group.seeds) > 1 for group in groups)
    folds = any(len({repeat.fold for repeat in group.repeats}) > 1 for group in groups)
    return " and ".join(["folds"] * folds + ["seeds"] * seeds)
