"""What a table says of centres with few patients, or with patients whom nobody knows: their numbers
and intervals mean little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.evaluation.names import (
    IN_DOMAIN,
    NO_IDS,
    WANTED_EVENTS,
    WANTED_PATIENTS,
    patients_known,
)
from cerviclip.runs.report.groups import Group, fold_of

EVENTS = {"events": "with the event", "non_events": "without it"}
WANTED = (
    f"few patients (fewer than {WANTED_PATIENTS} in all, or fewer than {WANTED_EVENTS} of one "
    "kind: with the event, without it, or of one class)"
)
HINT = "results.json has the intervals"  # where a table has none


def few_notes(groups: Sequence[Group], folds_together: bool = False) -> list[str]:
    """Notes that name each centre without patient ids, and each with fewer patients than wanted.

    Args:
        groups: whose runs a table is of. Of several runs the one with the fewest patients counts.
        folds_together: the test parts of one seed's folds are one test set.
    """
    said, several = [], False
    nameless = _without_ids(groups)
    for center in dict.fromkeys(c for group in groups for c in group.centers):
        together = folds_together and center == IN_DOMAIN
        entries = [e for g in groups for e in _test_sets(g, center, together)]
        fewest = _fewest(entries)
        numbers = few_of(fewest, "image" if center in nameless else "patient")
        if numbers:
            of_folds = center == IN_DOMAIN and not folds_together and any(g.folds for g in groups)
            where = f"{center} (the smallest of the folds)" if of_folds else center
            said.append(f"{where} {', '.join(numbers)}")
            kinds = sum(count for kind, count in fewest.items() if kind)
            several |= kinds > fewest.get("", kinds)
    notes = nameless_notes(groups)
    if not said:
        return notes
    both = "; a patient with images of several kinds counts for each" if several else ""
    return [*notes, f"{WANTED}: {'; '.join(said)}{both}"]


def few_in(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The same notes for scores that are no run's.

    Args:
        entries: a test set's entry, as results.json has it, by the test set's name.
    """
    nameless = [name for name, entry in entries.items() if not patients_known(entry)]
    notes = [f"{', '.join(nameless)}: {NO_IDS}"] if nameless else []
    said = []
    for name, entry in entries.items():
        numbers = few_of(patients_of(entry), "image" if name in nameless else "patient")
        said += [f"{name} {', '.join(numbers)}"] if numbers else []
    return [*notes, f"{WANTED}: {'; '.join(said)}"] if said else notes


def few_patients(entry: Mapping[str, Any]) -> str:
    """``3 patients, 1 with the event``: what a centre has too few of; "" of none."""
    return ", ".join(few_of(patients_of(entry), "patient" if patients_known(entry) else "image"))


def test_of_folds(group: Group) -> dict[str, int]:
    """Kind of patients -> how many were tested, all folds of a seed together."""
    return _fewest(_test_sets(group, IN_DOMAIN, together=True))


def few_in_folds(group: Group) -> str:
    """What the folds of a seed have too few of together; "" of none."""
    known = all(patients_known(run["centers"].get(IN_DOMAIN) or {}) for run in group.runs)
    return ", ".join(few_of(test_of_folds(group), "patient" if known else "image"))


def nameless_notes(groups: Sequence[Group]) -> list[str]:
    """A note that names the centres without patient ids, none where there is none."""
    nameless = _without_ids(groups)
    return [f"{', '.join(nameless)}: {NO_IDS}"] if nameless else []


def _without_ids(groups: Sequence[Group]) -> list[str]:
    """The centres where some run counts each image as a patient."""
    found = [
        center
        for group in groups
        for run in group.runs
        for center, entry in run["centers"].items()
        if entry and not patients_known(entry)
    ]
    return list(dict.fromkeys(found))


def _test_sets(group: Group, center: str, together: bool) -> list[dict[str, int]]:
    """Kind of patients -> how many, of each run; of each seed where its folds are one test set."""
    found: dict[Any, dict[str, int]] = {}
    for i, run in enumerate(group.runs):
        if run["centers"].get(center):
            whole = (run["seed"], fold_of(run["fold"]).repeat)  # each repeat deals all patients
            total = found.setdefault(whole if together and group.folds else i, {})
            for kind, count in patients_of(run["centers"][center]).items():
                total[kind] = total.get(kind, 0) + (count or 0)  # null in an empty centre
    return list(found.values())


def patients_of(entry: Mapping[str, Any]) -> dict[str, int]:
    """Kind -> patients of a centre's entry: all, with and without the event, or of each class.

    Runs of before have the number of all alone.
    """
    out = {"": entry["n_patients"]} if "n_patients" in entry else {}
    counts = entry.get("counts", {})
    kinds = {name: counts[key] for key, name in EVENTS.items() if key in counts}
    kinds = kinds or {f"of {name}": part for name, part in counts.get("per_class", {}).items()}
    return out | {name: part["patients"] for name, part in kinds.items()}


def _fewest(entries: Sequence[Mapping[str, int]]) -> dict[str, int]:
    out: dict[str, int] = {}
    for entry in entries:
        for kind, count in entry.items():
            out[kind] = min(count, out.get(kind, count))
    return out


def few_of(patients: Mapping[str, int], unit: str = "patient") -> list[str]:
    """The numbers of patients that are fewer than wanted, in words.

    Args:
        patients: kind -> how many, as `patients_of` has them.
        unit: what is counted where nobody knows the patients.
    """
    return [
        f"{count} {kind}" if kind else counted(count, unit)
        for kind, count in patients.items()
        if 0 < count < (WANTED_EVENTS if kind else WANTED_PATIENTS)
    ]
