"""Patient-grouped splits and few-shot draws, as pure functions.

Nothing here touches a global random generator or depends on the order of its input: every order is
that of sha256 hashes of names, so a split is the same on every machine and for every listing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cerviclip.data.variants.names import original_of
from dassl.errors import UserError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One image of a data set.

    Attributes:
        path: relative to the image folder, with forward slashes.
        label: class label from 0.
        classname: name of the class.
        patient: whom the image is of.
    """

    path: str
    label: int
    classname: str
    patient: str


Split = dict[str, list[Item]]


def hash_of(value: Any) -> str:
    """sha256 in hex of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_order(names: Iterable[str], *key: Any) -> list[str]:
    """Names in an order that looks random and depends on the names and ``key`` alone."""
    prefix = "\x1f".join(str(part) for part in key)
    return sorted(names, key=lambda name: (_sha(f"{prefix}\x1f{name}"), name))


def _sha(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def check_ratio(ratio: Sequence[float]) -> tuple[float, float, float]:
    """The shares of train, val and test, made to add up to one."""
    if len(ratio) != 3 or any(share < 0 for share in ratio) or sum(ratio) <= 0:
        raise UserError(
            f"DATASET.SPLIT_RATIO {tuple(ratio)} must be three shares (train, val, test) of 0 or "
            "more, such as (0.45, 0.15, 0.40)"
        )
    total = sum(ratio)
    train, val, test = (share / total for share in ratio)
    return train, val, test


def split_by_ratio(
    items: Sequence[Item], ratio: Sequence[float], seed: int, by: str = "patient"
) -> Split:
    """Split items into train, val and test, class by class, keeping each patient in one part.

    A patient with images of several classes is counted with the class of most of them. Within a
    class every part with a share above zero gets a patient as long as there are enough (train
    first, then test, then val), and the others go where most images are wanting.

    Args:
        items: all images.
        ratio: shares of train, val and test.
        seed: another seed gives another split.
        by: "patient", or "image" to let each image (with its variants) go its own way.
    """
    shares = dict(zip(PARTS, check_ratio(ratio), strict=True))
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[unit_of(item, by)].append(item)

    strata: dict[str, list[str]] = defaultdict(list)
    for key, members in groups.items():
        strata[main_class(members)].append(key)

    totals = Counter(item.classname for item in items)
    missing = {
        part: {name: share * total for name, total in totals.items()}
        for part, share in shares.items()
        if share > 0
    }
    first = [part for part in ("train", "test", "val") if part in missing]
    split: Split = {part: [] for part in PARTS}
    for classname in sorted(strata):
        order = hash_order(strata[classname], "split", seed, classname)
        for position, key in enumerate(order):
            counts = Counter(item.classname for item in groups[key])
            part = first[position] if position < len(first) else _neediest(missing, counts)
            split[part] += groups[key]
            for name, count in counts.items():
                missing[part][name] -= count
    return {part: sorted(members, key=lambda i: i.path) for part, members in split.items()}


def unit_of(item: Item, by: str) -> str:
    """What goes into a part as one: a patient, or an image with its variants."""
    return item.patient if by == "patient" else original_of(item.path)


def main_class(members: Sequence[Item]) -> str:
    """The class of most of a patient's images; of equally many the first by name."""
    counts = Counter(item.classname for item in members)
    return min(counts, key=lambda name: (-counts[name], name))


def _neediest(missing: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> str:
    """The part that wants images of a patient's classes most; on equal terms the earlier one."""
    return max(
        missing,
        key=lambda part: (
            sum(count * missing[part][name] for name, count in counts.items()),
            -PARTS.index(part),
        ),
    )


def patients_on_two_parts(split: Mapping[str, Sequence[Item]]) -> dict[str, list[str]]:
    """Patients that are in more than one part of a split, with the parts."""
    parts: dict[str, list[str]] = defaultdict(list)
    for part in PARTS:
        for patient in sorted({item.patient for item in split.get(part, ())}):
            parts[patient].append(part)
    return {patient: where for patient, where in parts.items() if len(where) > 1}


def split_hash(dataset: str, version: str, split: Mapping[str, Sequence[Item]]) -> str:
    """Hash of who is where: equal for equal content, whichever way the split was made."""
    content = {
        part: sorted([item.path, item.classname, item.patient] for item in split.get(part, ()))
        for part in PARTS
    }
    return hash_of({"dataset": dataset, "version": version, **content})


def in_order(items: Sequence[Item]) -> list[Item]:
    """By their paths."""
    return sorted(items, key=lambda item: item.path)


def draw_shots(
    items: Sequence[Item], shots: int, dataset: str, split: str, seed: int, by: str = "class"
) -> tuple[list[Item], dict[str, int]]:
    """Draw ``shots`` images of each class.

    The draw for a class is the head of one order of its images, so that 2 shots are among the 4.

    Args:
        items: one part of a split.
        shots: images per class; below 0 all, in order of their paths.
        dataset: name of the data set.
        split: the split's hash.
        seed: another seed gives another draw.
        by: "patient" takes the second image of a patient's class when each patient of the class has
            given one, the third after the second, and so on; "class" takes no account of patients.

    Returns:
        The images class by class, and the classes that have fewer with their numbers of images.
    """
    if shots < 0:
        return in_order(items), {}
    drawn: list[Item] = []
    short: dict[str, int] = {}
    by_label: dict[int, dict[str, Item]] = defaultdict(dict)
    for item in items:
        by_label[item.label][item.path] = item
    for label in sorted(by_label):
        members = by_label[label]
        classname = next(iter(members.values())).classname
        order = hash_order(members, "shots", dataset, split, seed, classname)
        if by == "patient":
            order = patients_in_turn(order, members)
        drawn += [members[path] for path in order[:shots]]
        if len(members) < shots:
            short[classname] = len(members)
    return drawn, short


def patients_in_turn(order: Sequence[str], members: Mapping[str, Item]) -> list[str]:
    """The first image of each patient in this order, then the second of each, and so on."""
    given: Counter[str] = Counter()
    turns: dict[int, list[str]] = defaultdict(list)
    for path in order:
        patient = members[path].patient
        turns[given[patient]].append(path)
        given[patient] += 1
    return [path for turn in sorted(turns) for path in turns[turn]]
