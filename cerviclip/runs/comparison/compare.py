"""One method against each other, paired by patients, with intervals and corrected tests.

Two methods scored on the same images err on the same hard patients, so their difference is known
better than two separate intervals suggest. Patients and training runs (seeds, and the shots that
they draw) are both taken as random; ``cerviclip.evaluation.comparing.difference`` says how.

The runs of one seed on several folds count as one: their test images are put together, since each
is in the test set of one fold only. At a centre where all folds saw the same images, each fold
counts as a run of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cerviclip.evaluation.bootstrap import SEED
from cerviclip.evaluation.comparing.difference import (
    IDENTICAL,
    LEVEL,
    Difference,
    difference_of,
    mean_of,
)
from cerviclip.evaluation.comparing.quantities import Quantity, quantity
from cerviclip.evaluation.comparing.significance import holm
from cerviclip.evaluation.names import HOME_PARTS
from cerviclip.evaluation.report import FEW_PATIENTS, undefined
from cerviclip.runs.comparison.outputs import Outputs, OutputsOfRuns
from cerviclip.runs.comparison.readers import ReaderStudy, reader_outputs
from cerviclip.runs.report.groups import (
    NEW,
    Group,
    in_tables,
    most_runs,
    repeat_of,
    split_hashes,
)
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.report.titles import title_of
from cerviclip.runs.settings.run_key import Repeat, Shots, shots_order
from cerviclip.runs.subgroups import UNKNOWN, Subgroups
from dassl.errors import UserError, did_you_mean

NO_REPEAT = "the two methods share no seed (or no fold)"
NO_PREDICTIONS = "a run has no predictions of this centre"
UNEQUAL = "not the same images"
READER = "reader"  # stands where a trainer's name does
READERS_MEAN = "readers, mean of {}"


@dataclass(frozen=True)
class Comparison:
    """One method minus another at one number of shots.

    ``centers`` has for each centre, subgroup of it and mean of centres ``value low high p p_holm
    test`` and ``reason`` where one is null, in percentage points or the metric's own unit.
    """

    against: str
    label: str
    ours: Group
    other: Group
    shots: Shots
    metric: str
    better: int  # 1 if more is better, else -1
    scale: float  # 100: percentage points
    repeats: list[Repeat]  # of the runs that were compared
    fewer_runs: bool
    fixed_runs: bool
    centers: dict[str, dict[str, Any]]

    @property
    def seeds(self) -> list[int]:
        return sorted({repeat.seed for repeat in self.repeats})

    @property
    def read_early(self) -> bool:
        return self.ours.read_early or self.other.read_early

    def significant(self, center: str) -> int:
        """1 if the first method is significantly better, -1 if worse, 0 if that is open.

        Significant is what its test says after Holm's correction, and its interval too.
        """
        entry = self.centers[center]
        p = entry.get("p_holm")
        if p is None or p >= 1 - LEVEL or entry["low"] is None:
            return 0
        sign = (entry["low"] > 0) - (entry["high"] < 0)
        return self.better * sign


@dataclass(frozen=True)
class Request:
    """What a call of ``compare`` asks for.

    Args:
        against: a row's label as the tables print it.
        metrics: of ``quantities.COMPARABLE``.
        centers: external centres whose mean is wanted; none named: all.
        others: the labels that ``against`` is compared with; none named: all.
        study: readers that it is compared with as well.
        subgroups: parts of each centre that are compared as well.
        fixed_runs: the trained models at hand are the only ones of interest: intervals hold the
            chance of patients alone.
    """

    against: str
    metrics: Sequence[str]
    centers: Sequence[str] = ()
    others: Sequence[str] = ()
    study: ReaderStudy | None = None
    subgroups: Subgroups | None = None
    fixed_runs: bool = False


@dataclass
class _Call:
    """What all pairs of one call share."""

    request: Request
    outputs: OutputsOfRuns
    notes: list[str] = field(default_factory=list)


def compare(
    groups: Sequence[Group], request: Request, notes: list[str] | None = None
) -> list[Comparison]:
    """``against`` minus each other method of its tables, at each number of shots.

    A transductive method is compared with transductive ones, and the others with each other.
    Holm's correction counts every difference of the call: methods, shots, metrics and centres.

    Args:
        groups: of ``groups.group_runs``, their runs with ``folder``.
        request: what is asked for.
        notes: gets what was left out, if anything.

    Raises:
        UserError: an unknown name, runs on different splits, or nothing that can be paired.
    """
    tables = in_tables(groups)
    _check_names(groups, tables, request)
    call = _Call(request, OutputsOfRuns([run for group in groups for run in group.runs]))
    parts = [part for part in tables if request.against in row_labels(part).values()]
    alone = request.study is None and all(len(row_labels(part)) == 1 for part in parts)
    if alone and len(groups) > 1:
        kind = "transductive" if parts[0][0].transductive else "inductive"
        raise UserError(
            f"{request.against} is the only {kind} method of its data sets: none to compare"
        )
    found = [c for part in parts for c in _compare_dataset(part, call)]
    if notes is not None:
        notes += call.notes
    entries = [e for c in found for e in c.centers.values()]
    unequal = [e["reason"] for e in entries if UNEQUAL in e.get("reason", "")]
    if unequal and all(e["value"] is None for e in entries):
        raise UserError(f"nothing can be paired: {unequal[0]}")
    p_values = [np.nan if e.get("p") is None else e["p"] for e in entries]
    for entry, p in zip(entries, holm(p_values), strict=True):
        if not np.isnan(p):
            entry["p_holm"] = float(p)
    return found


def _check_names(
    groups: Sequence[Group], tables: Sequence[Sequence[Group]], request: Request
) -> None:
    labels = dict.fromkeys(v for part in tables for v in row_labels(part).values())
    for name in (request.against, *request.others):
        if name not in labels:
            hint = did_you_mean(name, labels)
            raise UserError(f"no runs of {name!r}{hint} (known: {', '.join(labels)})")
    external = dict.fromkeys(c for g in groups for c in g.predicted_centers if c not in HOME_PARTS)
    for name in request.centers:
        if name not in external:
            known = ", ".join(external) or "none"
            raise UserError(f"no external centre {name!r} in these runs (known: {known})")


def _compare_dataset(groups: Sequence[Group], call: _Call) -> Iterator[Comparison]:
    check_splits(groups)
    request, labels = call.request, row_labels(groups)
    cells = {(labels[g.row], g.shots): g for g in groups}
    centers = list(dict.fromkeys(c for g in groups for c in g.predicted_centers))
    if any(run.get("base_to_new") for g in groups for run in g.runs):
        centers.append(NEW)
    most = most_runs(groups)
    named = request.others or [v for v in labels.values() if v != request.against]
    wanted = [v for v in labels.values() if v in named]
    shots = sorted({g.shots for g in groups} - {0}, key=shots_order) or [0]
    for label in wanted:
        for k in shots:
            ours = cells.get((request.against, k)) or cells.get((request.against, 0))
            other = cells.get((label, k)) or cells.get((label, 0))
            if ours is None or other is None:
                continue
            first, second, repeats = paired_runs(ours, other)
            idle = ours.shots == other.shots == 0
            fewer = len(repeats) < most[ours.folds] and not idle
            paired = ours.shots != 0 and other.shots != 0
            sides = {c: _both(call, first, second, c) for c in centers}
            yield from _of_metrics(call, (label, ours, other, k, repeats, fewer), sides, paired)
    for k in shots if request.study else ():
        ours = cells.get((request.against, k)) or cells.get((request.against, 0))
        if ours is not None:
            yield from _with_readers(call, ours, k, centers)


_Sides = tuple[list[Outputs], list[Outputs]] | str


def _both(call: _Call, first: Sequence[Any], second: Sequence[Any], center: str) -> _Sides:
    """The outputs of both methods' runs on a centre, or why they cannot be paired."""
    ours, other = (call.outputs.of(runs, center) for runs in (first, second))
    if not ours or not other:
        return NO_REPEAT
    there = [o for o in (*ours, *other) if o is not None]
    if len(there) < len(ours) + len(other):
        return NO_PREDICTIONS
    reference = there[0]
    for runs in there[1:]:
        if runs.images != reference.images or runs.classnames != reference.classnames:
            return _unequal(reference, runs)
    return there[: len(ours)], there[len(ours) :]


