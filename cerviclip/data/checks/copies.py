"""Rules on images that are there twice: the same bytes, the same pixels, nearly the same picture.

Two pictures are nearly the same if the perceptual hash (imagehash's ``phash``) of one is within
`DISTANCE` bits of that of the other in any turn or mirroring, and their small grey pictures
correlate above `CORRELATION`. Images of one patient in one part are often alike, as the frames of a
scan are; they are no finding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from cerviclip.counted import counted
from cerviclip.data.checks.findings import KINDS, Finding, shown
from cerviclip.data.checks.pictures import BLANK
from cerviclip.data.checks.probe import THUMB, Probe
from cerviclip.data.checks.survey import Entry, Survey

DISTANCE = 6  # of 64 bits
CORRELATION = 0.98
_BLOCK = 1024  # pictures compared with all others at a time
_WAYS = ("", *(way.name.lower().replace("_", " ") for way in Image.Transpose))


def check_copies(survey: Survey, probes: Sequence[Probe]) -> Iterator[Finding]:
    """Findings on copies, each pair under the first rule that sees it."""
    entries = {entry.path: entry for entry in survey.entries}
    read = [p for p in probes if not p.error and p.path in entries]
    told: dict[str, int] = {}  # images that are copies already, by the number of their group
    for what, key in (("bytes", "file_hash"), ("pixels", "pixel_hash")):
        groups: dict[str, list[Probe]] = defaultdict(list)
        for p in read:
            if what == "bytes" or p.contrast >= BLANK:  # blank pictures are equal and no copies
                groups[getattr(p, key)].append(p)
        pairs = []
        for number, group in enumerate(groups.values()):
            first: dict[int, str] = {}
            for p in group:  # one of each group of copies that are told already
                first.setdefault(told.get(p.path, -1 - len(first)), p.path)
            paths = list(first.values())
            pairs += [(paths[0], other, "") for other in paths[1:]]
            if what == "bytes" and len(group) > 1:
                told |= {p.path: number for p in group}
        yield from _told(what, pairs, entries)
    distinct = {p.pixel_hash: p for p in reversed(read) if p.contrast >= BLANK and p.hashes}
    yield from _told("alike", _alike(list(distinct.values())), entries, within_patient=False)


def _told(
    what: str,
    pairs: Sequence[tuple[str, str, str]],
    entries: dict[str, Entry],
    within_patient: bool = True,
) -> Iterator[Finding]:
    """Findings of pairs of copies: across parts, else across classes, else in one of each."""
    found: dict[str, list[tuple[Entry, Entry, str]]] = defaultdict(list)
    for a, b, way in pairs:
        one, two = entries[a], entries[b]
        if one.part != two.part:
            found[f"{what}_across_parts"].append((one, two, way))
        if one.classname != two.classname:
            found[f"{what}_across_classes"].append((one, two, way))
        same_patient = one.patient != "" and one.patient == two.patient
        apart = one.part != two.part or one.classname != two.classname
        if not apart and (within_patient or not same_patient):
            found[what].append((one, two, way))
    for kind, cases in found.items():
        one, two, way = cases[0]
        pair = f"{_place(one, two)} and {_place(two, one)}{f', {way}' if way else ''}"
        ways = Counter(way for _, _, way in cases if way)
        turned = f", {ways.total()} of them turned or mirrored" if ways else ""
        paths = list(dict.fromkeys(entry.path for a, b, _ in cases for entry in (a, b)))
        text = f"{KINDS[kind][1]}: {counted(len(cases), 'pair')}{turned} (such as {pair})"
        yield Finding(kind, text, paths, len(cases))


def _place(entry: Entry, other: Entry) -> str:
    """A path, with its part and class where these differ."""
    more = [entry.part] if entry.part != other.part else []
    more += [entry.classname] if entry.classname != other.classname else []
    return shown(entry.path) + (f" in {', '.join(map(shown, more))}" if more else "")


def _alike(read: Sequence[Probe]) -> list[tuple[str, str, str]]:
    """Pairs of nearly equal pictures, each with how the second is turned."""
    if len(read) < 2:
        return []
    signs = np.stack([_signs([hashes[way] for hashes in (p.hashes for p in read)])
                      for way in range(len(_WAYS))])  # (8, N, 64)  # fmt: skip
    small = np.stack([_standard(p.thumb) for p in read])  # (N, THUMB, THUMB)
    pairs: dict[tuple[int, int], int] = {}
    for start in range(0, len(read), _BLOCK):
        own = signs[0, start : start + _BLOCK]
        for way in range(len(_WAYS)):
            near = own @ signs[way].T >= 64 - 2 * DISTANCE
            for i, j in np.argwhere(near):
                a, b = int(i) + start, int(j)
                if a < b and (a, b) not in pairs:
                    turned = _turned(small[b], way)
                    if float((small[a] * turned).mean()) >= CORRELATION:
                        pairs[a, b] = way
    return [(read[a].path, read[b].path, _WAYS[way]) for (a, b), way in pairs.items()]


def _signs(hashes: Sequence[int]) -> np.ndarray:
    """Hashes as rows of 64 numbers +1 and -1, whose products count the equal bits."""
    numbers = np.array(hashes, dtype=">u8").view(np.uint8).reshape(len(hashes), 8)
    return np.unpackbits(numbers, axis=1).astype(np.float32) * 2 - 1


def _standard(thumb: bytes) -> np.ndarray:
    """A thumbnail with mean 0 and standard deviation 1, so that a product is the correlation."""
    grey = np.frombuffer(thumb, np.uint8).astype(np.float64).reshape(THUMB, THUMB)
    deviation = grey.std()
    return (grey - grey.mean()) / (deviation or 1.0)


def _turned(grey: np.ndarray, way: int) -> np.ndarray:
    """As `Image.transpose` with the way's transposition."""
    turns = (
        lambda g: g,
        lambda g: g[:, ::-1],  # FLIP_LEFT_RIGHT
        lambda g: g[::-1],  # FLIP_TOP_BOTTOM
        lambda g: np.rot90(g),
        lambda g: np.rot90(g, 2),
        lambda g: np.rot90(g, 3),
        lambda g: g.T,  # TRANSPOSE
        lambda g: np.rot90(g, 2).T,  # TRANSVERSE
    )
    return turns[way](grey)
