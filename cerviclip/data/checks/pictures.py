"""Rules on single images: what cannot be read, says nothing, or is unlike the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cerviclip.data.checks.findings import Finding, such_as
from cerviclip.data.checks.probe import Probe
from cerviclip.data.checks.survey import Survey
from cerviclip.data.images.profiles import unlike_profiles
from dassl.formats import FORMATS

TINY = 32  # px, shorter edge
MASK_LEVELS = 8  # gray values
THIN = 8  # times as long as wide
ODD_SIZE = 16  # times the median number of pixels, or that part of it
BLANK = 1.0  # standard deviation of grey values of 0-255
SATURATED = 0.9  # share of pixels
FEW = 0.1  # a mode of fewer images is an exception
_SYSTEMATIC = 3  # at least so many images have a margin of the same height
_ENOUGH = 10  # images of one size, mode or format from which its classes are asked
_TELLS = 0.5  # share of the errors of guessing the largest class that a property takes away


def check_pictures(survey: Survey, probes: Sequence[Probe]) -> Iterator[Finding]:
    """Findings on the images one by one, and against the run of them."""
    broken: dict[str, list[Probe]] = defaultdict(list)
    for p in probes:
        if p.error:
            broken[p.error].append(p)
    for kind, some in broken.items():
        paths = [p.path for p in some]
        text = "" if kind == "empty_file" else f": {some[0].why}"
        yield Finding(kind, f"{such_as(paths, len(probes))}{text}", paths)
    read = [p for p in probes if not p.error]
    yield from _alone(read)
    yield from _lost_rows(read)
    yield from _against_the_others(read)
    yield from _told_by_file(survey, read)


def _alone(read: Sequence[Probe]) -> Iterator[Finding]:
    """What one image shows by itself."""
    looks: list[tuple[str, str, Callable[[Probe], bool]]] = [
        ("blank", "hardly more than one gray", lambda p: p.contrast < BLANK),
        (
            "saturated",
            f"more than {SATURATED:.0%} of their pixels at white or black",
            lambda p: (
                p.contrast >= BLANK and not _mask_like(p) and max(p.white, p.black) > SATURATED
            ),
        ),
        ("mask_like", f"no more than {MASK_LEVELS} gray values, as masks have", _mask_like),
        ("tiny", f"a shorter edge below {TINY} px", lambda p: min(p.size) < TINY),
        ("thin", f"edges of more than 1 to {THIN}", lambda p: max(p.size) > THIN * min(p.size)),
        ("transparent", "transparent pixels; they are laid over black", lambda p: p.transparent),
        ("orientation", "an EXIF orientation that turns them", lambda p: p.orientation > 1),
        ("frames", "several pages or frames; the first is read", lambda p: p.frames > 1),
    ]
    for kind, what, fits in looks:
        paths = [p.path for p in read if fits(p)]
        if paths:
            yield Finding(kind, f"{such_as(paths, len(read))} with {what}", paths)
    lying = [p for p in read if _suffix(p) not in FORMATS.get(p.format, (_suffix(p),))]
    if lying:
        paths = [p.path for p in lying]
        text = f"{such_as(paths, len(read))} whose suffix is not that of their format"
        yield Finding("suffix", f"{text} ({lying[0].format})", paths)


def _lost_rows(read: Sequence[Probe]) -> Iterator[Finding]:
    """Cut JPEGs. Where many whole files have equally many such rows, something lies there."""
    rows = Counter(p.lost_rows for p in read if p.lost_rows)
    many = max(_SYSTEMATIC, FEW * len(read))
    lost = [p for p in read if p.lacks_data or 0 < rows[p.lost_rows] < many]
    if lost:
        anew = sum(not p.lacks_data for p in lost)
        text = "lowest rows of the gray that stands for lost data: cut JPEGs"
        text += f", {anew} of them saved anew; look at them" * bool(anew)
        paths = [p.path for p in lost]
        yield Finding("lost_rows", f"{such_as(paths, len(read))} with {text}", paths)


def _against_the_others(read: Sequence[Probe]) -> Iterator[Finding]:
    """Images that are unlike the others in depth, mode or number of pixels."""
    if not read:
        return
    depths = Counter(p.bits for p in read)
    if len(depths) > 1:
        usual = depths.most_common(1)[0][0]
        paths = [p.path for p in read if p.bits != usual]
        counts = ", ".join(f"{n} of {bits} bits" for bits, n in depths.most_common())
        yield Finding("bit_depth", f"images of unlike depth: {counts}", paths)
    modes = Counter(p.mode for p in read)
    rare = {mode for mode, n in modes.items() if n <= FEW * len(read)}
    paths = [p.path for p in read if p.mode in rare]
    if paths:
        counts = ", ".join(f"{mode} {n}" for mode, n in modes.most_common())
        yield Finding("modes", f"a few images of another mode: {counts}", paths)
    if text := unlike_profiles(p.profile for p in read):
        usual_profile = Counter(p.profile for p in read).most_common(1)[0][0]
        paths = [p.path for p in read if p.profile != usual_profile]
        yield Finding("profiles", f"images of {text}", paths)
    area = {p.path: p.size[0] * p.size[1] for p in read}
    middle = float(np.median(list(area.values())))
    odd = [path for path, n in area.items() if n > ODD_SIZE * middle or n * ODD_SIZE < middle]
    if odd:
        text = f"{such_as(odd, len(read))} with more than {ODD_SIZE} times the median number of"
        yield Finding("odd_size", f"{text} pixels, or less than 1/{ODD_SIZE} of it", odd)


def _told_by_file(survey: Survey, read: Sequence[Probe]) -> Iterator[Finding]:
    """Where size, mode or format alone tells much of the class, a model may learn that instead."""
    class_of = {entry.path: entry.classname for entry in survey.entries}
    known = [p for p in read if p.path in class_of]
    properties: dict[str, Callable[[Probe], object]] = {
        "size": lambda p: f"{p.size[0]}x{p.size[1]} px",
        "mode": lambda p: p.mode,
        "format": lambda p: p.format,
    }
    for what, of in properties.items():
        groups: dict[object, Counter[str]] = defaultdict(Counter)
        for p in known:
            groups[of(p)][class_of[p.path]] += 1
        groups = {value: n for value, n in groups.items() if n.total() >= _ENOUGH}
        total = sum((counts for counts in groups.values()), Counter[str]())
        if len(groups) < 2 or total.total() < 0.5 * len(known):
            continue
        chance = max(total.values()) / total.total()
        guessed = sum(max(counts.values()) for counts in groups.values()) / total.total()
        if guessed - chance > _TELLS * (1 - chance):
            value, counts = max(groups.items(), key=lambda pair: max(pair[1].values()))
            name, n = counts.most_common(1)[0]
            yield Finding(
                "told_by_file",
                f"the {what} alone tells the class of {guessed:.0%} of the images ({chance:.0%} by "
                f"guessing the largest class): of {counts.total()} images of {what} {value} {n} "
                f"are {name}",
                count=total.total(),
            )


def _mask_like(p: Probe) -> bool:
    return p.levels <= MASK_LEVELS and p.contrast >= BLANK


def _suffix(probe: Probe) -> str:
    return probe.path.rpartition(".")[2].lower()
