"""What stands in a results.md beside its tables: notes, the lines at its head, other lines.

Versions put things in other words, so only equal words with other numbers, and words that were
taken out, are faults; other lines are named in a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cerviclip.runs.report.costs import BEFORE_NOTE, NOTE
from cerviclip.runs.report.groups import Group, runs_of
from cerviclip.runs.sweep.about import about_lines

FAILED, WARNINGS = "Failed runs", "Warnings on the data"
_NUMBER = re.compile(
    r"\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)\b", re.I
)
_COUNT = re.compile(r"([\d,]+)(?: of [\d,]+)? runs?\b.*; backbones: (.*)\.")
_LIKE_A_TABLE = re.compile(r"\||<[A-Za-z/!]|^\s*(?:```|~~~)")
_OF_TITLES = "runs with different titles"


def note_faults(
    title: str, have: Sequence[str], wanted: Sequence[str], source: str, strange: list[str]
) -> Iterator[str]:
    """What is wrong with the note below a table.

    Args:
        title: of the table.
        have: its lines that are no rows.
        wanted: the same as they would be now.
        source: what the table is made from.
        strange: parts in other words are added here.
    """
    theirs, ours = _parts(have), _parts(wanted)
    yield from _unlike(f"{title}: its note", theirs, ours, source, strange)


def head_faults(
    lines: Sequence[str], groups: Sequence[Group], failed: int, strange: list[str]
) -> Iterator[str]:
    """What is wrong with the lines before the first table: how many runs, and what they are of."""
    about = [_parts([line]) for line in about_lines(groups)]
    done = len(runs_of(groups))
    for line in lines:
        if found := _COUNT.fullmatch(line):
            said = int(found[1].replace(",", ""))
            if not done <= said <= done + failed:
                yield f"it says {said:,} runs; there are {done:,} finished and {failed:,} failed"
            known = {group.backbone for group in groups} - {""}
            if set(found[2].split(", ")) - {"", "none"} != known:
                names = ", ".join(sorted(known)) or "none"
                yield f"it names the backbones {found[2][:80]}, the runs {names}"
        elif line.startswith("- ") and about:
            theirs = _parts([line])
            ours = next((parts for parts in about if parts[0] == theirs[0]), None)
            if ours is None and len(about) == 1:
                ours = [theirs[0], *about[0][1:]]  # the data set may have got another title
            if ours is None:
                strange.append(line)
                continue
            yield from _unlike(theirs[0].removeprefix("- "), theirs, ours, "the runs", strange)
        else:
            yield from other_line(line, strange)


def section_faults(
    title: str, lines: Sequence[str], failed: Mapping[str, str], strange: list[str]
) -> Iterator[str]:
    """What is wrong with a section that has no table.

    Args:
        title: its heading.
        lines: below it.
        failed: folder -> error of the runs that have failed.
        strange: lines that this version would not write are added here.
    """
    for line in lines:
        if title == FAILED and line.startswith("- "):
            folder = line.removeprefix("- ").partition(": ")[0]
            if folder not in failed:
                yield f"{FAILED}: no run in {folder[:120]} has failed"
        elif title == WARNINGS:
            continue  # of the data, in each run's words
        else:
            yield from other_line(line, strange)


def other_line(line: str, strange: list[str]) -> Iterator[str]:
    """A line that is none of a table or note: what may be read as a table is a fault."""
    if line in (NOTE, BEFORE_NOTE):
        return
    if _LIKE_A_TABLE.search(line):
        yield f"it may be read as a table, and is no row of one: {line.strip()[:120]}"
    else:
        strange.append(line)


def _unlike(
    where: str, theirs: Sequence[str], ours: Sequence[str], source: str, strange: list[str]
) -> Iterator[str]:
    unknown = [part for part in theirs if part not in ours]
    missing = [part for part in ours if part not in theirs]
    others = []
    for part in unknown:
        if _OF_TITLES in part:
            continue
        same = next((own for own in missing if _alike(own, part)), None)
        if same is None:
            others.append(part)
            continue
        missing.remove(same)
        yield f"{where} says {part[:120]!r}; {source}: {same[:120]!r}"
    for part in others:
        if _LIKE_A_TABLE.search(part):
            yield f"{where} has what may be read as a table: {part[:120]!r}"
    strange += others
    missing = [part for part in missing if _OF_TITLES not in part]
    if missing and not others:  # an earlier version's words would stand in its place
        yield f"{where} lacks {missing[0][:120]!r}"


def _alike(one: str, other: str) -> bool:
    """Whether two parts say the same but for their numbers, or of one thing something else."""
    if _without_numbers(one) == _without_numbers(other):
        return True
    (name, colon, _), (again, also, _) = one.partition(": "), other.partition(": ")
    return bool(colon and also) and name == again


def _without_numbers(part: str) -> str:
    return re.sub(r"# (\w+?)s\b", r"# \1", _NUMBER.sub("#", part))  # 1 seed, 3 seeds


def _parts(lines: Sequence[str]) -> list[str]:
    return [
        part.strip().removesuffix(".")
        for line in lines
        for part in line.split("; ")
        if part.strip()
    ]


def named_lines(strange: Sequence[Any]) -> str:
    """A sentence on lines that this version would not write; "" for none."""
    if not strange:
        return ""
    more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    return f"in other words than this version's, and not checked: {str(strange[0])[:120]!r}{more}"
