"""Cross-validation scored as one test set: the out-of-fold predictions of a seed's folds together.

A mean over folds says how one fold's test part scores, which of few patients is often undefined (a
class that a fold lacks) and spreads with the split. Pooled, each patient is tested once, by models
that never saw that patient, and the interval over patients is that of the whole data set. Needs no
torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.data.split.folds import Fold
from cerviclip.evaluation import report
from cerviclip.evaluation.bounds import BOOTSTRAP_METHOD
from cerviclip.evaluation.measures import Settings
from cerviclip.evaluation.measures.blocks import measure_folds
from cerviclip.evaluation.names import BOOTSTRAP, FEW, IN_DOMAIN, POINTS
from cerviclip.runs.measured import sample_of
from cerviclip.runs.predictions import PREDICTIONS, Predictions, pooled, read_predictions
from cerviclip.runs.report.few import few_notes
from cerviclip.runs.report.groups import METRICS, Group, fold_of, in_tables
from cerviclip.runs.report.tables import (
    READ_EARLY,
    Table,
    format_stat,
    mode_notes,
    row_labels,
    rule_notes,
)
from cerviclip.runs.results_check import check_center
from cerviclip.runs.results_json import finite_or_none
from cerviclip.runs.results_shape import CENTER as CENTER_SHAPE
from cerviclip.runs.settings.run_key import Cell, shots_order
from cerviclip.runs.study_title import marked_name, title_notes, titles_of
from cerviclip.shapes import either, listed, maybe, parse_json, record, text, whole
from dassl.errors import UserError

POOLED = "pooled.json"
CELL = tuple(f.name for f in fields(Cell))
_ENTRY = record(
    {
        **dict.fromkeys(("dataset", "trainer", "backbone", "variant", "source"), text),
        **dict.fromkeys(("folds", "seed"), whole),
        "shots": either(whole, text),
        "score": maybe(CENTER_SHAPE),
    },
    {"repeat": whole},
)
_SHAPE = record({"pooled": listed(_ENTRY)})
CENTER = "test, pooled"  # how tables call it
ALL_MODELS = "each image counts once for each fold's model"

Entry = dict[str, Any]


def pooled_entries(
    groups: Sequence[Group], folder: str | Path | None = None, how: str = ""
) -> list[Entry]:
    """One entry of pooled.json for each cell with folds and each of its seeds.

    Args:
        groups: of ``groups.group_runs``, their runs with ``folder``.
        folder: the sweep's; what its pooled.json says of the same predictions is not scored again.
            None scores all anew.
        how: POINTS for scores without intervals and measures; "" takes the runs' own intervals.

    Returns:
        Entries with what names the cell, ``seed test_read_early source`` and ``score``, which is as
        a centre's entry of results.json, or None with a ``reason``. With a score come
        ``measures``, the blocks of results.json, in which thresholds and the like are chosen out of
        fold.
    """
    before = read_pooled(folder) if folder is not None else []
    known = {entry["source"]: entry for entry in before if entry["source"]}
    return [
        _entry(group, seed, repeat, known, how)
        for group in groups
        if group.folds
        for seed in group.seeds
        for repeat in group.fold_repeats
    ]


def read_pooled(folder: str | Path) -> list[Entry]:
    """The entries of a folder's pooled.json; none where there is no such file, or one that is
    damaged: then all is scored again."""
    try:
        return checked_entries(Path(folder) / POOLED)
    except (OSError, ValueError):
        return []


def checked_entries(path: Path) -> list[Entry]:
    """The entries of a pooled.json.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file; in one line why.
    """
    content = parse_json(path.read_text(encoding="utf-8"))
    _SHAPE(content, "")
    for number, entry in enumerate(content["pooled"]):
        check_center(entry["score"] or {}, "score")
        _check_complete(entry["score"], f"pooled[{number}].score")
    return list(content["pooled"])


def _check_complete(score: Mapping[str, Any] | None, where: str) -> None:
    """A score has each metric of the tables, with its interval."""
    for metric in METRICS if score else ():
        node: Any = score
        for part in metric.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not {"value", "low", "high"} <= node.keys():
            raise ValueError(f"{where} lacks {metric}, or its interval")


def _entry(
    group: Group, seed: int, repeat: int, known: Mapping[str, Entry], how: str = ""
) -> Entry:
    runs = [
        run for run in group.runs if run["seed"] == seed and fold_of(run["fold"]).repeat == repeat
    ]
    entry: Entry = {
        **{name: getattr(group, name) for name in CELL},
        "seed": seed,
        **({"repeat": repeat} if repeat > 1 else {}),
        "test_read_early": any(run["test_read_early"] for run in runs),
        **({"transductive": True} if any(run.get("transductive") for run in runs) else {}),
        **({"titles": titles} if any(titles := titles_of(runs)) else {}),
        "source": "",
        "score": None,
    }
    lacking = sorted(set(range(1, group.folds + 1)) - {fold_of(run["fold"]).number for run in runs})
    if lacking:
        numbers = ", ".join(map(str, lacking))
        return entry | {"reason": f"no finished run of {counted(len(lacking), 'fold')} ({numbers})"}
    try:
        entry["source"] = _source(runs)
    except FileNotFoundError as error:
        return entry | {"reason": f"{error.filename} does not exist"}
    except OSError as error:
        return entry | {"reason": f"{error.filename or PREDICTIONS} cannot be read ({error})"}
    if entry["source"] in known:
        old = known[entry["source"]]
        return entry | {key: old[key] for key in ("score", "measures", "reason") if key in old}
    try:
        found = [read_predictions(run["folder"]) for run in runs]
    except UserError as error:  # a broken file of one run must not cost the others their table
        return entry | {"reason": str(error)}
    parts = [p for every in found for p in every if p.center == IN_DOMAIN]
    reason = why_not_pooled(parts, group.folds)
    if reason:
        return entry | {"reason": reason}
    score = _score(parts, runs, how)
    if how == POINTS:
        return entry | {"score": score}
    return entry | {"score": score, "measures": _measures(parts, _elsewhere(found), runs, score)}


def why_not_pooled(parts: Sequence[Predictions], folds: int) -> str:
    """Why the predictions of several folds are not those of one data set; "" if they are."""
    if len(parts) < folds:
        return f"{folds - len(parts)} of {folds} runs have no predictions of the test part"
    if len({part.classnames for part in parts}) > 1:
        return "the folds' runs have different classes"
    seen: set[str] = set()
    for part in parts:
        twice = seen.intersection(part.paths)
        if twice:
            return f"two folds test the same image ({min(twice)}): they are of different splits"
        seen.update(part.paths)
    return ""


def _score(
    parts: Sequence[Predictions], runs: Sequence[Mapping[str, Any]], how: str = ""
) -> dict[str, Any]:
    whole, positive = pooled(parts), runs[0]["positive_classes"]
    labels, patients = whole.labels.tolist(), whole.known_patients
    return report.score(
        labels, whole.probs, patients, whole.classnames, positive, how or intervals_of(runs)
    )


def _elsewhere(found: Sequence[Sequence[Predictions]]) -> list[Predictions]:
    """The predictions of all folds' models at each external centre that all of them tested."""
    by_center: dict[str, list[Predictions]] = {}
    for every in found:
        for p in every:
            by_center.setdefault(p.center, []).append(p)
    return [
        pooled(parts)
        for center, parts in by_center.items()
        if center != IN_DOMAIN
        and len(parts) == len(found)
        and all(p.paths == parts[0].paths and p.classnames == parts[0].classnames for p in parts)
    ]


