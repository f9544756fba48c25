"""Introduction and methods of the report, of what runs' files say, with blanks for the authors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cerviclip.backbones.names import PHANTOM
from cerviclip.counted import counted
from cerviclip.evaluation.names import HOME_PARTS
from cerviclip.plugins import is_phantom
from cerviclip.report.cards import card, classes_of, told_by_source
from cerviclip.report.document import Document, blank
from cerviclip.report.measured import prevalence_rows
from cerviclip.report.runs import runs_table
from cerviclip.report.sentences.analysis import analysis, nameless_centers
from cerviclip.report.sentences.centers import POOLED, all_views, views
from cerviclip.report.sentences.draws import draw_sentence, imbalance_sentence, new_classes
from cerviclip.report.sentences.ensembles import members_of
from cerviclip.report.sentences.federation import federations
from cerviclip.report.sentences.models import models
from cerviclip.report.sentences.partitions import (
    hidden_sentence,
    in_fold,
    split_sentence,
    use_of_test_sentence,
    use_of_val_sentence,
)
from cerviclip.report.sentences.ranks import ranks_sentence
from cerviclip.report.sentences.settings import words_of
from cerviclip.report.setup import key_of, preparation
from cerviclip.report.study import ON_VAL, Part, Study
from cerviclip.runs.report.costs import HEAD as SEARCH_HEAD
from cerviclip.runs.report.costs import NOTE as SEARCH_NOTE
from cerviclip.runs.report.costs import chosen_settings, search_rows
from cerviclip.runs.report.groups import split_hashes
from cerviclip.runs.settings.run_key import shots_words


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
    if any(run["backbone"] == PHANTOM for run in study.done):
        document.text(
            f"{PHANTOM} is a small CLIP that was pre-trained on rendered phantoms and is shipped "
            "for trying out the software only. Its scores say nothing about a method on a real "
            "backbone."
        )
    document.heading("Title, abstract and introduction")
    document.text(
        f"Title: {blank('name the target condition and the kind of images')}: diagnostic accuracy "
        "of a few-shot vision-language or deep-learning model, with "
        f"{_measures(study)}",
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


def _measures(study: Study) -> str:
    """The measures that the title names; of data sets with and without a positive group both."""
    if not study.binary:
        return "accuracy and AUC of classes"
    others = ", ".join(part.name for part in study.parts if part not in study.binary)
    told = f"sensitivity, specificity and AUC{study.where_binary}"
    return f"{told}, accuracy and AUC of the classes of {others}" if others else told


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
    _cards(document, study)
    _preparation(document, study)
    for part in study.parts:
        _partitions(document, part)
    models(document, study)
    federations(document, study)
    _search(document, study)
    analysis(document, study)
    _provenance(document, study, csv_name)


def _cards(document: Document, study: Study) -> None:
    """A card of each data set and centre; names of classes are explained on the first that has
    them."""
    if any(len(hashes) > 1 for part in all_views(study) for hashes in split_hashes(part.groups)):
        document.text(
            "Runs are of several splits. Numbers on a card and in the data flow are of the run "
            "shown in detail.",
            "source",
        )
    told, done = told_by_source(study), set[str]()
    unseen = {part.shown or part.dataset: new_classes(part.run) for part in all_views(study)}
    for (name, center), source in _sources(study).items():
        classes = [*classes_of(source), *unseen.get(center or name, ())]
        explain = not set(classes) <= done
        shown = center or study.name_of(name)
        card(document, name, source, told.get(center or name), shown, classes, explain)
        done.update(classes)


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


def _sources(study: Study) -> dict[tuple[str, str], Mapping[str, Any] | None]:
    """Registered name, and the centre of a federation, of all that needs a card -> its flow."""
    found: dict[tuple[str, str], Mapping[str, Any] | None] = {}
    for part in all_views(study):
        sources = part.run["flow"].get("sources") or {}
        names = [part.dataset, *(c for c in part.run["centers"] if c not in HOME_PARTS)]
        for name in dict.fromkeys([*sources, *names]):
            key = name, part.shown if name == part.dataset else ""
            if not key[1].startswith(POOLED):  # the cards of its centres are there
                found[key] = sources.get(name) or found.get(key)
    return found


def _preparation(document: Document, study: Study) -> None:
    document.heading("Preparation of images and missing data", "preprocessing", level=2)
    for part in study.parts:
        for sentence in preparation(part):
            document.text(sentence, "preprocessing")
    nameless = bool(nameless_centers(study))
    unknown = (
        " An image without a known patient counts as a patient of its own, which makes intervals "
        "too narrow."
    )
    document.text(
        f"Missing data: an image without a class is not read.{unknown * nameless} "
        "The model gives an output for each readable image, so there are no indeterminate results. "
        + blank("missing or indeterminate reference standards"),
        "missing",
    )


def _partitions(document: Document, part: Part) -> None:
    run, of_centers = part.run, views(part)
    document.heading(f"Partitions of {part.name}", "partition", level=2)
    uses = " ".join(filter(None, [use_of_val_sentence(part), use_of_test_sentence(part)]))
    for view in of_centers:
        told = f"{_at(view)}{split_sentence(view)} {draw_sentence(view)}"
        told += f" {uses}" * (len(of_centers) == 1)
        document.text(told, "partition", "level")
    if len(of_centers) > 1:
        document.text(uses, "partition", "level")
    shares = dict.fromkeys(row[2] for row in prevalence_rows(run["operating_points"]))
    given = f" The results give PPV and NPV at prevalences of {', '.join(shares)} % as well."
    for view in of_centers:
        other = given if shares and view is of_centers[-1] else ""
        told = f"Class imbalance{', ' * bool(view.shown)}{view.shown}: {imbalance_sentence(view)}."
        document.text(f"{told}{other}", "imbalance")
    document.text(
        "Sample size: "
        + blank(
            "how the number of patients was determined; the numbers "
            "that were available are in the data flow"
        ),
        "samplesize",
    )
    for view in of_centers:
        document.text(
            f"{_at(view)}{_hashes(view)}. The split is in split.json of each run.", "partition"
        )


def _at(view: Part) -> str:
    """``clinic_a: `` before what is told of one centre of a federation alone."""
    return f"{view.shown}: " if view.shown else ""


def _hashes(view: Part) -> str:
    """Of the run that the numbers of a data set or centre are of."""
    run = view.run
    draw = "" if members_of(run) else f", draw {run['draw_hash'] or 'none'}"
    which = f"run of {view.label}" if view.shown else f"run shown in detail{in_fold(run)}"
    return f"Hashes (sha256) of the {which}: split {run['split_hash'] or 'none'}{draw}"


def _tried_on_val(part: Part) -> str:
    """That val's accuracy flatters a method whose settings val has chosen; "" for any other."""
    searches = [(run.get("search") or {}).get("choices") or {} for run in part.featured.runs]
    tries = max(found.get("settings", {}).get("tries", 0) for found in searches)
    if not part.why.startswith(ON_VAL) or tries < 2:
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
            f"{shots_words(part.featured.shots)}, of its runs the first (seed {part.run['seed']}"
            f"{in_fold(part.run)}): {part.why}.{ranks_sentence(part)}{_tried_on_val(part)}",
            "selection",
        )
    rows = search_rows([g for part in study.parts for g in part.groups])
    if rows:
        note = f"{SEARCH_NOTE}{_chosen_in_words(study)}"
        document.table(
            "Search budget.", SEARCH_HEAD, rows, "selection", "search", note=note, labels=2,
            texts=[SEARCH_HEAD.index("chosen")],
        )  # fmt: skip
    else:
        document.text("No run has chosen a setting on val.", "selection", "search")
    document.text(
        "Tried before these runs: "
        + blank("settings and methods that were tried and are not among these runs"),
        "search",
    )


