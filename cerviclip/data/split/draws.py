"""Few-shot draws in three scenarios: how many images each class gives to a training.

``balanced`` gives K images of each class. The other two give as many images in all, K times the
number of classes C, and take the classes as often as they come: ``natural`` with at least one image
of each class, ``natural_missing`` as chance has it, so that rare classes may be missing. This is
what somebody has who labels the next K x C images of a clinic.

Every draw is the head of one order of the images, so a draw of fewer shots is part of one of more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from cerviclip.data.split.patient_grouped import Item, draw_shots, hash_order, patients_in_turn
from dassl.errors import UserError

BALANCED, NATURAL, MISSING = "balanced", "natural", "natural_missing"
SCENARIOS = (BALANCED, NATURAL, MISSING)


def check_scenario(scenario: str) -> str:
    """The name of a scenario, if it is one."""
    if scenario not in SCENARIOS:
        raise UserError(
            f'DATASET.SHOTS_SCENARIO is "{scenario}"; it takes {", ".join(SCENARIOS[:2])} or '
            f"{SCENARIOS[2]}"
        )
    return scenario


def draw(
    items: Sequence[Item],
    shots: int,
    dataset: str,
    split: str,
    seed: int,
    by: str = "class",
    scenario: str = BALANCED,
) -> tuple[list[Item], dict[str, int]]:
    """Draw images by a scenario.

    Args:
        items: one part of a split.
        shots: K, images per class (of ``natural`` scenarios on average); below 0 all.
        dataset: name of the data set.
        split: the split's hash.
        seed: another seed gives another draw.
        by: "patient" takes distinct patients while there are enough; "class" takes no account.
        scenario: one of ``SCENARIOS``.

    Returns:
        The images class by class, and the classes that have fewer than were wanted of them with
        the numbers that they have.
    """
    if scenario == BALANCED or shots < 0:
        return draw_shots(items, shots, dataset, split, seed, by)
    members = {item.path: item for item in items}
    order = hash_order(members, "shots", dataset, split, seed, scenario)
    if by == "patient":
        order = patients_in_turn(order, members)
    if scenario == NATURAL:
        order = _by_prevalence(order, members)
    wanted = shots * len({item.label for item in items})
    drawn = sorted(order[:wanted], key=lambda path: members[path].label)  # stable: in their order
    counts = Counter(item.classname for item in items)
    short = dict(counts) if len(order) < wanted else {}
    return [members[path] for path in drawn], short


def missing_classes(items: Sequence[Item], drawn: Sequence[Item]) -> list[str]:
    """The classes that a draw has no image of."""
    return sorted({i.classname for i in items} - {i.classname for i in drawn})


def _by_prevalence(order: Sequence[str], members: Mapping[str, Item]) -> list[str]:
    """An order whose every head holds the classes as often as the whole, each at least once.

    One image of each class comes first. After that, the class comes next whose share of the head is
    furthest below its share of the whole.
    """
    waiting: dict[int, list[str]] = defaultdict(list)
    for path in reversed(order):
        waiting[members[path].label].append(path)  # the next one is the last of the list
    share = {label: len(paths) / len(order) for label, paths in waiting.items()}
    out = [waiting[label].pop() for label in sorted(waiting)]
    given = Counter(waiting.keys())
    while len(out) < len(order):
        label = max(
            (label for label in sorted(waiting) if waiting[label]),
            key=lambda label: share[label] * (len(out) + 1) - given[label],
        )
        out.append(waiting[label].pop())
        given[label] += 1
    return out