def _measures(
    parts: Sequence[Predictions],
    elsewhere: Sequence[Predictions],
    runs: Sequence[Mapping[str, Any]],
    score: Mapping[str, Any],
) -> dict[str, Any]:
    """The blocks of results.json for the pooled predictions, thresholds chosen out of fold."""
    settings = Settings.from_json(runs[0].get("measured_with") or {})
    positive = runs[0]["positive_classes"]
    others = [sample_of(_with_patients(p), positive) for p in elsewhere]
    of = (sample_of(pooled(parts), positive), [len(part) for part in parts], others)
    blocks = finite_or_none(measure_folds(*of, {IN_DOMAIN: score}, settings))
    if others:
        blocks["centers_note"] = ALL_MODELS
    return blocks


def _with_patients(p: Predictions) -> Predictions:
    """An image of an unknown patient is one patient, however many models predicted it."""
    ids = zip(p.known_patients, p.paths, strict=True)
    return replace(p, patient_ids=[known or path for known, path in ids])


def intervals_of(runs: Sequence[Mapping[str, Any]]) -> str:
    """The runs' ``TEST.INTERVALS``, as their own scores show it; bootstrap if they differ."""
    own = [run["centers"].get(IN_DOMAIN, {}) for run in runs]
    methods = [entry.get("uncertainty", {}).get("method", {}).get("default") for entry in own]
    return BOOTSTRAP if set(methods) & {None, BOOTSTRAP_METHOD} else FEW


