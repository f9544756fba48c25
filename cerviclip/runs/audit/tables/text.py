"""What stands in a results.md beside its tables: notes, warnings, failed runs, other lines.

Versions put things in other words, so only equal words with other numbers, and words that were
taken out, are faults; other lines are named in a note.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cerviclip.runs.report.costs import BEFORE_NOTE, NOTE

FAILED, WARNINGS = "Failed runs", "Warnings on the data"
_NUMBER = re.compile(
    r"\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)\b", re.I
)
_LIKE_A_TABLE = re.compile(r"\||<[A-Za-z/!]|^\s*(?:```|~~~)")
_TITLE = r'(?:"[^"|<]{1,80}"|none)'
_OF_TITLES = re.compile(
    rf"runs with different titles \(DATASET\.TITLE\): {_TITLE}(?:, {_TITLE})*(?: and \d+ more)?"
)
_WARNED = re.compile(r"- (.*) \((\d[\d,]{,14}) runs?\)")
_MORE = re.compile(r"- and \d{1,15} more in results\.json of the runs")


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
    theirs, ours = parts_of(have), parts_of(wanted)
    yield from unlike(f"{title}: its note", theirs, ours, source, strange)


def failed_faults(
    lines: Sequence[str], failed: Mapping[str, str], strange: list[str]
) -> Iterator[str]:
    """What is wrong with the list of failed runs.

    Args:
        lines: below its heading.
        failed: folder -> error of the runs that have failed.
        strange: lines that this version would not write are added here.
    """
    for line in lines:
        folder, colon, error = line.removeprefix("- ").partition(": ")
        if not line.startswith("- ") or not colon:
            yield from other_line(line, strange)
        elif folder not in failed:
            yield f"{FAILED}: no run in {folder[:120]} has failed"
        elif error != failed[folder] and not error.startswith(
            f"{failed[folder]} (log of its job: "
        ):
            yield from other_line(line, strange)


def warning_faults(
    lines: Sequence[str], done: Counter[str], failed: Counter[str], strange: list[str]
) -> Iterator[str]:
    """What is wrong with the list of warnings on the data.

    Args:
        lines: below its heading.
        done: warning -> how many finished runs of the tables have it.
        failed: the same of failed runs.
        strange: lines that no run has are added here.
    """
    told, more, others = set(), False, False
    for line in lines:
        found = _WARNED.fullmatch(line)
        if found and (text := found[1]) in done | failed:
            told.add(text)
            said = int(found[2].replace(",", ""))
            if not done[text] <= said <= done[text] + failed[text]:
                runs = f"the runs: {done[text] or failed[text]}"
                yield f"{WARNINGS}: {text[:120]!r} is said of {said:,} runs; {runs}"
        elif _MORE.fullmatch(line):
            more = True
        else:
            others = True
            yield from other_line(line, strange)
    missing = sorted(done.keys() - told)
    # Of many the most frequent are listed; another version may have other words.
    if missing and not more and not others:
        yield f"{WARNINGS}: it lacks {missing[0][:120]!r}"


def warned(runs: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Warning -> how many runs have it."""
    return Counter(str(text) for run in runs for text in dict.fromkeys(run.get("warnings") or ()))


def other_line(line: str, strange: list[str]) -> Iterator[str]:
    """A line that is none of a table or note: what may be read as a table is a fault."""
    if line in (NOTE, BEFORE_NOTE):
        return
    if _LIKE_A_TABLE.search(line):
        yield f"it may be read as a table, and is no row of one: {line.strip()[:120]}"
    else:
        strange.append(line)


def unlike(
    where: str, theirs: Sequence[str], ours: Sequence[str], source: str, strange: list[str]
) -> Iterator[str]:
    """Where the parts of a text differ from those that it should have; see `note_faults`."""
    unknown = [part for part in theirs if part not in ours]
    missing = [part for part in ours if part not in theirs]
    others = []
    for part in unknown:
        if _OF_TITLES.fullmatch(part):
            continue  # they may have got others since
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
    missing = [part for part in missing if not _OF_TITLES.fullmatch(part)]
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


def parts_of(lines: Sequence[str]) -> list[str]:
    """The parts of a text between semicolons."""
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
