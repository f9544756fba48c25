"""Runs beside each other: seeds and folds that are missing, versions, weights, runs twice."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.split.folds import Fold
from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.runs.audit.declared import POSITIVE, declared, other_settings
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.predictions import PREDICTIONS
from cerviclip.runs.report.groups import fold_of
from cerviclip.runs.settings.run_key import Cell, Repeat
from dassl.paths import is_file

_FEWEST = 3  # seeds that the project's tables rest on


def check_flags(run: AuditedRun) -> None:
    """What a run says of itself."""
    if run.results["test_read_early"]:
        run.note("read_early", "test_read_early is true")
    if not run.done:
        run.note("failed", str(run.results["error"])[:200])


def check_seeds(runs: Sequence[AuditedRun]) -> None:
    """Every cell has the seeds and folds of its row; none is left out between two others.

    A method that trains in seconds may have more seeds than another one has; so of other rows only
    a gap, or fewer runs than three, counts. An ensemble of several seeds has none of them.
    """
    trained = (run for run in runs if run.done and run.key.shots != 0)
    cells = _by_cell(run for run in trained if not (run.ensemble and run.key.repeat.seed == 0))
    rows: dict[tuple[object, ...], set[Repeat]] = defaultdict(set)
    tables: dict[tuple[str, int], set[Repeat]] = defaultdict(set)
    for cell, members in cells.items():
        own = {run.key.repeat for run in members}
        rows[cell.dataset, cell.row] |= own
        tables[cell.dataset, cell.folds] |= own
    for (_, folds), there in tables.items():
        there |= _between(there, folds)
    for cell, members in cells.items():
        own = {run.key.repeat for run in members}
        missing = rows[cell.dataset, cell.row] - own
        order = sorted(tables[cell.dataset, cell.folds], key=lambda repeat: repeat.order)
        last = max(order.index(repeat) for repeat in own)
        wanted = max(last + 1, min(_FEWEST, len(order)))
        missing |= set(order[:wanted]) - own
        if missing:
            lacking = sorted(missing, key=lambda repeat: repeat.order)
            named = ", ".join(str(r) if r.fold else f"seed {r}" for r in lacking)
            members[0].note("missing_seed", f"{_title(cell)}: no finished run of {named}")


def _between(there: set[Repeat], folds: int) -> set[Repeat]:
    """The folds that a way of dealing lacks, and the seeds between the first and the last.

    Seeds such as 1 and 2022 leave no gap: fewer numbers must be missing than are there.
    """
    if folds:
        deals = {(fold_of(repeat.fold).repeat, repeat.seed) for repeat in there}
        return {
            Repeat(str(Fold(number, folds, again)), seed)
            for again, seed in deals
            for number in range(1, folds + 1)
        }
    seeds = {repeat.seed for repeat in there}
    between = range(min(seeds), max(seeds) + 1)
    return {Repeat("", seed) for seed in between} if len(between) < 2 * len(seeds) else set()


def check_alike(runs: Sequence[AuditedRun]) -> None:
    """The runs of a data set's classes have one positive group, and those of a cell one method: an
    ensemble or not, transductive or not."""
    _check_positive([run for run in runs if run.done and _classes(run)])
    for members in _by_cell(run for run in runs if run.done).values():
        first = members[0]
        for run in members[1:]:
            for name in ("transductive", "ensemble"):
                here, there = (bool(r.results[name]) for r in (run, first))
                if here != there:
                    text = f"{name} is {here} here and {there} in {first.where}"
                    run.note("unlike", text)


def _check_positive(runs: Sequence[AuditedRun]) -> None:
    """Entries of a sweep may ask for other positive groups, each by a name of its own."""
    first: dict[tuple[object, ...], AuditedRun] = {}
    of_entry: dict[tuple[object, ...], AuditedRun] = {}
    groups: set[tuple[object, ...]] = set()
    for run in sorted(runs, key=lambda run: run.ensemble):  # which have their members' groups
        key, have = (run.key.dataset, _classes(run)), frozenset(run.results["positive_classes"])
        if run.ensemble and (key, have) in groups:
            continue
        groups.add((key, have))
        own = of_entry.get((key, run.key.variant))
        of_entry.setdefault((key, run.key.variant), run)
        other = own or first.setdefault(key, run)
        wanted = frozenset(other.results["positive_classes"])
        if have == wanted:
            continue
        texts = [", ".join(sorted(names)) or "no class" for names in (have, wanted)]
        if own is None and (why := declared(run, other, POSITIVE)):
            run.note("other_data", f"{texts[0]} positive here, {texts[1]} elsewhere: {why}")
        else:
            run.note("unlike", f"{texts[0]} positive here, and {texts[1]} in {other.where}")


def check_settings(runs: Sequence[AuditedRun]) -> None:
    """The runs of one cell have one configuration but for seed and fold: none was tuned alone."""
    for members in _by_cell(run for run in runs if run.done and not run.ensemble).values():
        first = members[0]
        for run in members[1:]:
            if found := other_settings(run, first):
                more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
                run.note("unlike", f"{sorted(found)[0]} in {first.where}{more}")


def _classes(run: AuditedRun) -> tuple[str, ...]:
    return tuple(run.results.get("classes") or classes_of(run.results))


def classes_of(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that results.json has scores of; a half of them has a half's positive ones."""
    entry = results["centers"].get(IN_DOMAIN) or {}
    return tuple(entry.get("per_class") or ())


