"""summary.json, summary.csv and results.md again from the runs that they name."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cerviclip.data.split.folds import parse_fold
from cerviclip.runs.audit.findings import Finding, relative
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.audit.scores import differences
from cerviclip.runs.report.costs import SEARCH
from cerviclip.runs.report.formats import summary, to_csv, to_markdown
from cerviclip.runs.report.groups import METRICS, Group, group_runs, repeat_of, runs_of
from cerviclip.runs.report.pooled import CENTER, POOLED, pooled_tables
from cerviclip.runs.report.tables import Table, build_tables
from cerviclip.runs.study_title import marked, named, titles_of
from cerviclip.shapes import plain_json
from dassl.paths import is_file

JSON, CSV, MARKDOWN = "summary.json", "summary.csv", "results.md"
_CELL = ("dataset", "trainer", "backbone", "variant", "shots")


def check_tables(root: Path, runs: Sequence[AuditedRun]) -> list[Finding]:
    """The tables of every sweep's folder: ``root``, and those above or below it that have some."""
    found: list[Finding] = []
    names = {JSON, CSV, MARKDOWN}
    folders = [Path(folder) for folder, _, files in os.walk(root) if names.intersection(files)]
    for folder in sorted(folders):
        below = [run for run in runs if run.folder.is_relative_to(folder)]
        if below:
            found += _Tables(folder, root, below).check()
    return found


