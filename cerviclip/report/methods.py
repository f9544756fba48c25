"""Introduction and methods of the report, of what runs' files say, with blanks for the authors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.names import patients_known
from cerviclip.plugins import discover, is_phantom
from cerviclip.report.cards import card, warnings_by_source
from cerviclip.report.document import Document, blank
from cerviclip.report.measured import prevalence_rows
from cerviclip.report.numbers import RULE, title_of
from cerviclip.report.runs import HASH_DIGITS, runs_table
from cerviclip.report.setup import (
    chosen_on_val,
    draw_sentence,
    hidden_sentence,
    imbalance_sentence,
    preparation,
    replaced,
    split_sentence,
    texts_sentence,
    thresholds_sentence,
    training_rows,
    unused,
    use_of_test_sentence,
)
from cerviclip.report.study import BY_VAL, Part, Study
from cerviclip.runs.report.costs import HEAD as SEARCH_HEAD
from cerviclip.runs.report.costs import NOTE as SEARCH_NOTE
from cerviclip.runs.report.costs import search_rows
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.config_hash import flatten
from dassl.config import read_yaml
from dassl.paths import is_file

# Keys that hold for every method. What a method used of INPUT and OPTIM is in the run's ``setup``.
_MEASURED = (
    "Discrimination (AUC, average precision), accuracy, sensitivity and specificity, calibration "
    "(intercept, slope, observed/expected, Brier score, log loss, ECE), net benefit and conformal "
    "coverage"
)
_MEASURED_OF_CLASSES = (
    "Discrimination (AUC of each class against the others), accuracy, recall and precision of each "
    "class, calibration (Brier score, log loss, ECE) and conformal coverage"
)
_SETTINGS = (
    "DATASET.SPLIT_BY",
    "DATASET.SPLIT_RATIO",
    "DATASET.SPLIT_SEED",
    "DATASET.FOLD",
    "DATASET.SPLIT_FILE",
    "DATASET.DRAW_FILE",
    "DATASET.NUM_SHOTS_VAL",
    "DATASET.SHOTS_BY",
    "DATASET.SHOTS_SCENARIO",
    "DATASET.POSITIVE",
    "DATASET.CLASS_MAP",
    "DATASET.LEAVE_OUT",
    "DATASET.PROMPT_SET",
    "TEST.FINAL_MODEL",
    "TEST.EXTERNAL",
    "TEST.INTERVALS",
    "TEST.PATIENT_RULE",
    "TEST.MISS_COST",
    "TEST.PREVALENCES",
)


def introduction(document: Document, study: Study) -> None:
    """What comes before the methods: mostly the authors'."""
    names = ", ".join(part.name for part in study.parts)
    phantoms = [part.name for part in study.parts if is_phantom(part.dataset)]
    document.text(
        f"Draft made from {counted(len(study.done), 'finished run')} on {names}. Numbers, hashes "
        "and figures are taken from the runs' files. What only the authors know is marked like "
        "this: " + blank("an example"),
    )
    if phantoms:
        document.text(
            f"{', '.join(phantoms)}: rendered phantoms. No patient is behind any image. These "
            "numbers say that the software works and nothing about a hospital."
        )
    document.heading("Title, abstract and introduction")
    document.text(
        f"Title: {blank('name the target condition and the kind of images')}: diagnostic accuracy "
        "of a few-shot vision-language or deep-learning model, with "
        f"{'sensitivity, specificity and AUC' if study.binary else 'accuracy and AUC of classes'}",
        "title",
    )
    for topic, what in (
        ("abstract", "structured summary of design, methods, results and conclusions"),
        (
            "background",
            "clinical need, place in the care pathway, who is to use the model, known "
            "inequalities between groups of patients",
        ),
        (
            "objectives",
            "objectives and hypotheses; whether the study develops or evaluates a model",
        ),
    ):
        document.text(f"{topic.capitalize()}: {blank(what)}", topic)


