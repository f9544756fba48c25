"""Rules on names, folders, parts, patients and counts."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from cerviclip.counted import some_of
from cerviclip.data.checks.findings import Finding, shown, such_as
from cerviclip.data.checks.survey import WHOLE, Survey
from cerviclip.data.files.folders import same_inner_folders, warn_of_levels
from cerviclip.data.files.masks import warn_of_masks
from cerviclip.data.files.names import is_number, is_text, near_equal, quoted, several_labels
from cerviclip.data.patients import no_names, spelled_alike
from cerviclip.data.split.patient_grouped import Item
from dassl.paths import is_dir

IMBALANCE = 10  # times
FEW_IMAGES = 5


def check_layout(survey: Survey) -> Iterator[Finding]:
    """Findings that need no look into a file."""
    if survey.refused:
        yield Finding("refused", survey.refused)
    for text in survey.said:
        yield Finding("release", text)
    if survey.part_folders:
        yield Finding("part_folders", survey.part_folders)
    yield from _folders(survey)
    yield from _file_names(survey)
    if not survey.unsorted or not survey.entries:
        yield from _class_names(survey)
        yield from _counts(survey)
    yield from _patients(survey)


def _folders(survey: Survey) -> Iterator[Finding]:
    skipped = survey.skipped
    if survey.stray:
        text = f"{such_as(survey.stray)} outside the class folders, which no training reads"
        yield Finding("stray", text, survey.stray)
    empty = sorted(set(skipped.empty))
    if empty:
        yield Finding("empty_class", f"no image in {quoted(map(shown, empty))}", count=len(empty))
    lost = [text for text in skipped.lost() if not text.endswith("(empty)")]
    if lost:
        yield Finding("unread", f"not read: {', '.join(lost)}", count=len(lost))
    for kind, names in (("links", skipped.links), ("system_files", skipped.system)):
        if names:
            yield Finding(kind, ", ".join(map(shown, names[:5])), count=len(names))


def _file_names(survey: Survey) -> Iterator[Finding]:
    paths = [entry.path for entry in survey.entries]
    odd = [path for path in [*paths, *survey.stray] if not is_text(path)]
    if odd:
        yield Finding("file_names", f"{such_as(odd)} whose names are not UTF-8", odd)
    below = [path.split("/", 1)[-1] if survey.below else path for path in paths]
    if text := warn_of_masks(paths):
        yield Finding("masks", text)
    if text := warn_of_levels(below):
        yield Finding("levels", text)
    stems: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        stems[path.rpartition(".")[0].casefold()].append(path)
    twice = [same for same in stems.values() if len(same) > 1]
    if twice:
        pair = " and ".join(map(shown, twice[0][:2]))
        flat = [path for same in twice for path in same]
        text = f"names that differ in capitals or suffix alone: {len(twice)} (such as {pair})"
        yield Finding("same_name", text, flat, len(twice))


def _class_names(survey: Survey) -> Iterator[Finding]:
    names = sorted({entry.classname for entry in survey.entries})
    for group in near_equal(names):
        yield Finding("class_names", f"the classes {quoted(map(shown, group))} are nearly equal")
    if several := several_labels(names):
        text = f"the classes {quoted(map(shown, several[:5]))} are several of the others"
        yield Finding("class_names", text, count=len(several))
    top = [] if survey.below or survey.unsorted else names
    if same := _shared_folders(survey.folder, top):
        text = f"the classes {quoted(map(shown, top[:4]))} hold the same folders"
        yield Finding("class_names", f"{text} ({some_of(same)}), as the parts of a split do")
    numbers = [name for name in names if is_number(name)]
    if numbers:
        text = f"the classes {quoted(numbers[:5])} are numbers: no text prompt can name them"
        yield Finding("number_names", text, count=len(numbers))
    odd = [n for n in names if n != n.strip() or n != unicodedata.normalize("NFC", n)]
    if odd:
        text = f"{quoted(map(shown, odd))}: outer blanks or decomposed letters"
        yield Finding("blank_in_name", text, count=len(odd))


def _shared_folders(folder: Path, names: Sequence[str]) -> list[str]:
    there = all(is_dir(folder / name) for name in names)
    return same_inner_folders(folder, names) if there else []


def _counts(survey: Survey) -> Iterator[Finding]:
    counts = Counter(entry.classname for entry in survey.entries)
    if len(counts) < 2:
        text = f"all images are of one class, {quoted(map(shown, counts))}" if counts else ""
        yield Finding("one_class", text or "there are no images in class folders")
        return
    ranked = counts.most_common()
    (most, high), (least, low) = ranked[0], ranked[-1]
    if high > IMBALANCE * low:
        text = f"{shown(most)} has {high} images and {shown(least)} {low}"
        yield Finding("imbalance", f"{text}: {high / low:.0f} to 1")
    few = [name for name, n in counts.items() if n < FEW_IMAGES]
    if few:
        listed = ", ".join(f"{shown(name)} {counts[name]}" for name in sorted(few))
        yield Finding("few_images", f"fewer than {FEW_IMAGES} images: {listed}", count=len(few))
    have = {part: {e.classname for e in survey.entries if e.part == part} for part in survey.parts}
    for part, names in have.items():
        lacking = sorted(counts.keys() - names)
        if lacking and part != WHOLE:
            text = f"no images of {quoted(map(shown, lacking))} in {part}"
            yield Finding("class_gap", text, count=len(lacking))


def _patients(survey: Survey) -> Iterator[Finding]:
    if not survey.patients_known:
        return
    unknown = [entry.path for entry in survey.entries if not entry.patient]
    if unknown:
        text = f"{such_as(unknown, len(survey.entries))} whose names tell no patient"
        yield Finding("no_patient", text, unknown)
    items = [Item(e.path, 0, e.classname, e.patient) for e in survey.entries if e.patient]
    for text in filter(None, [spelled_alike(items), *no_names(items)]):
        yield Finding("no_patient", text)
    parts: dict[str, set[str]] = defaultdict(set)
    classes: dict[str, set[str]] = defaultdict(set)
    for entry in survey.entries:
        if entry.patient:
            parts[entry.patient].add(entry.part)
            classes[entry.patient].add(entry.classname)
    leaks = sorted(patient for patient, where in parts.items() if len(where) > 1)
    if leaks:
        paths = [e.path for e in survey.entries if e.patient in set(leaks)]
        where = " and ".join(sorted(parts[leaks[0]]))
        text = f"{len(leaks)} of {len(parts)} patients in several parts (such as {leaks[0]} in"
        yield Finding("patient_leak", f"{text} {where})", paths, len(leaks))
    several = sorted(patient for patient, names in classes.items() if len(names) > 1)
    if several:
        names = " and ".join(sorted(map(shown, classes[several[0]])))
        text = f"{len(several)} of {len(parts)} patients (such as {several[0]}: {names})"
        yield Finding("patient_classes", text, count=len(several))