def _unequal(one: Outputs, two: Outputs) -> str:
    if one.classnames != two.classnames:
        return f"{UNEQUAL}: {len(one.classnames)} classes and {len(two.classnames)}, or other names"
    common, paths = set(one.images) & set(two.images), set(one.paths) & set(two.paths)
    text = f"{UNEQUAL}: {len(one)} and {len(two)} images, {len(paths)} of them in both"
    if len(common) < len(paths):
        text += f", {len(paths) - len(common)} of these with another patient or label"
    return text


def _with_readers(
    call: _Call, ours: Group, shots: Shots, centers: Sequence[str]
) -> Iterator[Comparison]:
    """``ours`` against each reader, and against their mean where all have read the same images."""
    study = call.request.study
    assert study is not None
    models = {c: call.outputs.of(ours.runs, c) for c in centers}
    whole = {
        c: [o for o in found if o is not None] for c, found in models.items() if None not in found
    }
    whole = {c: found for c, found in whole.items() if found}
    for note in study.check({c: found[0] for c, found in whole.items()}, ours.dataset):
        if note not in call.notes:
            call.notes.append(note)
    read: dict[str, list[Outputs]] = {}
    for reader in study.readers:
        sides: dict[str, _Sides] = {}
        for center, found in whole.items():
            verdicts = reader_outputs(reader, found[0], str(study.path))
            if verdicts is not None:
                read.setdefault(center, []).append(verdicts)
                sides[center] = _restricted(found, verdicts), [verdicts]
        other = Group(ours.dataset, READER, "", reader.name, 0, ours.folds, [])
        label = f"{READER} {reader.name}"
        yield from _of_metrics(call, (label, ours, other, shots, ours.repeats, False), sides, False)
    count = len(study.readers)
    same = {
        c: (_restricted(whole[c], found[0]), found)
        for c, found in read.items()
        if len(found) == count and all(f.paths == found[0].paths for f in found)
    }
    if count > 1 and same:
        label = READERS_MEAN.format(count)
        other = Group(ours.dataset, READER, "", "mean", 0, ours.folds, [])
        of = (label, ours, other, shots, ours.repeats, False)
        yield from _of_metrics(call, of, dict(same), False)