def methods(document: Document, study: Study, csv_name: str) -> None:
    """All subsections of the methods.

    Args:
        csv_name: of the file that has all runs.
    """
    document.heading("Methods")
    _people(document, study)
    document.heading("Data sets", "source", level=2)
    document.text(
        "Where and when images were taken, and on whom, is not in the files: "
        + blank("setting, centres and dates of each data set; routine care or for this study"),
        "source",
        "setting",
    )
    told = warnings_by_source(study)
    for name, source in _sources(study).items():
        card(document, name, source, told.get(name, ()), study.name_of(name))
    _preparation(document, study)
    for part in study.parts:
        _partitions(document, part)
    _model(document, study)
    _search(document, study)
    _analysis(document, study)
    _provenance(document, study, csv_name)


def _people(document: Document, study: Study) -> None:
    document.heading("Design, participants and reference standard", "design", level=2)
    for title, topics, what in (
        (
            "Design",
            ("design",),
            "prospective or retrospective; feasibility, development or evaluation",
        ),
        ("Ethics", ("ethics",), "committee, number of the approval, consent or waiver"),
        (
            "Eligibility",
            ("eligibility",),
            "inclusion and exclusion criteria of patients and of images, "
            "in their order; how patients were found; consecutive, random or convenience series",
        ),
        ("Treatments", ("treatments",), "treatments before imaging, and how they were dealt with"),
        (
            "Acquisition",
            ("acquisition",),
            "devices with manufacturer and model, protocol, who took the images",
        ),
        ("De-identification", ("deidentification",), "how images and records were de-identified"),
        (
            "Reference standard",
            ("reference",),
            "its definition, why it was chosen, its categories and "
            "cut-offs, the time between imaging and it",
        ),
        (
            "Annotation",
            ("annotation",),
            "who annotated, how experienced, with which tools; agreement "
            "within and between readers",
        ),
        (
            "Blinding",
            ("blinding",),
            "what assessors of the reference standard knew of the model's "
            "output and of clinical data",
        ),
        ("Users", ("users",), "who is to use the model, and what they must be able to do"),
        (
            "Patient involvement",
            ("involvement",),
            "how patients and the public took part, or that they did not",
        ),
    ):
        document.text(f"{title}: {blank(what)}", *topics)
    document.text(hidden_sentence(study.done), "blinding")


def _sources(study: Study) -> dict[str, Mapping[str, Any] | None]:
    found: dict[str, Mapping[str, Any] | None] = {}
    for part in study.parts:
        sources = part.run["flow"].get("sources") or {}
        names = [part.dataset, *(c for c in part.run["centers"] if c not in ("test", "new"))]
        for name in dict.fromkeys([*sources, *names]):
            found[name] = sources.get(name) or found.get(name)
    return found


def _preparation(document: Document, study: Study) -> None:
    document.heading("Preparation of images and missing data", "preprocessing", level=2)
    for part in study.parts:
        for sentence in preparation(part):
            document.text(sentence, "preprocessing")
    unknown = (
        " An image without a known patient counts as a patient of its own, which makes intervals "
        "too narrow."
    )
    document.text(
        f"Missing data: an image without a class is not read.{unknown * bool(_nameless(study))} "
        "The model gives an output for each readable image, so there are no indeterminate results. "
        + blank("missing or indeterminate reference standards"),
        "missing",
    )


def _partitions(document: Document, part: Part) -> None:
    run = part.run
    document.heading(f"Partitions of {part.name}", "partition", level=2)
    fitted = (run["calibration"] or {}).get("fitted_on") == "val"
    maps = "calibration maps were fitted on val. " * fitted
    chosen = "Thresholds were chosen on val. " if chosen_on_val(run) else ""
    chosen = f"Thresholds were chosen, and {maps}" if chosen and maps else chosen or maps
    chosen = chosen[:1].upper() + chosen[1:]
    document.text(
        f"{split_sentence(part)} {draw_sentence(part)} {chosen}{use_of_test_sentence(part)}",
        "partition",
        "level",
    )
    shares = dict.fromkeys(row[2] for row in prevalence_rows(run["operating_points"]))
    given = f" The results give PPV and NPV at prevalences of {', '.join(shares)} % as well."
    other = given if shares else ""
    document.text(
        f"Class imbalance: {imbalance_sentence(part)}.{other}",
        "imbalance",
    )
    document.text(
        "Sample size: "
        + blank(
            "how the number of patients was determined; the numbers "
            "that were available are in the data flow"
        ),
        "samplesize",
    )
    hashes = (
        f"split {run['split_hash'] or 'none'}, draw of the run shown {run['draw_hash'] or 'none'}"
    )
    document.text(
        f"Hashes (sha256): {hashes}. The split is in split.json of each run.", "partition"
    )


