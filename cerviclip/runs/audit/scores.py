"""The numbers of results.json again from the predictions: values, thresholds, and all the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from cerviclip.data.centers.coarse import is_coarse
from cerviclip.evaluation.groups_only import score_groups
from cerviclip.evaluation.measures import Settings
from cerviclip.evaluation.measures.thresholds import operating_points
from cerviclip.evaluation.names import BLOCKS, IN_DOMAIN, POINTS
from cerviclip.evaluation.report import score
from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.measured import measure_files, sample_of
from cerviclip.runs.predictions import (
    NEW_PREDICTIONS,
    VAL_PREDICTIONS,
    Predictions,
    read_predictions,
)
from cerviclip.runs.report.groups import METRICS, NEW, harmonic_mean
from dassl.errors import UserError
from dassl.paths import exists

# Sums in another order, as on another machine, move the last digits.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_MOST_NEW = 6  # classes, of which each group is tried
_LONGEST = 120  # letters of a value that are shown
#: Keys of a score that only its intervals need.
OF_INTERVALS = ("low", "high", "reason", "uncertainty", "note")


def check_values(run: AuditedRun) -> None:
    """Every value, count and confusion matrix of every centre."""
    _check_centers(run, POINTS, "scores")


def check_thresholds(run: AuditedRun) -> None:
    """The thresholds of the operating points again from val_predictions.csv."""
    block = run.results["operating_points"]
    if not block or not isinstance(block, Mapping):
        return
    said = {name: point["threshold"] for name, point in block["points"].items()}
    if run.val is None:
        if any(value is not None for value in said.values()):
            run.note("thresholds", "there are thresholds, but no val predictions they come from")
        return
    settings = Settings.from_json(run.results["measured_with"] or {})
    sample = sample_of(run.val, run.results["positive_classes"])
    found = {} if sample.no_binary else operating_points.choose(sample, settings.miss_cost)
    for path, ours, theirs in differences({n: found.get(n) for n in said}, said):
        run.note("thresholds", f"{path} is {theirs!r}; val gives {ours!r}")


def check_measured(run: AuditedRun) -> None:
    """Measures say what they were made with, or there are none; val has its predictions."""
    results = run.results
    there = [name for name in BLOCKS if results[name] is not None]
    if results["measured_with"] is None and there:
        text = f"there is {there[0]}, but no measured_with, so it cannot be made again"
        run.note("blocks", text)
    tested = run.option("TEST", "SPLIT") == "test" and not run.option("TEST", "NO_TEST")
    val = (run.split or {}).get("val")
    if results["measured_with"] is not None and tested and val and run.val is None:
        if not exists(run.folder / VAL_PREDICTIONS):
            run.note("missing_file", f"there is no {VAL_PREDICTIONS}, though split.json has val")


def check_new_classes(run: AuditedRun, how: str = POINTS, kind: str = "scores") -> None:
    """The scores of a base-to-new run's new classes, from predictions_new.csv."""
    said = run.results["centers"].get(NEW)
    if said is None or (run.predictions or {}).get(NEW) or said.get("confusion_matrix") is None:
        return  # a method that cannot name new classes has no scores of them
    path = run.folder / NEW_PREDICTIONS
    try:
        found = read_predictions(path)
    except FileNotFoundError:
        run.note("missing_file", f"there is no {NEW_PREDICTIONS}")
        return
    except (OSError, UserError) as error:
        run.note("unreadable", f"{NEW_PREDICTIONS}: {error}")
        return
    if [p.center for p in found] != [NEW]:
        text = f"{NEW_PREDICTIONS} is of {', '.join(p.center for p in found) or 'nothing'}"
        run.note(kind, f"{text}, not of {NEW}")
        return
    p = found[0]
    # Which of the new classes are positive is not noted: of each group, the one that fits best.
    group, found_of = _best_group(p, said)
    if how != POINTS and not found_of:
        of = (p.labels.tolist(), p.probs, p.known_patients, p.classnames)
        found_of = list(differences(score(*of, group, how), said, NEW, ("note",)))
    _say(run, kind, found_of)


def _best_group(
    p: Predictions, said: Mapping[str, Any]
) -> tuple[tuple[str, ...], list[tuple[str, Any, Any]]]:
    """The positive group with which the scores of new classes differ least, and where they do."""
    names = p.classnames
    groups = [g for n in range(len(names) + 1) for g in combinations(names, n)]
    skip: tuple[str, ...] = (*OF_INTERVALS, "note")
    if len(names) > _MOST_NEW:
        groups, skip = [()], (*skip, "binary", "counts")
    best: tuple[tuple[str, ...], list[tuple[str, Any, Any]]] | None = None
    for group in groups:
        entry = score(p.labels.tolist(), p.probs, p.known_patients, names, group, POINTS)
        found = list(differences(entry, said, NEW, skip))
        if best is None or len(found) < len(best[1]):
            best = (group, found)
        if not found:
            break
    return best or ((), [])


