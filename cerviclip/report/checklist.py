"""Which item of three guidelines stands where in a report. The wording of the items is our own.

STARD-AI: Nature Medicine 2025, 10.1038/s41591-025-03953-8. TRIPOD+AI: BMJ 2024, e078378. CLAIM:
Radiology: Artificial Intelligence 2024, e240300. Submit a journal's official form; this one finds
the places. docs/report.md says which numbers were compared with public copies of the guidelines,
and which (20a of TRIPOD+AI, 1 to 3 of CLAIM) were not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cerviclip.report.document import BLANK, Block, Document, Figure, Heading, Table

FILLED, PARTLY, AUTHORS, ABSENT = "filled", "partly; blanks left", "authors", "not in the report"

# Number, what is asked for in our words, topics of the report's blocks that answer it.
Row = tuple[str, str, str]
STARD_AI: Sequence[Row] = (
    ("1", "title or abstract names an AI accuracy study and a measure", "title"),
    ("2", "structured abstract", "abstract"),
    ("3", "background, intended use, place in the workflow", "background"),
    ("4", "objectives and hypotheses", "objectives"),
    ("5", "prospective or retrospective", "design"),
    ("6", "ethics approval", "ethics"),
    ("7", "criteria for patients and for data", "eligibility exclusions"),
    ("8", "how patients were found", "eligibility"),
    ("9", "setting, places, dates", "setting"),
    ("10", "consecutive, random or convenience series", "eligibility"),
    ("11", "source of the data", "source datacard"),
    ("12", "who annotated, and how", "annotation"),
    ("13", "devices, and software with version", "acquisition software"),
    ("14", "acquisition and preprocessing", "acquisition preprocessing"),
    ("15a", "index test, to be repeated", "model training specification"),
    ("15b", "training, validation, test, external; sizes", "partition training numbers"),
    ("15c", "cut-offs of the index test and why", "thresholds"),
    ("15d", "users and their expertise", "users"),
    ("16a", "reference standard", "reference"),
    ("16b", "why this reference standard", "reference"),
    ("16c", "its cut-offs", "reference"),
    ("17a", "what was known when the index test was read", "blinding"),
    ("17b", "what was known when the reference was read", "blinding"),
    ("18", "statistical methods", "metrics statistics"),
    ("19", "indeterminate results", "missing"),
    ("20", "missing data", "missing"),
    ("21", "analyses of variability", "variability"),
    ("22", "intended sample size", "samplesize"),
    ("23", "error analysis, bias and fairness", "fairness failures"),
    ("24", "flow diagram", "flow"),
    ("25", "characteristics of each part", "baseline numbers"),
    ("26a", "severity of disease", "severity"),
    ("26b", "other diagnoses", "severity alternatives"),
    ("27", "time between index test and reference", "interval"),
    ("28", "how representative the test set is", "representativeness"),
    ("29", "how external sets differ", "external gap"),
    ("30", "cross-tabulation or distribution of results", "crosstab"),
    ("31", "accuracy with intervals", "accuracy"),
    ("32", "adverse events", "adverse"),
    ("33", "limitations", "limitations"),
    ("34", "implications for practice", "implications"),
    ("35", "ethics and fairness of use", "fairuse"),
    ("36", "registration", "registration"),
    ("37", "protocol", "protocol"),
    ("38", "funding", "funding"),
    ("39", "commercial interests", "interests"),
    ("40a", "availability of data and code", "availability"),
    ("40b", "outputs stored and auditable", "audit"),
)
TRIPOD_AI: Sequence[Row] = (
    ("1", "title: development or evaluation, population, outcome", "title"),
    ("2", "abstract", "abstract"),
    ("3a", "context and reasons for the model", "background"),
    ("3b", "population, place in care, users", "background"),
    ("3c", "known inequalities", "background"),
    ("4", "objectives", "objectives"),
    ("5a", "sources of data for development and evaluation", "source datacard"),
    ("5b", "dates of the data", "setting"),
    ("6a", "setting, number and place of centres", "setting flow"),
    ("6b", "eligibility", "eligibility"),
    ("6c", "treatments", "treatments"),
    ("7", "preparation and quality of the data", "preprocessing"),
    ("8a", "outcome: definition and time", "reference"),
    ("8b", "assessors of a subjective outcome", "annotation"),
    ("8c", "blinded assessment of the outcome", "blinding"),
    ("9a", "choice of predictors", "model preprocessing"),
    ("9b", "definition of predictors, blinding", "acquisition blinding"),
    ("9c", "assessors of subjective predictors", "acquisition"),
    ("10", "study size", "samplesize"),
    ("11", "missing data", "missing"),
    ("12a", "how data were used and partitioned", "partition level"),
    ("12b", "how predictors were handled", "preprocessing"),
    ("12c", "type of model, building, tuning, internal validation", "model training search"),
    ("12d", "heterogeneity between clusters", "heterogeneity"),
    ("12e", "measures and plots of performance", "metrics statistics"),
    ("12f", "updating of the model (recalibration)", "calibration"),
    ("12g", "how predictions were made in evaluation", "output specification"),
    ("13", "class imbalance", "imbalance"),
    ("14", "fairness", "fairness"),
    ("15", "output: probabilities, classes, thresholds", "output thresholds"),
    ("16", "development against evaluation data", "external gap"),
    ("17", "ethics approval", "ethics"),
    ("18a", "funding", "funding"),
    ("18b", "conflicts of interest", "interests"),
    ("18c", "protocol", "protocol"),
    ("18d", "registration", "registration"),
    ("18e", "sharing of data", "availability"),
    ("18f", "sharing of code", "availability software"),
    ("19", "patient and public involvement", "involvement"),
    ("20a", "flow of participants", "flow"),
    ("20b", "characteristics by centre", "baseline numbers"),
    ("20c", "development beside evaluation: predictors and outcome", "numbers external"),
    ("21", "participants and events in each analysis", "numbers"),
    ("22", "the full model, so that others can predict", "specification availability"),
    ("23a", "performance with intervals, subgroups", "accuracy calibration points"),
    ("23b", "heterogeneity of performance", "heterogeneity"),
    ("24", "results of updating", "calibration"),
    ("25", "interpretation", "interpretation"),
    ("26", "limitations", "limitations"),
    ("27a", "input of poor quality in use", "implications"),
    ("27b", "what users must do and know", "implications users"),
    ("27c", "next steps", "implications"),
)
CLAIM: Sequence[Row] = (
    ("1", "title names AI and its kind", "title"),
    ("2", "structured summary", "abstract"),
    ("3", "background, intended use", "background"),
    ("4", "aims and hypotheses", "objectives"),
    ("5", "prospective or retrospective", "design"),
    ("6", "goal of the study", "design objectives"),
    ("7", "sources of data", "source datacard"),
    ("8", "inclusion and exclusion", "eligibility exclusions"),
    ("9", "preprocessing", "preprocessing"),
    ("10", "selection of subsets", "partition"),
    ("11", "de-identification", "deidentification"),
    ("12", "missing data", "missing"),
    ("13", "acquisition protocol", "acquisition"),
    ("14", "definition of the reference standard", "reference"),
    ("15", "why this reference standard", "reference"),
    ("16", "source of annotations", "annotation"),
    ("17", "annotation of the test set", "annotation"),
    ("18", "variability of readers", "annotation"),
    ("19", "how data were assigned to partitions", "partition"),
    ("20", "level at which partitions are disjoint", "level"),
    ("21", "intended sample size", "samplesize"),
    ("22", "description of the model", "model output"),
    ("23", "software and frameworks", "software"),
    ("24", "initialisation of parameters", "init"),
    ("25", "training", "training"),
    ("26", "how the final model was chosen", "selection search"),
    ("27", "ensembling", "ensemble"),
    ("28", "metrics", "metrics"),
    ("29", "statistics and uncertainty", "statistics"),
    ("30", "robustness", "robustness"),
    ("31", "explainability", "explain"),
    ("32", "internal test", "accuracy"),
    ("33", "external test", "external gap"),
    ("34", "registration", "registration"),
    ("35", "flow of included and excluded", "flow exclusions"),
    ("36", "characteristics of each partition", "baseline numbers"),
    ("37", "performance on each partition", "accuracy"),
    ("38", "accuracy with its precision", "accuracy points"),
    ("39", "failure analysis", "failures"),
    ("40", "limitations", "limitations"),
    ("41", "implications for practice", "implications"),
    ("42", "full protocol", "protocol"),
    ("43", "availability of software, model and data", "availability software"),
    ("44", "funding", "funding"),
)
GUIDELINES = {"STARD-AI (2025)": STARD_AI, "TRIPOD+AI (2024)": TRIPOD_AI, "CLAIM (2024)": CLAIM}


@dataclass(frozen=True)
class Item:
    """One item of a guideline, and where it stands."""

    guideline: str
    number: str
    asked: str
    state: str
    places: str


def items_of(document: Document) -> Iterator[Item]:
    """Each item with its state and places in a report."""
    placed = list(_placed(document))
    for guideline, rows in GUIDELINES.items():
        for number, asked, topics in rows:
            wanted = set(topics.split())
            found = [(place, block) for place, block in placed if wanted & set(block.topics)]
            texts = [(place, block) for place, block in found if not isinstance(block, Heading)]
            places = ", ".join(dict.fromkeys(place for place, _ in texts)) or "-"
            yield Item(guideline, number, asked, _state([b for _, b in texts]), places)


def _placed(document: Document) -> Iterator[tuple[str, Block]]:
    section = "0"
    for block in document.blocks:
        if isinstance(block, Heading):
            section = block.number
        place = f"section {section}"
        if isinstance(block, Table):
            place = f"table {block.number}"
        elif isinstance(block, Figure):
            place = f"figure {block.number}"
        yield place, block


def _state(blocks: Sequence[Block]) -> str:
    """From the blocks that answer an item: all filled, some with blanks, or blanks alone."""
    if not blocks:
        return ABSENT
    if not any(BLANK.search(block.words) for block in blocks):
        return FILLED
    return PARTLY if any(_says_something(block) for block in blocks) else AUTHORS


def _says_something(block: Block) -> bool:
    """Whether more than a short title stands around the blanks."""
    return len(BLANK.sub("", block.words).split()) > 8


def write_checklist(document: Document, path: Path, report: str) -> None:
    """Write the three tables in Markdown, whole or not at all."""
    from dassl.utils.files import atomic_write

    found = list(items_of(document))
    lines = [
        f"# Checklist for {report}",
        "",
        "Items in our own short words, by the numbers of the guidelines. "
        f"`{FILLED}`: from the runs' files; read it all the same. `{AUTHORS}`: a marked blank. "
        "A journal asks for the official form; docs/report.md says how far numbers were checked.",
    ]
    for guideline in GUIDELINES:
        own = [item for item in found if item.guideline == guideline]
        counts = {s: sum(i.state == s for i in own) for s in (FILLED, PARTLY, AUTHORS, ABSENT)}
        summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        lines += ["", f"## {guideline}", "", f"{len(own)} items: {summary}.", ""]
        lines += ["| item | asks for | state | where |", "|---|---|---|---|"]
        lines += [f"| {i.number} | {i.asked} | {i.state} | {i.places} |" for i in own]
    with atomic_write(path) as handle:
        handle.write("\n".join([*lines, ""]))