def _from_random_weights(run: Mapping[str, Any]) -> bool:
    """Whether a run's network had no weights from anywhere, as far as its config.yaml says."""
    path = Path(run["folder"]) / "config.yaml"
    model = (read_yaml(path, "config file") if is_file(path) else {}).get("MODEL") or {}
    pretrained = (model.get("BACKBONE") or {}).get("PRETRAINED", True)
    return not pretrained and not model.get("INIT_WEIGHTS")


def _model(document: Document, study: Study) -> None:
    document.heading("Models and training", "model", level=2)
    trainers = discover()["trainer"]
    rows = []
    for part in study.parts:
        labels = row_labels(part.groups)
        for group in {g.row: g for g in part.groups}.values():
            entry = trainers.get(group.trainer)
            weights = str(group.runs[0]["weights_sha256"] or "")[:HASH_DIGITS]
            shots = ", ".join(str(g.shots) for g in part.groups if g.row == group.row)
            row = (
                labels[group.row],
                entry.summary if entry else "",
                group.backbone,
                weights or ("random" if _from_random_weights(group.runs[0]) else "-"),
            )
            rows.append((*row, shots) if len(study.parts) == 1 else (*row, f"{part.name}: {shots}"))
    head = ("method", "what it is", "backbone", "weights (sha256)", "shots")
    document.table("Methods compared.", head, rows, "model", "init", labels=5)
    document.text(
        "A method starts from the pre-trained weights whose hash is in the table; of one without a "
        "hash the files do not say which weights it started from. New parameters start from the "
        "run's seed. "
        + blank("what the backbone was pre-trained on, and whether test patients can be among it"),
        "init",
        "training",
    )
    for part in study.parts:
        flat = flatten(part.config)
        name = part.run["trainer"].upper()
        keys = [*_SETTINGS, *(k for k in flat if k.startswith(f"TRAINER.{name}."))]
        left_out = {*unused(part), *replaced(part.run)}
        chosen = [
            (k, _shown(flat[k]))
            for k in keys
            if k in flat and k not in left_out and flat[k] not in ("", [], {}, None)
        ]
        document.table(
            f"Settings that {part.label} used on {part.name}; config.yaml of the run has the "
            "keys of all methods.",
            ("key", "value"),
            [*training_rows(part.run), *chosen],
            "training",
            "specification",
            labels=2,
        )
    for part in study.parts:
        document.text(texts_sentence(part), "specification")
    document.text(
        "Output: a probability for each class. "
        + "The probability of the positive group is the sum over its classes. " * study.binary
        + "No models are combined into an ensemble unless the table above says so.",
        "output",
        "ensemble",
    )
    own = any(group.trainer == "SAVLT" for part in study.parts for group in part.groups)
    maps = "attention maps of SAVLT" if own else "heat maps of class activation"
    document.text(
        "Explanations: " + blank("whether and how outputs were explained, such as " + maps),
        "explain",
    )


def _shown(value: Any) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )  # noqa: E501


def _tried_on_val(part: Part) -> str:
    """That val's accuracy flatters a method whose settings val has chosen; "" for any other."""
    searches = [(run.get("search") or {}).get("choices") or {} for run in part.featured.runs]
    tries = max(found.get("settings", {}).get("tries", 0) for found in searches)
    if not part.why.startswith(BY_VAL) or tries < 2:
        return ""
    return (
        f" Val had chosen its settings as well, the best of {tries:,} tries on each run, so its "
        "accuracy on val is too good beside that of a method with fewer tries."
    )


