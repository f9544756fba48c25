"""Whom an image is of, by its file name; and images that belong together without a name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from cerviclip.counted import counted
from cerviclip.data.files.names import near_equal, near_equal_numbers, quoted
from cerviclip.data.split.patient_grouped import Item
from cerviclip.data.variants.names import original_of
from dassl.errors import UserError

STEM = "stem"  # PATIENT_PATTERN that makes each file a patient of its own
_ENOUGH = 10  # images from which a pattern's patients are judged
_NOBODY = {"-", "--", "?", "na", "n/a", "none", "null", "unknown", "unk", "unbekannt", "missing"}
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")  # what a spreadsheet makes of long numbers


class PatientPatternError(UserError):
    """File names do not tell the patient by the pattern in use."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """``DATASET.PATIENT_PATTERN`` as a regex with one group."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f'DATASET.PATIENT_PATTERN "{pattern}" is no valid regex ({error})'
        ) from error
    if regex.groups != 1:
        raise UserError(
            f'DATASET.PATIENT_PATTERN "{pattern}" must have exactly one group in brackets '
            f"(it has {regex.groups}), such as P(\\d{{7}})"
        )
    return regex


def patient_in(regex: re.Pattern[str], path: str, above: int = 1) -> str:
    """The group's text in the file name, else in the folders between class and file; of a variant
    in its original's.

    Args:
        regex: with one group.
        path: relative to the image folder.
        above: folders that tell no patient, those of part and class.
    """
    path = original_of(path)
    below = path.split("/", above)[-1] if path.count("/") >= above else path.rpartition("/")[2]
    match = regex.search(path.rpartition("/")[2]) or regex.search(below)
    return (match.group(1) or "") if match else ""


def crops_with_their_fields(paths: Sequence[str]) -> dict[str, str]:
    """For crops in a folder below their field of view, ``x/CROPPED/000_01`` of ``x/000``, that
    field; both without suffix."""
    stems = {path.rpartition(".")[0] for path in paths}
    found = {}
    for stem in stems:
        folder, _, name = stem.rpartition("/")
        outer = folder.rpartition("/")[0]
        while outer:
            for cut in (match.start() for match in re.finditer(r"[_\-. (]", name)):
                if f"{outer}/{name[:cut]}" in stems:
                    found[stem] = f"{outer}/{name[:cut]}"
            outer = outer.rpartition("/")[0]
    return found


def judge_patients(items: Sequence[Item], paths: Sequence[str], pattern: str) -> list[str]:
    """What to warn of in the patients that a pattern finds.

    Args:
        items: images with their patients.
        paths: of the items from the class folder on; () where classes have no folders.
        pattern: the user's own.
    """
    patients = Counter(item.patient for item in items)
    if len(items) < _ENOUGH or pattern in ("", STEM):
        return []
    first = ", ".join(sorted(patients)[:3])
    number = counted(len(patients), "patient")
    told = f'{number} in {len(items)} images by the pattern "{pattern}" ({first})'
    if len(patients) == 1:
        return [f"{told}: all images are one patient's"]
    if paths and _frames_taken(items, paths):
        return [
            f"{told}: the files of one folder are patients of their own; does the pattern take the "
            "frame's number? A folder's name is asked where file names do not match"
        ]
    return [f"{told}: {text}" for text in _numbered_by_class(items, patients)]


def spelled_alike(items: Sequence[Item]) -> str:
    """A sentence on patients whose names differ as one name does in two spellings; "" if there are
    none."""
    names = {item.patient for item in items}
    groups = [*near_equal(names), *near_equal_numbers(names)]
    if not groups:
        return ""
    return (
        f"{len(groups)} groups of patients differ only in capitals, blanks, dashes or leading "
        f"zeros (such as {quoted(groups[0])}) and are kept apart; if they are one person, write "
        "the name in one way, or she may be in two parts"
    )


def no_names(items: Sequence[Item]) -> list[str]:
    """Sentences on patients whose names are none: words for nobody, numbers cut short."""
    said = []
    patients = Counter(item.patient for item in items)
    nobody = [name for name in patients if name.casefold() in _NOBODY]
    if nobody:
        said.append(
            f"{sum(patients[name] for name in nobody)} images are of the patient {quoted(nobody)}, "
            "which is taken for one person; if it means that nobody knows whose they are, they may "
            "be of patients in other parts"
        )
    short = [name for name in patients if _SHORTENED.fullmatch(name)]
    if short:
        said.append(
            f"{len(short)} patients have names such as {short[0]}, as a spreadsheet shortens long "
            "numbers, and several people may have one; save the column as text"
        )
    return said


def alone(items: Sequence[Item], pattern: str) -> str:
    """A remark where a pattern makes nearly every image a patient of its own, as may well be."""
    patients = len({item.patient for item in items})
    if pattern in ("", STEM) or len(items) < _ENOUGH or patients < 0.95 * len(items):
        return ""
    return (
        f'{patients} patients in {len(items)} images by the pattern "{pattern}": nearly every '
        "image is a patient of its own; is that so?"
    )


def _frames_taken(items: Sequence[Item], paths: Sequence[str]) -> bool:
    """Whether folders below the classes hold several images, each another patient's."""
    folders: dict[str, list[str]] = defaultdict(list)
    for item, path in zip(items, paths, strict=True):
        folder = path.rpartition("/")[0]
        if folder.count("/") >= 1:
            folders[folder].append(item.patient)
    several = [found for found in folders.values() if len(found) > 1]
    apart = [found for found in several if len(set(found)) == len(found)]
    shared = Counter(patient for found in several for patient in set(found))
    return len(apart) > 0.9 * len(several) > 0 and max(shared.values()) > 1


def _numbered_by_class(items: Sequence[Item], patients: Mapping[str, int]) -> list[str]:
    """A warning where short numbers recur in most classes, as numbers that start anew do."""
    classes: dict[str, set[str]] = defaultdict(set)
    for item in items:
        classes[item.patient].add(item.classname)
    short = all(re.fullmatch(r"\d{1,4}", patient) for patient in patients)
    several = sum(len(names) > 1 for names in classes.values())
    if not short or several < 0.8 * len(patients):
        return []
    return [
        f"{several} of them have images in several classes; if the numbers start anew in each "
        "class, set DATASET.PATIENT_PER_CLASS True"
    ]