def _chosen_in_words(study: Study) -> str:
    """What the settings are that the table of the search calls by their keys; "" for none."""
    told = {
        f"{name} of {run['trainer']}": _without_name(words_of(key_of(run, name)), name)
        for run in study.done
        for name in chosen_settings(run)
    }
    return "".join(f" {name}: {words}." for name, words in told.items())


def _without_name(words: str, name: str) -> str:
    """``weight of the cache``, without the ``(alpha)`` behind it where it explains alpha."""
    symbol = re.escape(f" ({name})")
    return re.sub(symbol, "", words, flags=re.IGNORECASE)


def _provenance(document: Document, study: Study, csv_name: str) -> None:
    document.heading("Software, versions and hashes", "software", level=2)
    versions = [run["runtime"].get("versions") or {} for run in study.done]
    rows = []
    for key in dict.fromkeys(k for v in versions for k in v):
        values = dict.fromkeys(str(v[key]) for v in versions if v.get(key))
        rows.append((key, ", ".join(values) or "-"))
    names = (run["runtime"].get("device_name") for run in study.done if not members_of(run))
    rows.append(("device", ", ".join(dict.fromkeys(str(name or "-") for name in names)) or "-"))
    seconds = [run["runtime"].get("seconds", {}).get("total", 0.0) for run in study.done]
    summed = f"{sum(seconds):.0f} s (sum over the finished runs, each from its start to its files)"
    rows.append(("time of the runs", summed))
    document.table(
        "Software and machine.", ("what", "version or value"), rows, "software", labels=2
    )
    runs_table(document, study, csv_name)