def _search(document: Document, study: Study) -> None:
    document.heading("Choice of settings", "selection", level=2)
    for part in study.parts:
        document.text(
            f"The model shown in detail for {part.name} is {part.label} with "
            f"{part.featured.shots} shots, fold and seed of its first run: "
            f"{part.why}.{_tried_on_val(part)}",
            "selection",
        )
    rows = search_rows([g for part in study.parts for g in part.groups])
    if rows:
        document.table(
            "Search budget.", SEARCH_HEAD, rows, "selection", "search", note=SEARCH_NOTE, labels=2
        )
    else:
        document.text("No run has chosen anything on val.", "selection", "search")
    document.text(
        "Tried before these runs: "
        + blank("settings and methods that were tried and are not among these runs"),
        "search",
    )


def _analysis(document: Document, study: Study) -> None:
    document.heading("Statistical analysis", "statistics", level=2)
    entry: Mapping[str, Any] = next(iter(study.parts[0].run["centers"].values()), {})
    how = entry.get("uncertainty", {})
    measured = _MEASURED if study.binary else _MEASURED_OF_CLASSES
    document.text(
        f"{measured} were computed on the test part and at each external centre, by image and by "
        "patient.",
        "metrics",
    )
    document.text(
        f"Intervals are of {100 * how.get('level', 0.95):g} %, with the patient as the "
        f"unit{_without_patients(study)}. {_interval_methods(how, study)}{_of_several(study)}",
        "statistics",
    )
    if study.binary:
        document.text(
            f"{RULE} A patient is called positive by the same rule, from the one prediction that "
            "is made of her images. AUC and operating points rest on the summed probability of the "
            "positive group.",
            "metrics",
            "thresholds",
        )
    told = {part.dataset: thresholds_sentence(part.run) for part in study.parts}
    for sentence in dict.fromkeys(told.values()):
        names = ", ".join(study.name_of(d) for d, said in told.items() if said == sentence)
        start = "" if len(set(told.values())) == 1 else f"{names}: "
        document.text(start + sentence, "thresholds")
    document.text(
        "Rationale of the thresholds: " + blank("why these operating points suit the use"),
        "thresholds",
    )
    document.text(
        "Variability: scores are given for each centre and as deviations over seeds. "
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
    if any(len(group.runs) > 1 for part in study.parts for group in part.groups):
        told += " Means over seeds have a standard deviation over runs."
    if any(len({group.row for group in part.groups}) > 1 for part in study.parts):
        told += " Differences between methods are paired by patient."
    return told


def _nameless(study: Study) -> list[str]:
    """Data sets, with the centre, where nobody knows the patients."""
    return [
        f"{part.name} ({center})"
        for part in study.parts
        for center, entry in part.run["centers"].items()
        if not patients_known(entry)
    ]


def _without_patients(study: Study) -> str:
    """At which centres an image counts as a patient, as a clause; "" at none."""
    told = _nameless(study)
    return (
        f"; no patient is known of {', '.join(told)}, where the image is the unit" if told else ""
    )


def _provenance(document: Document, study: Study, csv_name: str) -> None:
    document.heading("Software, versions and hashes", "software", level=2)
    versions = [run["runtime"].get("versions") or {} for run in study.done]
    rows = []
    for key in dict.fromkeys(k for v in versions for k in v):
        values = dict.fromkeys(str(v[key]) for v in versions if v.get(key))
        rows.append((key, ", ".join(values) or "-"))
    devices = dict.fromkeys(str(run["runtime"].get("device_name", "-")) for run in study.done)
    rows.append(("device", ", ".join(devices)))
    seconds = [run["runtime"].get("seconds", {}).get("total", 0.0) for run in study.done]
    rows.append(("time of all runs", f"{sum(seconds):.0f} s"))
    document.table("Software and machine.", ("what", "version"), rows, "software", labels=2)
    runs_table(document, study, csv_name)