class _Tables:
    """The tables of one folder and the runs below it."""

    def __init__(self, folder: Path, root: Path, runs: Sequence[AuditedRun]) -> None:
        self.folder, self.root = folder, root
        self.failed = [run.results for run in runs if not run.done]
        self.done = [run.results | {"folder": str(run.folder)} for run in _one_of_each(runs)]
        self.found: list[Finding] = []

    def check(self) -> list[Finding]:
        groups = group_runs(self.done)
        shown = self._check_json(groups)
        if not shown:  # no summary.json, or one of other runs: results.md is held to those here
            shown = groups
        self._check_csv(shown)
        self._check_markdown(shown)
        return self.found

    def say(self, name: str, kind: str, text: str) -> None:
        self.found.append(Finding(kind, relative(self.folder / name, self.root), text))

    def _check_json(self, groups: Sequence[Group]) -> list[Group] | None:
        """Compare summary.json; returns the groups that it shows, with the runs it names."""
        path = self.folder / JSON
        if not is_file(path):
            return None
        try:
            records = plain_json(path.read_text(encoding="utf-8"))["groups"]
            by_cell = {_cell_of(vars(group)): group for group in groups}
            return [group for r in records if (group := self._check_group(r, by_cell))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.say(JSON, "unreadable", f"it is no summary of a sweep ({error!r})")
            return None

    def _check_group(
        self, record: Mapping[str, Any], by_cell: Mapping[tuple[Any, ...], Group]
    ) -> Group | None:
        cell = _cell_of(record)
        title = f"{record['trainer']} on {record['dataset']}, shots {record['shots']}"
        named = {
            repeat
            for metrics in record["centers"].values()
            for stat in metrics.values()
            for repeat in stat["values"]
        }
        whole = by_cell.get(cell)
        there = {str(repeat_of(run)): run for run in (whole.runs if whole else ())}
        failed = {str(repeat_of(run)) for run in self.failed if _cell_of(_with_folds(run)) == cell}
        for repeat in sorted(named - there.keys()):
            if repeat in failed:
                self.say(JSON, "failed_in_table", f"{title}: seed {repeat} has failed")
            else:
                self.say(JSON, "table", f"{title}: there is no finished run of seed {repeat}")
        if whole is None:
            return None
        if left := sorted(there.keys() - named):
            self.say(JSON, "left_out", f"{title}: it leaves out {', '.join(left)}")
        group = replace(whole, runs=[run for repeat, run in there.items() if repeat in named])
        if not group.runs or named - there.keys():
            return group
        wanted = summary([group], [], METRICS)["groups"][0]
        unlike = list(differences(wanted, {k: record[k] for k in record if k in wanted}))
        if unlike:
            where, ours, theirs = unlike[0]
            text = f"{title}: {where} is {theirs!r}, the runs give {ours!r}{_and_more(unlike)}"
            self.say(JSON, "table", text)
        return group

    def _check_csv(self, groups: Sequence[Group]) -> None:
        """Every line of summary.csv; numbers may differ by rounding."""
        path = self.folder / CSV
        if not is_file(path):
            return
        try:
            text = path.read_text(encoding="utf-8-sig")
            rows = [row for row in csv.reader(io.StringIO(text)) if row]
        except (ValueError, csv.Error) as error:  # saved by another program
            self.say(CSV, "unreadable", f"it is no CSV in UTF-8 ({error})")
            return
        wanted = list(csv.reader(io.StringIO(to_csv(groups))))
        have = {tuple(row[:-4]): row for row in rows}
        if len(have) < len(rows):
            twice = next(key for key in have if sum(tuple(row[:-4]) == key for row in rows) > 1)
            self.say(CSV, "table", f"it has two lines {','.join(twice)}")
            return
        need = {tuple(row[:-4]): row for row in wanted}
        said = []
        for key, row in need.items():
            if key not in have:
                said.append(f"the line {','.join(key)} is missing")
            elif have[key] != row:
                said.append(f"it has {','.join(have[key])}, the runs {','.join(row)}")
        said += [f"no run stands behind its line {','.join(key)}" for key in have.keys() - need]
        if said:
            self.say(CSV, "table", said[0] + _and_more(said))

    def _check_markdown(self, groups: Sequence[Group]) -> None:
        """Every table of results.md but those over pooled folds, which have a file of their own."""
        path = self.folder / MARKDOWN
        if not is_file(path):
            return
        try:
            text_of = path.read_text(encoding="utf-8-sig")
        except ValueError as error:
            self.say(MARKDOWN, "unreadable", f"it is no text in UTF-8 ({error})")
            return
        sections, known = _sections(text_of), {}
        for metric in METRICS:
            for table in build_tables(groups, metric):
                if all(c == "-" for _, rows in table.blocks for _, cells in rows for c in cells):
                    continue
                title, lines = next(iter(_sections(to_markdown(table)).items()))
                title = next((t for t in _titles(table, groups) if t in sections), title)
                have, lines = sections.get(title), _rows(lines)
                known[title] = lines
                if have is None:
                    self.say(MARKDOWN, "table", f"the table {title!r} is missing")
                else:
                    self._compare_lines(title, _rows(have), lines)
        self._check_other_tables(text_of, known)

    def _compare_lines(self, title: str, have: Sequence[str], wanted: Sequence[str]) -> None:
        unlike = [line for line in have if line not in wanted]
        lacking = [line for line in wanted if line not in have]
        if unlike:
            text = f"{title}: the runs do not give the line {unlike[0][:120]}{_and_more(unlike)}"
            self.say(MARKDOWN, "table", text)
        elif lacking:
            text = f"{title}: it lacks the line {lacking[0][:120]}{_and_more(lacking)}"
            self.say(MARKDOWN, "table", text)

    def _check_other_tables(self, text: str, known: Mapping[str, list[str]]) -> None:
        """Every table of results.md is one of the runs, of pooled.json, or of the search."""
        pooled, seen = self._pooled_tables(), set()
        for title, lines in _tables_of(text):
            if title in known and title not in seen:
                seen.add(title)  # its lines were compared
            elif title in pooled:
                unlike = [line for line in lines if line not in pooled[title]]
                if unlike:
                    said = f"{title}: {POOLED} does not give the line {unlike[0][:120]}"
                    self.say(MARKDOWN, "table", said + _and_more(unlike))
            elif title != SEARCH and not (pooled and any(f"| {CENTER} |" in x for x in lines)):
                self.say(MARKDOWN, "table", f"no runs stand behind its table {title!r}")

    def _pooled_tables(self) -> dict[str, list[str]]:
        """Title -> lines of the tables over pooled folds; empty without a pooled.json."""
        path = self.folder / POOLED
        if not is_file(path):
            return {}
        try:
            entries = plain_json(path.read_text(encoding="utf-8"))["pooled"]
            tables = [table for metric in METRICS for table in pooled_tables(entries, metric)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.say(POOLED, "unreadable", f"it holds no scores of pooled folds ({error!r})")
            return {}
        return dict(pair for table in tables for pair in _tables_of(to_markdown(table)))


def _one_of_each(runs: Sequence[AuditedRun]) -> list[AuditedRun]:
    """The finished runs, of two with one key (which ``same_run`` names) the one that lies in its
    folder: so a copied run hides no edited table."""
    found: dict[Any, AuditedRun] = {}
    right_first = sorted(runs, key=lambda run: any(f.kind == "misplaced" for f in run.findings))
    for run in right_first:
        if run.done:
            found.setdefault(run.key, run)
    return list(found.values())


def _and_more(found: Sequence[Any]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _titles(table: Table, groups: Sequence[Group]) -> list[str]:
    """What the table may be called: a run may have got its title after results.md was written."""
    own = runs_of(group for group in groups if group.dataset == table.dataset)
    names = [marked(table.dataset), *(named(table.dataset, title) for title in titles_of(own))]
    return [table.title, *(replace(table, name=name).title for name in names)]


def _cell_of(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(facts[name] for name in _CELL), facts.get("folds", 0))


def _with_folds(run: Mapping[str, Any]) -> dict[str, Any]:
    fold = parse_fold(run["fold"])
    return {**run, "folds": fold.folds if fold else 0}


def _rows(lines: Sequence[str]) -> list[str]:
    """A table's own lines: the notes below it were said in other words by earlier versions."""
    return [line for line in lines if line.startswith("|")]


def _tables_of(text: str) -> list[tuple[str, list[str]]]:
    """Every table under its heading, in order; of equal headings each."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith("#"):
            found.append((line.lstrip("# "), []))
        elif line.startswith("|"):
            found[-1][1].append(line)
    return [(title, lines) for title, lines in found if lines]


def _sections(text: str) -> dict[str, list[str]]:
    """Heading -> the lines of its table and the notes below, in order.

    Of equal headings the first counts: in older files a table over pooled folds has that of the
    table before it.
    """
    found: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
            title = "" if title in found else title
            if title:
                found[title] = []
        elif line and title:
            found[title].append(line)
    return found