def _restricted(runs: Sequence[Outputs], verdicts: Outputs) -> list[Outputs]:
    chosen = set(verdicts.paths)
    return [o.take(np.array([path in chosen for path in o.paths])) for o in runs]


def _of_metrics(
    call: _Call, of: tuple[Any, ...], sides: Mapping[str, _Sides], paired: bool
) -> Iterator[Comparison]:
    """The comparisons of one pair, one a metric."""
    label, ours, other, shots, repeats, fewer = of
    request = call.request
    parts = dict(_with_subgroups(sides, request.subgroups))
    external = [c for c in sides if c not in HOME_PARTS]
    means = [c for c in external if not request.centers or c in request.centers]
    for name in request.metrics:
        found = {c: _difference(name, both, paired, c) for c, both in parts.items()}
        if len(means) > 1:
            found[f"mean of {', '.join(means)}"] = _mean({c: found[c] for c in means})
        q = quantity_of(name, parts)
        if request.fixed_runs:
            found = {
                c: d if isinstance(d, str) else replace(d, fixed=True) for c, d in found.items()
            }
        entries = {c: entry_of(d, q.widest * q.scale) for c, d in found.items()}
        pair = (request.against, label, ours, other, shots, name, q.better, q.scale)
        yield Comparison(*pair, repeats, fewer, request.fixed_runs, entries)


def quantity_of(name: str, parts: Mapping[str, _Sides]) -> Quantity:
    """The quantity with the classes of the first centre that has it."""
    last: UserError | None = None
    for both in parts.values():
        if not isinstance(both, str):
            try:
                return quantity(name, both[0][0].classnames, both[0][0].order)
            except UserError as error:
                last = error
    if last is not None:
        raise last
    of_class = [name.split(".", 1)[1].rsplit(".", 1)[0]] if name.startswith("per_class.") else []
    return quantity(name, of_class)


