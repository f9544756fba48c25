"""Which images a method learned from, and how their classes compare with those it was scored on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.report.sentences.classes import plain_name
from cerviclip.report.sentences.ensembles import members_of
from cerviclip.report.sentences.partitions import home_part, unlabelled_images
from cerviclip.report.study import Part
from cerviclip.runs.report.tables import row_labels
from dassl.config import read_yaml
from dassl.paths import is_file


def draw_sentence(part: Part) -> str:
    """Which training images a method learned from."""
    told = []
    shots = {g.shots for g in part.groups}
    if shots - {0, "full"}:
        drawn = [g for g in part.groups if g.shots not in (0, "full") and not g.members]
        seeds = sorted({s for g in drawn for s in g.seeds})
        if files := _draw_files(part):
            told.append(
                f"The images that a method learned from are those that {files} names "
                f"(DATASET.DRAW_FILE); seeds: {', '.join(map(str, seeds))}."
            )
        elif drawn:
            by = part.split.get("shots_by", "class")
            scenario = part.split.get("scenario", "balanced")
            told.append(
                f"Shots were drawn from train by {by} ({scenario}), anew for each seed "
                f"({', '.join(map(str, seeds))})."
            )
    if "full" in shots:
        told.append("With full shots a method learned from all training images, at every seed.")
    if 0 in shots:
        told.append("A zero-shot method learned from no image.")
    return " ".join([*told, *_without_labels(part), *_half_of_the_classes(part)])


def _without_labels(part: Part) -> list[str]:
    """Which methods learned from the rest of train as well, without its labels."""
    labels = row_labels(part.groups)
    found: dict[str, None] = {}
    for group in part.groups:
        path = Path(group.runs[0]["folder"]) / "config.yaml"
        config = read_yaml(path, "config file") if is_file(path) else {}
        own = (config.get("TRAINER") or {}).get(group.trainer.upper()) or {}
        if own.get("WEIGHT_U") and not unlabelled_images(group.runs[0]) and is_drawn(group.runs[0]):
            found[labels[group.row]] = None
    if not found:
        return []
    who = ", ".join(found)
    return [f"{who} learned from the other images of train as well, without their labels."]


def new_classes(run: Mapping[str, Any]) -> list[str]:
    """The classes that a base-to-new run was tested on without having seen them."""
    return list((run.get("base_to_new") or {}).get("new_classes") or ())


def _half_of_the_classes(part: Part) -> list[str]:
    """What base to new is, of which classes."""
    of = part.run.get("base_to_new") or {}
    if not of:
        return []
    base, new = (", ".join(map(plain_name, of[key])) for key in ("base_classes", "new_classes"))
    return [
        f"The methods learned the base classes alone ({base}), and test has images of these. They "
        f"then told apart the classes that they had not seen ({new}), on the test images of these, "
        'which tables call "new".'
    ]


def _draw_files(part: Part) -> str:
    """The split that the run in detail repeats, by its file's name; "" where it drew its own."""
    path = (part.config.get("DATASET") or {}).get("DRAW_FILE")
    return Path(str(path)).name if path else ""


def is_drawn(run: Mapping[str, Any]) -> bool:
    return run["shots"] not in (0, "full")


def imbalance_sentence(part: Part) -> str:
    """How many images of each class the runs learned from, and how the shares of the classes, over
    the runs of the method in detail, differ from those of what it was scored on."""
    run = part.run
    if run["shots"] == 0:
        return "the run shown in detail learned from no image, so no balance was made"
    if not is_drawn(run):
        made = "no balance was made: the classes have the shares of the training part"
    elif part.split.get("scenario", "balanced") == "balanced":
        made = f"the draw takes {_taken(part)}"
    else:
        made = "the draw keeps the classes' shares"
    home = home_part(run)
    learned, scored = (_over_runs(part.featured.runs, name) for name in ("train", home))
    differs = _shares_differ(learned, scored, run["positive_classes"], home)
    folds = part.featured.folds
    over = f"over the {folds} folds, which are all test once, " if folds and differs else ""
    return f"{made}{differs and '; '}{over}{differs}"


def _over_runs(runs: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    """Class -> images of a part, summed over runs."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(_per_class(_used(run).get(name)))
    return dict(total)


def _used(run: Mapping[str, Any]) -> Mapping[str, Any]:
    sources = (run["flow"].get("sources") or {}).values()
    return next((source["used"] for source in sources if source["role"] == "training"), {})


def _per_class(part: Mapping[str, Any] | None) -> dict[str, int]:
    return {name: entry["images"] for name, entry in ((part or {}).get("per_class") or {}).items()}


def _taken(part: Part) -> str:
    """``2 or 8 images of each class``: of all shots; ``5 to 8`` where some class had fewer."""
    found: dict[Any, list[int]] = {}
    for run in (run for group in part.groups for run in group.runs):
        learned = _per_class(_used(run).get("train"))
        if is_drawn(run) and not members_of(run) and learned:
            found.setdefault(run["shots"], []).extend(learned.values())
    if not found:
        return "equally many images of each class, where it has so many"
    spans = [(min(numbers), max(numbers)) for _, numbers in sorted(found.items())]
    told = dict.fromkeys(f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in spans)
    *first, last = told
    words = f"{', '.join(first)} or {last}" if first else last
    shots = ", by the shots of the run" * bool(first)
    unit = "image" if words == "1" else "images"
    fewer = ", fewer where a class or centre has no more" * any(a != b for a, b in spans)
    return f"{words} {unit} of each class{shots}{fewer}"


def _shares_differ(
    learned: Mapping[str, int], scored: Mapping[str, int], positive: Sequence[str], part: str
) -> str:
    """The shares in training and in what was scored, of the positive group or of the class that
    differs most; "" where they are not in the files."""
    if not sum(learned.values()) or not sum(scored.values()):
        return ""
    names = dict.fromkeys([*learned, *scored])
    shares = {name: _percents([name], learned, scored) for name in names}
    most = max(names, key=lambda name: abs(shares[name][0] - shares[name][1]))
    if _same(*shares[most]):
        return f"every class has the same share of the images in training and in {part}"
    told = f"{plain_name(most)} is {_shown(shares[most])} % in {part}"
    if not positive:
        return f"the share of a class differs by at most this: {told}"
    of_group = _percents(positive, learned, scored)
    group = (
        f"the positive group has the same share of the images in training and in {part} "
        f"({of_group[0]:.1f} %)"
        if _same(*of_group)
        else f"the positive group is {_shown(of_group)} % in {part}"
    )
    return f"{group}; the class whose share differs most: {told}"


def _same(first: float, second: float) -> bool:
    """Whether two shares are printed alike."""
    return f"{first:.1f}" == f"{second:.1f}"


def _shown(shares: tuple[float, float]) -> str:
    return f"{shares[0]:.1f} % of the images in training and {shares[1]:.1f}"


def _percents(
    names: Sequence[str], learned: Mapping[str, int], scored: Mapping[str, int]
) -> tuple[float, float]:
    first, second = (
        100 * sum(of.get(name, 0) for name in names) / sum(of.values()) for of in (learned, scored)
    )
    return first, second