def check_versions(runs: Sequence[AuditedRun]) -> None:
    """The runs of one data set's table come from one version of the code and of its libraries."""
    first: dict[str, AuditedRun] = {}
    told: set[tuple[str, ...]] = set()
    for run in runs:
        if not run.done or run.ensemble:  # an ensemble's are those of its members
            continue
        other = first.setdefault(run.key.dataset, run)
        have, wanted = (r.results["runtime"].get("versions") or {} for r in (run, other))
        unlike = [
            f"{name} {have.get(name)} and {wanted.get(name)}"
            for name in sorted(have.keys() | wanted.keys())
            if have.get(name) != wanted.get(name)
        ]
        if unlike and (run.key.dataset, *unlike) not in told:
            told.add((run.key.dataset, *unlike))
            run.note("versions", f"{', '.join(unlike)} (here and in {other.where})")


def check_machines(runs: Sequence[AuditedRun]) -> None:
    """The runs of a data set's table had one kind of device, and as many threads on a CPU: sums
    that are made thread by thread differ in the last digits, and training may make that large."""
    first: dict[str, tuple[AuditedRun, str]] = {}
    told: set[tuple[str, str]] = set()
    for run in runs:
        runtime = run.results["runtime"]
        if not run.done or "device" not in runtime or run.ensemble:
            continue
        device = str(runtime["device"]).partition(":")[0]
        own = counted(runtime.get("threads") or 1, "thread") if device == "cpu" else device
        other, wanted = first.setdefault(run.key.dataset, (run, own))
        if own != wanted and (run.key.dataset, own) not in told:
            told.add((run.key.dataset, own))
            run.note("machines", f"{own} here, {wanted} in {other.where}")


def check_weights(runs: Sequence[AuditedRun]) -> None:
    """The runs of one cell start from the same weights."""
    for members in _by_cell(run for run in runs if run.done).values():
        first = members[0]
        for run in members[1:]:
            if run.results["weights_sha256"] != first.results["weights_sha256"]:
                run.note("weights", f"weights_sha256 is another one than in {first.where}")


def check_keys(runs: Sequence[AuditedRun]) -> None:
    """No two runs have one key."""
    keys: dict[object, AuditedRun] = {}
    for run in runs:
        other = keys.setdefault(run.key, run)
        if other is not run and run.done and other.done:
            run.note("same_run", f"it has the key of {other.where}")


def check_predictions(runs: Sequence[AuditedRun]) -> None:
    """No two draws of a cell give the same probabilities."""
    for members in _by_cell(run for run in runs if run.done and run.key.shots != 0).values():
        found: dict[str, AuditedRun] = {}
        for run in members:
            path = run.folder / PREDICTIONS
            if not run.predictions or not is_file(path):
                continue
            other = found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), run)
            draws = {r.results["draw_hash"] for r in (run, other)}
            # Of two runs of one key `check_keys` tells.
            if run.key.repeat != other.key.repeat and len(draws) > 1:
                run.note("same_run", f"another draw, but the predictions of {other.where}")


def _by_cell(runs: Iterable[AuditedRun]) -> dict[Cell, list[AuditedRun]]:
    cells: dict[Cell, list[AuditedRun]] = defaultdict(list)
    for run in runs:
        cells[run.key.cell].append(run)
    return cells


def _title(cell: Cell) -> str:
    variant = "" if cell.variant == "default" else f" ({cell.variant})"
    return f"{cell.trainer}{variant} on {cell.dataset}, shots {cell.shots}"
