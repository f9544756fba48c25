"""results.md held to what stands behind it: every table of it, row by row and cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cerviclip.runs.audit.tables.faults import Faults
from cerviclip.runs.audit.tables.head import check_head, check_title, has_about
from cerviclip.runs.audit.tables.text import (
    FAILED,
    WARNINGS,
    failed_faults,
    note_faults,
    other_line,
    warned,
    warning_faults,
)
from cerviclip.runs.report.costs import BEFORE, HEAD, SEARCH, budget_rows, search_rows
from cerviclip.runs.report.formats import to_markdown
from cerviclip.runs.report.groups import METRICS, Group, runs_of
from cerviclip.runs.report.pooled import CENTER, POOLED, Entry, pooled_tables
from cerviclip.runs.report.tables import Table, build_tables, says_something
from cerviclip.runs.study_title import PHANTOM, marked, named, titles_of

Row = tuple[str, ...]
_RUNS = "the runs"


@dataclass
class Wanted:
    """A table that results.md should have.

    Attributes:
        titles: what it may be called; the first is how it would be called now.
        rows: its head, and its rows with the centre in each.
        notes: its lines below.
        ending: of its title, without the name of the data set.
        source: what it was made again from.
        keys: how many columns name a row.
        same: other names of a data set -> the one that ``rows`` have.
    """

    titles: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    ending: str = ""
    source: str = _RUNS
    keys: int = 2
    same: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Section:
    """A heading of a results.md, the rows below it, and its other lines."""

    title: str
    rows: list[Row] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def faults_of(
    text: str,
    groups: Sequence[Group],
    pooled: Sequence[Entry] | None,
    failed: Sequence[Mapping[str, Any]] = (),
) -> Faults:
    """What is wrong with a results.md.

    Args:
        text: of results.md.
        groups: of the runs that it should show.
        pooled: of pooled.json; None: neither they nor the search's budget are known here.
        failed: results.json of the runs that have failed, with their folder as results.md has it.
    """
    found, renamed = Faults(), dict[str, str]()
    known = [*_of_runs(groups), *_of_folds(pooled or (), groups)]
    head, *sections = _sections_of(text)
    trainers = {str(run["trainer"]) for run in (*runs_of(groups), *failed)}
    check_title(head.title, groups, trainers, found)
    check_head(head.lines, groups, len(failed), found)
    if head.rows:
        found.tables.append("nothing stands behind the table without a heading")
    for section in sections:
        if not section.rows:
            found.tables += _text_faults(section, groups, failed, found.strange)
            continue
        wanted = next((w for w in known if section.title in w.titles), None)
        if wanted is None and (wanted := _renamed(section, known)):
            found.titles.append(f"{section.title!r} is called {wanted.titles[0]!r} by its runs")
            old, new = section.title, wanted.titles[0]
            renamed[old.removesuffix(wanted.ending)] = new.removesuffix(wanted.ending)
        if wanted is not None:
            known.remove(wanted)  # of two tables with one title each has its own
            found.tables += _unlike(section.title, section.rows, wanted)
            of_note = (section.title, section.lines, wanted.notes, wanted.source, found.strange)
            found.tables += note_faults(*of_note)
        elif section.title == SEARCH and pooled is not None:
            found.tables += _search_faults(section.rows, groups, renamed)
            found.tables += (f for x in section.lines for f in other_line(x, found.strange))
        elif not (pooled is None and _needs_more(section)):
            found.tables.append(f"nothing stands behind its table {section.title!r}")
    found.tables += (f"the table {wanted.titles[0]!r} is missing" for wanted in known)
    titles = {section.title for section in sections}
    if pooled is not None and search_rows(groups) and SEARCH not in titles:
        found.tables.append(f"the table {SEARCH!r} is missing")
    if WARNINGS not in titles and warned(runs_of(groups)):
        lacking = found.tables if has_about(head.lines) else found.absent
        lacking.append(f"{WARNINGS}: the list of what the runs were warned of is missing")
    return found


def _text_faults(
    section: Section,
    groups: Sequence[Group],
    failed: Sequence[Mapping[str, Any]],
    strange: list[str],
) -> Iterator[str]:
    """What is wrong with a section that has no table."""
    if section.title == FAILED:
        errors = {str(run["folder"]): str(run["error"]) for run in failed}
        yield from failed_faults(section.lines, errors, strange)
    elif section.title == WARNINGS:
        yield from warning_faults(section.lines, warned(runs_of(groups)), warned(failed), strange)
    else:
        for line in section.lines:
            yield from other_line(line, strange)


def _renamed(section: Section, known: Sequence[Wanted]) -> Wanted | None:
    """The table that a section is but for the name of its data: runs may have got a title since."""
    for wanted in known:
        name = wanted.titles[0].removesuffix(wanted.ending)
        ending = (PHANTOM if name.endswith(PHANTOM) else "") + wanted.ending
        if section.title.endswith(ending) and not [*_unlike("", section.rows, wanted)]:
            return wanted
    return None


def _needs_more(section: Section) -> bool:
    """Whether a table is one of those that results.json files alone do not give."""
    return section.title == SEARCH or any(row[0] == CENTER for row in section.rows)


def unchecked_titles(text: str) -> list[str]:
    """The tables of a results.md that results.json files alone do not give."""
    return [section.title for section in _sections_of(text) if _needs_more(section)]


def _of_runs(groups: Sequence[Group]) -> Iterator[Wanted]:
    for metric in METRICS:
        for table in filter(says_something, build_tables(groups, metric)):
            yield _wanted(table, _titles(table, groups), _RUNS)


def _of_folds(pooled: Sequence[Entry], groups: Sequence[Group]) -> Iterator[Wanted]:
    for metric in METRICS:
        for table in filter(says_something, pooled_tables(pooled, metric)):
            # In older files it has the title of the table before it.
            titles = [*_titles(table, groups), replace(table, pooled=False).title]
            yield _wanted(table, titles, POOLED)


def _wanted(table: Table, titles: Sequence[str], source: str) -> Wanted:
    _, section = _sections_of(to_markdown(table))
    ending = replace(table, name="-").title.removeprefix("-")
    return Wanted(titles, section.rows, section.lines, ending, source)


def _search_faults(
    rows: Sequence[Row], groups: Sequence[Group], renamed: Mapping[str, str]
) -> Iterator[str]:
    """What was tried before a sweep is known to its yaml alone; the other columns are compared."""
    before = rows[0] == (*HEAD, *BEFORE)
    made = budget_rows(groups) if before else search_rows(groups)
    same = {
        name: named(dataset, titles[0] if len(titles) == 1 else "")
        for dataset in dict.fromkeys(g.dataset for g in groups)
        for titles in [titles_of(_runs(groups, dataset))]
        for name in (dataset, *(named(dataset, title) for title in titles))
    }
    same = {**renamed, **same}
    have = [row[: len(HEAD)] for row in rows] if before else rows
    yield from _unlike(SEARCH, have, Wanted([SEARCH], [HEAD, *made], keys=3, same=same))


def _titles(table: Table, groups: Sequence[Group]) -> list[str]:
    """What the table may be called: a run may have got its title after results.md was written."""
    titles = titles_of(_runs(groups, table.dataset))
    names = [marked(table.dataset), *(named(table.dataset, title) for title in titles)]
    return [table.title, *(replace(table, name=name).title for name in names)]


def _runs(groups: Sequence[Group], dataset: str) -> list[dict[str, Any]]:
    return runs_of(group for group in groups if group.dataset == dataset)


def _unlike(title: str, have: Sequence[Row], wanted: Wanted) -> Iterator[str]:
    """In one line, where a table differs; the first place in full."""
    found = list(differing_rows(have, wanted))
    if found:
        yield f"{title}: {found[0]}{and_more(found)}"


def differing_rows(have: Sequence[Row], wanted: Wanted) -> Iterator[str]:
    """Where rows differ from those that were made again, a line each; numbers may by rounding.

    Args:
        have: a head and rows.
        wanted: the same as they should be.
    """
    if not have:
        yield "it is empty"
        return
    head = wanted.rows[0]
    if have[0] != head:
        yield f"its columns are {', '.join(have[0])[:120]}, not {', '.join(head)[:120]}"
        return
    ours, theirs = (_by_key(rows[1:], wanted) for rows in (wanted.rows, have))
    for key, row in ours.items():
        other = theirs.get(key)
        if other is None:
            yield f"it lacks the row {_shown(key)}"
        elif len(other) != len(row):
            yield f"the row {_shown(key)} has {len(other)} cells, not {len(row)}"
        else:
            for name, own, said in zip(head, row, other, strict=True):
                if own != said and not _rounded(own, said):
                    yield f"{_shown(key)}, {name}: it says {said[:80]}, {wanted.source} {own[:80]}"
    yield from (
        f"there is no row {_shown(key)} ({' | '.join(theirs[key])[:80]}) in {wanted.source}"
        for key in theirs
        if key not in ours
    )


def _rounded(own: str, said: str) -> bool:
    """Whether two texts are numbers that differ in digits beyond those that programs keep."""
    try:
        return math.isclose(float(own), float(said), rel_tol=1e-12)
    except ValueError:
        return False


def _shown(key: tuple[int, Row]) -> str:
    again, names = key
    return ", ".join(filter(None, names))[:120] + (f" (its place {again})" if again > 1 else "")


def _by_key(rows: Sequence[Row], wanted: Wanted) -> dict[tuple[int, Row], Row]:
    """Rows by what names them; of rows with one name each is the first, second ..."""
    seen: Counter[Row] = Counter()
    found = {}
    for row in rows:
        row = (wanted.same.get(row[0], row[0]), *row[1:])
        names = row[: wanted.keys]
        seen[names] += 1
        found[seen[names], names] = row
    return found


def and_more(found: Sequence[Any]) -> str:
    """`` (and 3 more)``; "" for one."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


# -- reading ------------------------------------------------------------------------------------


def _sections_of(text: str) -> list[Section]:
    """The parts of a results.md under their headings, in order; the first is above all of them but
    that of the file. The centre, which stands in the first of its rows alone, is in each of them.
    """
    found = [Section("")]
    for number, line in enumerate(text.splitlines()):
        if line.startswith("# ") and not number:
            found[0].title = line.removeprefix("# ").strip()  # the sweep's name
            continue
        if line.startswith("#"):
            found.append(Section(line.lstrip("# ").rstrip()))
        elif line.startswith("|"):
            found[-1].rows.append(_row(line, found[-1].rows))
        elif line.strip():
            found[-1].lines.append(line)
    for section in found:
        section.rows = [row for row in section.rows if not _is_rule(row)]
    return found


def _row(line: str, before: Sequence[Row]) -> Row:
    cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
    first = cells[0] or (before[-1][0] if before else "")
    return (first, *cells[1:])


def _is_rule(row: Row) -> bool:
    return all(cell and set(cell) <= set("-:") for cell in row)
