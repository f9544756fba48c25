"""summary.json, summary.csv, pooled.json and results.md again from the runs that they name."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.split.folds import parse_fold
from cerviclip.evaluation.names import POINTS
from cerviclip.runs.audit.findings import Finding, relative
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.audit.scores import OF_INTERVALS, differences, short
from cerviclip.runs.audit.tables.markdown import (
    Wanted,
    and_more,
    differing_rows,
    faults_of,
    unchecked_titles,
)
from cerviclip.runs.audit.tables.scope import (
    CSV,
    JSON,
    MARKDOWN,
    by_tables,
    folders_with_tables,
    tables_of_nobody,
    unread,
)
from cerviclip.runs.audit.tables.text import named_lines
from cerviclip.runs.report.formats import summary, to_csv
from cerviclip.runs.report.groups import METRICS, Group, group_runs, repeat_of
from cerviclip.runs.report.pooled import POOLED, Entry, checked_entries, pooled_entries
from cerviclip.shapes import plain_json
from dassl.paths import exists, is_file

_CELL = ("dataset", "trainer", "backbone", "variant", "shots")
_OF_GROUP = ("transductive", "ensemble_of")  # that are left out where they are false
_TABLES = 3  # of a results.md that are told one by one
_OF_CSV = 4  # columns of numbers
_Key = tuple[Any, ...]  # of an entry of pooled.json: its cell with folds, seed and repetition


def check_tables(
    root: Path, runs: Sequence[AuditedRun], full: int | None = 0, quick: bool = False
) -> list[Finding]:
    """The tables of every sweep's folder: ``root``, and those above or below it that have some.

    Args:
        root: the audited folder.
        runs: all of it.
        full: of how many entries of each pooled.json the intervals are made again; None for all.
        quick: the runs have what results.json says of their scores alone, and no predictions.
    """
    found: list[Finding] = []
    folders = folders_with_tables(root)
    own = by_tables(folders, runs)
    for folder in folders:
        # Where no run lies as a sweep's do, its tables are of all that lie below.
        below = own.get(folder) or [run for run in runs if run.folder.is_relative_to(folder)]
        if below:
            found += _Tables(folder, root, below).check(full, quick)
        elif names := tables_of_nobody(folder, folders):
            text = "no run below its folder stands behind it"
            found.append(Finding("table", relative(folder / names[0], root), text))
    if names := unread(root):
        text = f"tables and texts that are not read: {', '.join(names[:_TABLES])}"
        more = f" and {len(names) - _TABLES} more" if len(names) > _TABLES else ""
        found.append(Finding("not_checked", ".", text + more))
    return found


class _Tables:
    """The tables of one folder and the runs below it."""

    def __init__(self, folder: Path, root: Path, runs: Sequence[AuditedRun]) -> None:
        self.folder, self.root = folder, root
        self.failed = [run.results | {"folder": str(run.folder)} for run in runs if not run.done]
        self.done = [run.results | {"folder": str(run.folder)} for run in _one_of_each(runs)]
        self.found: list[Finding] = []
        self.failed_of: dict[tuple[Any, ...], set[str]] = {}
        for run in self.failed:
            self.failed_of.setdefault(_cell_of(_with_folds(run)), set()).add(str(repeat_of(run)))

    def check(self, full: int | None, quick: bool) -> list[Finding]:
        groups = group_runs(self.done)
        shown = self._check_json(groups)
        if not shown:  # no summary.json, or one of other runs: results.md is held to those here
            shown = groups
        for check in (self._check_csv, partial(self._check_folds, full=full, quick=quick)):
            try:
                check(shown)
            except OSError as error:
                self.say(Path(str(error.filename or "")).name, "unreadable", f"({error})")
        return self.found

    def _check_folds(self, groups: Sequence[Group], full: int | None, quick: bool) -> None:
        pooled = None if quick else self._check_pooled(groups, full)
        if not pooled and not quick and any(group.folds for group in groups):
            if not exists(self.folder / POOLED):
                text = f"there are folds and no {POOLED}: tables of folds put together"
                self.say(POOLED, "not_checked", text)
        self._check_markdown(groups, pooled)

    def say(self, name: str, kind: str, text: str) -> None:
        self.found.append(Finding(kind, relative(self.folder / name, self.root), text))

    def _path(self, name: str) -> Path | None:
        """Where a table lies; None where it does not."""
        path = self.folder / name
        if is_file(path):
            return path
        if os.path.lexists(path):
            self.say(name, "unreadable", "it is no file, or a link that leads to none")
        return None

    def _check_json(self, groups: Sequence[Group]) -> list[Group] | None:
        """Compare summary.json; returns the groups that it shows, with the runs it names."""
        path = self._path(JSON)
        if path is None:
            return None
        try:
            content = plain_json(path.read_text(encoding="utf-8"))
            records = content["groups"]
            by_cell = {_cell_of(vars(group)): group for group in groups}
            shown = [group for r in records if (group := self._check_group(r, by_cell))]
            self._check_failed(content.get("failed") or ())
            self._name_strange(content.keys() - summary([], [], METRICS).keys())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.say(JSON, "unreadable", f"it is no summary of a sweep ({error!r})")
            return None
        told = set(map(_cell_of, records))
        rest = [group for cell, group in by_cell.items() if cell not in told]
        if rest and (shown or not records) and not rest[0].members:
            named = f"{rest[0].trainer} on {rest[0].dataset}, shots {rest[0].shots}"
            text = f"finished runs stand in no table of this folder: {named}{and_more(rest)}"
            self.say(JSON, "unshown", text)
        return shown

    def _check_failed(self, records: Sequence[Mapping[str, Any]]) -> None:
        """A failed run that the tables name is there; since then it may have been finished."""
        keys = (*_CELL, "seed")
        known = {tuple(run[key] for key in keys) for run in (*self.failed, *self.done)}
        for record in records:
            if tuple(record[key] for key in keys) not in known:
                named = f"{record['trainer']} on {record['dataset']}, shots {record['shots']}"
                text = f"there is no failed run of {named}, seed {record['seed']}"
                self.say(JSON, "table", text)
                return

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
        failed = self.failed_of.get(cell, set())
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
        kept = {key: record[key] for key in record if key in wanted or key in _OF_GROUP}
        unlike = list(differences(wanted, kept))
        if unlike:
            where, ours, theirs = unlike[0]
            text = f"{title}: {where} is {short(theirs)}, the runs give {short(ours)}"
            self.say(JSON, "table", text + and_more(unlike))
        self._name_strange(record.keys() - kept.keys() - {"folds"}, f"{title}: ")
        return group

    def _name_strange(self, keys: Collection[str], where: str = "") -> None:
        if strange := sorted(map(repr, keys)):
            text = f"{where}a key that this version does not write, and that is not checked: "
            self.say(JSON, "not_checked", f"{text}{strange[0][:80]}{and_more(strange)}")

    def _check_csv(self, groups: Sequence[Group]) -> None:
        """Every line of summary.csv; numbers may differ by rounding."""
        path = self._path(CSV)
        if path is None:
            return
        try:
            text = path.read_text(encoding="utf-8-sig")
            rows = [tuple(row) for row in csv.reader(io.StringIO(text)) if row]
        except (ValueError, csv.Error) as error:  # saved by another program
            self.say(CSV, "unreadable", f"it is no CSV in UTF-8 ({error})")
            return
        wanted = [tuple(row) for row in csv.reader(io.StringIO(to_csv(groups)))]
        keys = len(wanted[0]) - _OF_CSV
        said = list(differing_rows(rows, Wanted([CSV], wanted, keys=keys)))
        if said:
            self.say(CSV, "table", said[0] + and_more(said))

    def _check_pooled(self, groups: Sequence[Group], full: int | None) -> list[Entry] | None:
        """Compare pooled.json with the folds' predictions: every value, and of as many entries as
        ``full`` says the intervals and all measures; returns what it holds, None for what cannot be
        read."""
        path = self._path(POOLED)
        if path is None:
            return []
        try:
            entries = checked_entries(path)
        except (OSError, ValueError) as error:
            self.say(POOLED, "unreadable", f"it holds no scores of pooled folds ({error})")
            return None
        ours = {_key_of(e): e for e in pooled_entries(groups, how=POINTS)}
        theirs = {_key_of(e): e for e in entries}
        said = [f"there are no runs of {_title_of(key)}" for key in theirs if key not in ours]
        said += [f"it lacks {_title_of(key)}" for key in ours if key not in theirs]
        twice = Counter(map(_key_of, entries)) - Counter(list(theirs))
        said += [f"it has two entries of {_title_of(key)}" for key in twice]
        both = [key for key in ours if key in theirs]
        self._check_titles([(key, ours[key], theirs[key]) for key in both])
        # Tables are held to what the runs are called, whatever pooled.json calls them.
        for entry in entries:
            entry.pop("titles", None)
            if titles := ours.get(_key_of(entry), {}).get("titles"):
                entry["titles"] = titles
        for key in both:
            said += _unlike_entry(key, ours[key], theirs[key], OF_INTERVALS)
        if said:
            self.say(POOLED, "table", said[0] + and_more(said))
            return entries
        chosen = both if full is None else both[:full]
        groups_of = {cell: group for group in groups if (cell := _cell_of(vars(group)))}
        for cell in dict.fromkeys(_cell_of(theirs[key]) for key in chosen):
            for entry in pooled_entries([groups_of[cell]]):
                key = _key_of(entry)
                said += _unlike_entry(key, entry, theirs[key]) if key in chosen else []
        if said:
            self.say(POOLED, "table", said[0] + and_more(said))
        return entries

    def _check_titles(self, pairs: Sequence[tuple[_Key, Entry, Entry]]) -> None:
        found = [
            f"{_title_of(key)}: titles {', '.join(theirs.get('titles') or ['none'])}; the runs "
            f"have {', '.join(ours.get('titles') or ['none'])}"
            for key, ours, theirs in pairs
            if (ours.get("titles") or []) != (theirs.get("titles") or [])
        ]
        if found:
            self.say(POOLED, "title", found[0] + and_more(found))

    def _check_markdown(self, groups: Sequence[Group], pooled: Sequence[Entry] | None) -> None:
        """Every table of results.md; of folds put together it is held to pooled.json."""
        path = self._path(MARKDOWN)
        if path is None:
            return
        try:
            text = path.read_text(encoding="utf-8-sig")
        except ValueError as error:
            self.say(MARKDOWN, "unreadable", f"it is no text in UTF-8 ({error})")
            return
        failed = [run | {"folder": relative(run["folder"], self.folder)} for run in self.failed]
        found = faults_of(text, groups, pooled, failed)
        for fault in found.tables[:_TABLES]:
            self.say(MARKDOWN, "table", fault)
        if more := found.tables[_TABLES:]:
            self.say(MARKDOWN, "table", f"{counted(len(more), 'more fault')} of it: {more[0]} ...")
        if found.titles:
            self.say(MARKDOWN, "title", found.titles[0] + and_more(found.titles))
        if told := named_lines(found.strange):
            self.say(MARKDOWN, "not_checked", told)
        if found.absent:
            text = f"it lacks what this version writes: {found.absent[0]}{and_more(found.absent)}"
            self.say(MARKDOWN, "not_checked", text)
        if pooled is None and unchecked_titles(text):
            named = ", ".join(unchecked_titles(text)[:3])
            self.say(MARKDOWN, "not_checked", f"{named}: read without --quick")


def _unlike_entry(key: _Key, ours: Entry, theirs: Entry, skip: tuple[str, ...] = ()) -> list[str]:
    """Where an entry of pooled.json differs; of older versions it lacks its measures."""
    keys = ("test_read_early", "transductive", "score", "measures")
    ours, theirs = ({k: e.get(k) for k in keys} for e in (ours, theirs))
    left_out = ("measures",) if skip or theirs["measures"] is None else ()
    return [
        f"{_title_of(key)}: {path} is {short(said)}, the folds' predictions give {short(own)}"
        for path, own, said in differences(ours, theirs, "", (*skip, *left_out))
    ]


def _key_of(entry: Entry) -> _Key:
    return (*_cell_of(entry), entry["seed"], entry.get("repeat", 1))


def _title_of(key: _Key) -> str:
    dataset, trainer, _, _, shots, folds, seed, repeat = key
    again = f", repetition {repeat}" if repeat > 1 else ""
    return f"{trainer} on {dataset}, shots {shots}, {folds} folds, seed {seed}{again}"


def _one_of_each(runs: Sequence[AuditedRun]) -> list[AuditedRun]:
    """The finished runs, of two with one key (which ``same_run`` names) the one that lies in its
    folder: so a copied run hides no edited table."""
    found: dict[Any, AuditedRun] = {}
    right_first = sorted(runs, key=lambda run: any(f.kind == "misplaced" for f in run.findings))
    for run in right_first:
        if run.done:
            found.setdefault(run.key, run)
    return list(found.values())


def _cell_of(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(facts[name] for name in _CELL), facts.get("folds", 0))


def _with_folds(run: Mapping[str, Any]) -> dict[str, Any]:
    fold = parse_fold(run["fold"])
    return {**run, "folds": fold.folds if fold else 0}