def _with_subgroups(
    sides: Mapping[str, _Sides], subgroups: Subgroups | None
) -> Iterator[tuple[str, _Sides]]:
    """Each centre, followed by its subgroups."""
    for center, both in sides.items():
        yield center, both
        if subgroups is None or isinstance(both, str):
            continue
        first = both[0][0]
        found = subgroups.of_images(center, first.paths, first.patient_ids)
        for name in subgroups.names:
            # A file that knows nobody of a centre would have the same difference tested twice.
            unknown_alone = name == UNKNOWN and (found == name).all()
            if (found == name).any() and not unknown_alone:
                ours, other = ([o.take(found == name) for o in runs] for runs in both)
                yield f"{center}, {subgroups.column} {name}", (ours, other)


def _difference(name: str, both: _Sides, paired: bool, center: str) -> Difference | str:
    if isinstance(both, str):
        return both
    ours, other = both
    first = ours[0]
    if name.startswith("per_class."):
        of_class = name.split(".", 1)[1].rsplit(".", 1)[0]
        if of_class not in first.classnames:
            return f"no class {of_class!r} here"
    q = quantity(name, first.classnames, first.order)
    for outputs in (first, other[0]):
        if reason := outputs.why_not(q):
            return reason
    scores = [[s for o in runs if (s := o.scores(q)) is not None] for runs in (ours, other)]
    if len(scores[0]) < len(ours) or len(scores[1]) < len(other):
        return f"{title_of(q.name)} needs {q.needs}, which a run has not"
    # The centre's name also seeds the draws: two centres with as many patients are independent.
    found = difference_of(
        q,
        first.truth(q),
        scores[0],
        scores[1],
        first.patients,
        paired=paired and len(ours) == len(other),
        seed=SEED + zlib.crc32(center.encode()),
    )
    if len(ours) == len(other):
        same = all(a.same_verdicts(b) for a, b in zip(ours, other, strict=True))
    else:
        same = all(first.same_verdicts(o) for o in (*ours, *other))
    if same and np.isfinite(found.value):
        return replace(found, identical=True)
    return found


def _mean(parts: Mapping[str, Difference | str]) -> Difference | str:
    """The mean over centres; one centre without a value forbids it."""
    found = []
    for center, part in parts.items():
        if isinstance(part, str):
            return f"{center}: {part}"
        found.append(part)
    return mean_of(found)


def entry_of(found: Difference | str, widest: float = np.inf) -> dict[str, Any]:
    """``value low high p test`` of a difference, and a ``reason`` for every null."""
    if isinstance(found, str):
        return undefined(found)
    if not np.isfinite(found.value):
        return undefined("the metric is undefined here: a class or a kind of image is missing")
    entry: dict[str, Any] = {"value": found.value, "low": None, "high": None}
    if found.identical:
        return entry | {"low": 0.0, "high": 0.0, "p": 1.0, "test": IDENTICAL}
    low, high = found.limits(widest)
    if not np.isfinite(low):
        return entry | {"reason": FEW_PATIENTS}
    entry |= {"low": float(low), "high": float(high), "p": found.p(), "test": found.test}
    if found.runs_add_nothing:
        entry["no_spread_of_runs"] = True
    return entry | ({"undefined_resamples": found.undefined} if found.undefined else {})


def check_splits(groups: Sequence[Group]) -> None:
    """Refuse runs of one data set, and of one fold, that were trained and tested on different
    splits of it."""
    for folders in split_hashes(groups):
        if len(folders) > 1:
            one, two = list(folders.values())[:2]
            raise UserError(
                f"{one} and {two} are on different splits of {groups[0].dataset} (split_hash): "
                "their patients cannot be paired; give a folder whose runs share one split"
            )


def paired_runs(ours: Group, other: Group) -> tuple[list[dict], list[dict], list[Repeat]]:
    """The runs of the folds and seeds that both have, and these; what trains nothing suits each
    seed."""
    idle = 0 in (ours.shots, other.shots)

    def what_pairs(repeat: Repeat) -> Repeat:
        return repeat._replace(seed=0) if idle else repeat

    common = {what_pairs(r) for r in ours.repeats} & {what_pairs(r) for r in other.repeats}
    first, second = (
        [run for run in group.runs if what_pairs(repeat_of(run)) in common]
        for group in (ours, other)
    )
    trained = second if ours.shots == 0 else first
    return first, second, [repeat_of(run) for run in trained]
