"""results.md held to what stands behind it: every table of it, row by row and cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cerviclip.runs.report.costs import BEFORE, HEAD, SEARCH, budget_rows, search_rows
from cerviclip.runs.report.formats import to_markdown
from cerviclip.runs.report.groups import METRICS, Group, runs_of
from cerviclip.runs.report.pooled import CENTER, POOLED, Entry, pooled_tables
from cerviclip.runs.report.tables import Table, build_tables, says_something
from cerviclip.runs.study_title import marked, named, titles_of

Row = tuple[str, ...]
_RUNS = "the runs"


@dataclass
class Wanted:
    """A table that results.md should have.

    Attributes:
        titles: what it may be called; the first is how it would be called now.
        rows: its head, and its rows with the centre in each.
        source: what it was made again from.
        keys: how many columns name a row.
        same: other names of a data set -> the one that ``rows`` have.
    """

    titles: Sequence[str]
    rows: Sequence[Row]
    source: str = _RUNS
    keys: int = 2
    same: Mapping[str, str] = field(default_factory=dict)


def faults_of(text: str, groups: Sequence[Group], pooled: Sequence[Entry] | None) -> Iterator[str]:
    """What is wrong with the tables of a results.md, one line each.

    Args:
        text: of results.md.
        groups: of the runs that it should show.
        pooled: of pooled.json; None: neither they nor the search's budget are known here.
    """
    known = [*_of_runs(groups), *_of_folds(pooled or ())]
    there = _tables_of(text)
    for title, rows in there:
        wanted = next((w for w in known if title in w.titles), None)
        if wanted is not None:
            known.remove(wanted)  # of two tables with one title each has its own
            yield from _unlike(title, rows, wanted)
        elif title == SEARCH and pooled is not None:
            yield from _search_faults(rows, groups)
        elif not _may_be(title, rows, pooled):
            yield f"no runs stand behind its table {title!r}"
    yield from (f"the table {wanted.titles[0]!r} is missing" for wanted in known)
    if pooled is not None and search_rows(groups) and SEARCH not in dict(there):
        yield f"the table {SEARCH!r} is missing"


def _may_be(title: str, rows: Sequence[Row], pooled: Sequence[Entry] | None) -> bool:
    """Whether a table is one of those that cannot be made from results.json files alone."""
    return pooled is None and _needs_more(title, rows)


def _needs_more(title: str, rows: Sequence[Row]) -> bool:
    return title == SEARCH or any(row[0] == CENTER for row in rows)


def unchecked_titles(text: str) -> list[str]:
    """The tables of a results.md that results.json files alone do not give."""
    return [title for title, rows in _tables_of(text) if _needs_more(title, rows)]


def _of_runs(groups: Sequence[Group]) -> Iterator[Wanted]:
    for metric in METRICS:
        for table in filter(says_something, build_tables(groups, metric)):
            yield Wanted(_titles(table, groups), _rows_of(table))


def _of_folds(pooled: Sequence[Entry]) -> Iterator[Wanted]:
    for metric in METRICS:
        for table in filter(says_something, pooled_tables(pooled, metric)):
            # In older files it has the title of the table before it.
            titles = [table.title, replace(table, pooled=False).title]
            yield Wanted(titles, _rows_of(table), POOLED)


def _search_faults(rows: Sequence[Row], groups: Sequence[Group]) -> Iterator[str]:
    """What was tried before a sweep is known to its yaml alone; the other columns are compared."""
    before = rows[0] == (*HEAD, *BEFORE)
    made = budget_rows(groups) if before else search_rows(groups)
    same = {
        name: named(dataset, titles[0] if len(titles) == 1 else "")
        for dataset in dict.fromkeys(g.dataset for g in groups)
        for titles in [titles_of(_runs(groups, dataset))]
        for name in (dataset, *(named(dataset, title) for title in titles))
    }
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
        f"{wanted.source} have no row {_shown(key)} ({' | '.join(theirs[key])[:80]})"
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


def _rows_of(table: Table) -> list[Row]:
    [(_, rows)] = _tables_of(to_markdown(table))
    return rows


def _tables_of(text: str) -> list[tuple[str, list[Row]]]:
    """Every table under its heading, in order; the centre, which stands in the first of its rows
    alone, in each of them. Notes below were said in other words by earlier versions."""
    found: list[tuple[str, list[Row]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith("#"):
            found.append((line.lstrip("# ").rstrip(), []))
        elif line.startswith("|"):
            found[-1][1].append(_row(line, found[-1][1]))
    return [(title, [r for r in rows if not _is_rule(r)]) for title, rows in found if rows]


def _row(line: str, before: Sequence[Row]) -> Row:
    cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
    first = cells[0] or (before[-1][0] if before else "")
    return (first, *cells[1:])


def _is_rule(row: Row) -> bool:
    return all(cell and set(cell) <= set("-:") for cell in row)