def check_harmonic_means(run: AuditedRun) -> None:
    """The means of base and new classes, from the scores of both; and which classes they are."""
    block = run.results["base_to_new"]
    if not block or not isinstance(block, Mapping):
        return
    means = {metric: harmonic_mean(run.results, metric) for metric in METRICS}
    ours: dict[str, Any] = {"harmonic_mean": means}
    if run.predictions and (p := run.predictions.get(IN_DOMAIN)):
        ours["base_classes"] = list(p.classnames)
    of = {key: block[key] for key in ours if key in block}
    if isinstance(of.get("harmonic_mean"), Mapping):
        known = {k: v for k, v in of["harmonic_mean"].items() if k in means}
        of["harmonic_mean"] = {**means, **known}  # a version may have had fewer
    ours = {key: ours[key] for key in of}
    found = differences(ours, of, "base_to_new", OF_INTERVALS)
    _say(run, "scores", list(found))


def check_everything(run: AuditedRun) -> None:
    """Intervals and all blocks too; takes about half a second for a run."""
    if not run.ensemble:
        how = str(run.option("TEST", "INTERVALS", ""))
        _check_centers(run, how, "intervals")
        check_new_classes(run, how, "intervals")
    if run.results["measured_with"] is None:
        return
    try:
        blocks = measure_files(run.folder)
    except KeyError as error:
        run.note("blocks", f"its measures cannot be made again: a centre lacks the key {error}")
        return
    except (UserError, OSError) as error:
        run.note("unreadable", f"its measures cannot be made again: {error}")
        return
    for name in BLOCKS:
        found = differences(blocks[name], run.results[name], name)
        _say(run, "blocks", [one for one in found if not _other_words(*one)])


def _other_words(path: str, ours: Any, theirs: Any) -> bool:
    """Whether a reason or note is told in other words: they are of a version, and of what a run
    knew that its files alone do not tell. One that is absent is another matter."""
    told = all(isinstance(text, str) and text for text in (ours, theirs))
    return told and path.rpartition(".")[2] in ("reason", "note")


def _check_centers(run: AuditedRun, how: str, kind: str) -> None:
    if run.predictions is None:
        return
    own = run.results["centers"].items()  # `check_new_classes` looks at the new ones
    said = {name: entry for name, entry in own if name != NEW or NEW in run.predictions}
    for name in run.predictions.keys() ^ said.keys():
        entry = said.get(name)
        if entry is None or entry["n_images"]:  # a centre without images has no line
            place = "results.json" if entry is None else "predictions.csv"
            run.note("scores", f"centre {name} is not in {place}")
    for name in run.predictions.keys() & said.keys():
        p = run.predictions[name]
        make = score_groups if is_coarse(p.labels) else score
        of = (p.labels.tolist(), p.probs, p.known_patients, p.classnames)
        entry = make(*of, run.results["positive_classes"], how)
        skip = OF_INTERVALS if how == POINTS else ()
        _say(run, kind, list(differences(entry, said[name], name, skip)))


def _say(run: AuditedRun, kind: str, found: list[tuple[str, Any, Any]]) -> None:
    if found:
        path, ours, theirs = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        text = f"results.json: {path} is {short(theirs)}; predictions give {short(ours)}{more}"
        run.note(kind, text)


def short(value: Any) -> str:
    """A value in one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def differences(
    ours: Any, theirs: Any, path: str = "", skip: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ by more than rounding: dotted path, ours, theirs.

    Args:
        ours: what was computed.
        theirs: what a file says; it may lack keys that its version did not have.
        path: where both stand.
        skip: keys that are not compared.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if key in skip:
                continue
            where = f"{path}.{key}" if path else str(key)
            if key in ours and key not in theirs and key in ("counts", "uncertainty"):
                continue  # of schema 2
            yield from differences(ours.get(key), theirs.get(key), where, skip)
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        if len(ours) != len(theirs):
            yield path, ours, theirs
            return
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{path}[{i}]", skip)
    elif not _equal(ours, theirs):
        yield path, ours, theirs


def _equal(ours: Any, theirs: Any) -> bool:
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (ours, theirs))
    if numbers:
        try:
            return math.isclose(ours, theirs, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
        except OverflowError:  # a whole number of hundreds of digits
            return False
    return ours == theirs
