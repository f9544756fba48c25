"""The lines of a results.md before its first table: how many runs, and what they are of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

from cerviclip.runs.audit.tables.faults import Faults
from cerviclip.runs.audit.tables.text import other_line, parts_of, unlike
from cerviclip.runs.report.groups import Group, runs_of
from cerviclip.runs.study_title import named, shown_name, titles_of
from cerviclip.runs.sweep.about import about_lines

_FLAGS = r"\([^();]*\)"
_COUNT = re.compile(
    r"(\d[\d,]{,14})(?: of \d[\d,]{,14})? runs?"
    rf"(?:, the part that was chosen {_FLAGS}"
    rf"|: \d[\d,]{{,14}} that were chosen {_FLAGS} and \d[\d,]{{,14}} made before"
    rf"|, where \d[\d,]{{,14}} were chosen {_FLAGS})?"
    r"; backbones: ([^;]*)\."
)


_SWEEP = re.compile(r"Sweep(?: [\w.-]+)?")
_TRAINERS = re.compile(r"\d{1,6} trainers")
_MOST_NAMES = 1000  # of data sets, joined, that are tried
_OF_GROUP = "; positive group: "  # what follows the name of the data


@dataclass
class _About:
    """The line on a data set."""

    names: list[str]  # how it may begin; the first is how it would now
    rest: list[str]  # its other parts

    def name_of(self, line: str) -> str | None:
        return next((n for n in self.names if f"{line};".startswith(f"{n};")), None)


def check_head(lines: Sequence[str], groups: Sequence[Group], failed: int, found: Faults) -> None:
    """What is wrong with these lines, and which of them were taken out.

    Args:
        lines: before the first heading but the file's own.
        groups: of the runs that the tables should show.
        failed: how many runs have failed.
        found: gets what is wrong.
    """
    about, unknown, counted, before = _about(groups), [], False, len(found.strange)
    for line in lines:
        if match := _COUNT.fullmatch(line):
            counted = True
            _check_count(match, groups, failed, found)
        elif not line.startswith("- "):
            found.tables += other_line(line, found.strange)
        elif own := next((one for one in about if one.name_of(line)), None):
            about.remove(own)
            _compare(line.removeprefix(own.name_of(line) or ""), own, found)
        else:
            unknown.append(line)
    for line in unknown:
        name, colon, rest = line.partition(_OF_GROUP)
        if not about or not colon:
            found.tables += other_line(line, found.strange)
            continue
        own = about.pop(0)  # the data set may have got another title
        told = name.removeprefix("- ")[:120]
        found.titles.append(f"{told!r} is called {own.names[0][2:122]!r} by its runs")
        _compare(colon + rest, own, found)
    absent = [*(one.names[0] for one in about), *([] if counted else ["N runs; backbones: ..."])]
    if len(found.strange) > before:  # another version's words may stand in its place
        return
    if absent and has_about(lines):
        found.tables.append(f"it lacks the line {absent[0][:120]!r}")
    else:  # an earlier version wrote none
        found.absent += absent


def check_title(title: str, groups: Sequence[Group], trainers: set[str], found: Faults) -> None:
    """The first heading: a sweep's name, or which methods on which data."""
    if not title or _SWEEP.fullmatch(title):
        return
    methods, _, data = title.partition(" on ")
    names = [
        {dataset, *(named(dataset, t) for t in titles_of(runs_of(own)))}
        for dataset in dict.fromkeys(group.dataset for group in groups)
        for own in [[group for group in groups if group.dataset == dataset]]
    ]
    known = _TRAINERS.fullmatch(methods) or set(methods.split(", ")) <= trainers
    if not known or data not in map(", ".join, islice(product(*names), _MOST_NAMES)):
        found.tables += other_line(title, found.strange)


def has_about(lines: Sequence[str]) -> bool:
    """Whether a results.md is of a version that says what its numbers are of."""
    return any(line.startswith("- ") and _OF_GROUP in line for line in lines)


def _check_count(match: re.Match[str], groups: Sequence[Group], failed: int, found: Faults) -> None:
    done, said = len(runs_of(groups)), int(match[1].replace(",", ""))
    if not done <= said <= done + failed:
        text = f"it says {said:,} runs; there are {done:,} finished and {failed:,} failed"
        found.tables.append(text)
    known = {group.backbone for group in groups} - {""}
    if set(match[2].split(", ")) - {"", "none"} != known:
        names = ", ".join(sorted(known)) or "none"
        found.tables.append(f"it names the backbones {match[2][:80]}, the runs {names}")


def _about(groups: Sequence[Group]) -> list[_About]:
    found = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        own = [group for group in groups if group.dataset == dataset]
        if not (runs := runs_of(own)):
            continue
        [line] = about_lines(own)
        shown = shown_name(dataset, runs)
        source, colon, rest = line.removeprefix(f"- {shown}").partition(_OF_GROUP)
        # A run may have got its title after results.md was written.
        names = dict.fromkeys([shown, dataset, *(named(dataset, t) for t in titles_of(runs))])
        found.append(_About([f"- {name}{source}" for name in names], parts_of([colon + rest])))
    return found


def _compare(rest: str, own: _About, found: Faults) -> None:
    name = own.names[0].removeprefix("- ")
    found.tables += unlike(name, parts_of([rest]), own.rest, "the runs", found.strange)