def _source(runs: Sequence[Mapping[str, Any]]) -> str:
    """Hash of all that a score comes from: the runs' predictions, positive classes and our code."""
    digest = hashlib.sha256((_code() + intervals_of(runs)).encode())
    for run in runs:
        digest.update(json.dumps(run["positive_classes"]).encode())
        digest.update(json.dumps(run.get("measured_with"), sort_keys=True).encode())
        digest.update(Path(run["folder"], PREDICTIONS).read_bytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    own = (Path(__file__), *sorted(Path(report.__file__).parent.rglob("*.py")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in own)).hexdigest()


# -- tables -------------------------------------------------------------------------------------


def pooled_tables(entries: Sequence[Entry], metric: str) -> list[Table]:
    """One table per data set that has pooled scores, and one of its transductive methods."""
    return [_table(groups, entries, metric) for groups in in_tables(_groups(entries))]


def _table(groups: Sequence[Group], entries: Sequence[Entry], metric: str) -> Table:
    dataset, transductive = groups[0].dataset, groups[0].transductive
    kind = (dataset, transductive)
    entries = [e for e in entries if (e["dataset"], bool(e.get("transductive"))) == kind]
    shots = sorted({g.shots for g in groups if g.shots != 0}, key=shots_order) or [0]
    by_cell = {(g.row, g.shots): g for g in groups}
    most = max(len(g.runs) for g in groups)
    rows = []
    for row, label in row_labels(groups).items():
        found = [by_cell.get((row, k)) or by_cell.get((row, 0)) for k in shots]
        rows.append((label, [_cell(g, metric, most) for g in found]))
    marks = "".join(cell for _, cells in rows for cell in cells)
    notes = [*_notes(entries, groups, marks), *title_notes(entries), *rule_notes(metric)]
    columns = [str(k) for k in shots]
    blocks = [(CENTER, rows)]
    hints = ["pooled.json says why"] if any(e["score"] is None for e in entries) else []
    of = (dataset, metric, columns, blocks, notes, transductive, hints)
    return Table(*of, pooled=True, name=marked_name(dataset, entries))


def _groups(entries: Sequence[Entry]) -> list[Group]:
    """Groups whose runs are the pooled scores of one seed each."""
    groups: dict[Cell, Group] = {}
    for entry in entries:
        if entry["score"]:
            cell = Cell(**{name: entry[name] for name in CELL})
            # Pooled, a repetition is what its only fold would be.
            fold = str(Fold(1, entry["folds"], entry["repeat"])) if "repeat" in entry else ""
            run = entry | {"fold": fold, "centers": {CENTER: entry["score"]}}
            groups.setdefault(cell, Group(**asdict(cell))).runs.append(run)
    return list(groups.values())


def _cell(group: Group | None, metric: str, most: int) -> str:
    """``54.1 [50.2, 57.9]`` of one seed, mean and deviation of several; marked as other tables."""
    if group is None:
        return "-"
    stat = group.stat(CENTER, metric)
    text = format_stat(stat, metric)
    if most == 1 or group.shots == 0:
        text += _interval(group.runs[0]["score"], metric)
    fewer = group.shots != 0 and 0 < stat.n < most
    return text + "*" * fewer + "†" * group.read_early


def _interval(score: Mapping[str, Any], metric: str) -> str:
    node: Any = score
    for part in metric.split("."):
        node = node[part]
    if node["low"] is None:
        return ""
    digits = 3 if metric.endswith(("auc", "ece")) else 1
    return f" [{node['low']:.{digits}f}, {node['high']:.{digits}f}]"


def _notes(entries: Sequence[Entry], groups: Sequence[Group], marks: str) -> list[str]:
    kinds = ", ".join(str(n) for n in sorted({g.folds for g in groups}))
    seeds = max(len(g.seeds) for g in groups)
    again = max(len(g.fold_repeats) for g in groups)
    notes = [f"out-of-fold predictions of {kinds} folds put together"]
    of = [f"{again} repeats"] * (again > 1) + [f"{seeds} seeds" if seeds > 1 else "one seed"]
    notes.append(("mean ± sd over " if seeds * again > 1 else "") + " x ".join(of))
    notes += few_notes(groups) + mode_notes(groups)
    if "[" in marks:
        notes.append("[95 % interval by patient]")
    without = sum(entry["score"] is None for entry in entries)
    if without:
        notes.append(f"{without} not pooled")
    if "*" in marks:
        notes.append("* fewer seeds than the others")
    if "†" in marks:
        notes.append(READ_EARLY)
    return notes
