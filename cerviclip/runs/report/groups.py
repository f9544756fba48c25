"""Runs from their results.json files, and what they say together: means over folds and seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.data.split.folds import Fold, parse_fold
from cerviclip.evaluation.names import BINARY, IN_DOMAIN, OVERALL, metric_hint
from cerviclip.runs.results_json import NEW as NEW
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.folders import find_results
from cerviclip.runs.settings.run_key import Cell, Repeat, RunKey, shots_order
from cerviclip.shapes import parse_json
from dassl.errors import MissingFileError, UserError

METRICS = (*OVERALL, *(f"binary.{name}" for name in BINARY))
TITLES = {
    "accuracy": "accuracy (%)",
    "balanced_accuracy": "balanced accuracy (%)",
    "macro_f1": "macro F1 (%)",
    "macro_auc": "macro AUC",
    "ece": "expected calibration error",
    "binary.accuracy": "binary accuracy (%)",
    "binary.auc": "binary AUC",
    "binary.sensitivity": "sensitivity (%)",
    "binary.specificity": "specificity (%)",
    "binary.ppv": "positive predictive value (%)",
    "binary.npv": "negative predictive value (%)",
}


HARMONIC = "harmonic mean of base and new"


@dataclass(frozen=True)
class Stat:
    """One metric over the runs of a group: each fold and seed gives one value.

    ``sd`` is the sample deviation of these values, None for one of them. Over folds it holds the
    chance of the split as well as that of the seed.
    """

    values: dict[Repeat, float]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values.values()) if self.n > 1 else None


@dataclass(frozen=True)
class Group(Cell):
    """A cell of a table with its runs, which differ in their fold and seed only."""

    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def centers(self) -> list[str]:
        """Names of blocks of rows: centres, those left out, and the mean of base and new."""
        names = dict.fromkeys(c for run in self.runs for c in run["centers"])
        names |= dict.fromkeys(self.left_out)
        names |= dict.fromkeys(
            [HARMONIC] if any(run.get("base_to_new") for run in self.runs) else []
        )
        return list(names)

    @property
    def predicted_centers(self) -> list[str]:
        """The centres of predictions.csv, which can be compared."""
        return [c for c in self.centers if c not in (*self.left_out, HARMONIC, NEW)]

    @property
    def left_out(self) -> list[str]:
        """The centres that leave-one-centre-out runs have left out and tested on."""
        return list(dict.fromkeys(filter(None, (run.get("left_out_center") for run in self.runs))))

    def entry(self, run: Mapping[str, Any], center: str) -> Mapping[str, Any] | None:
        """A run's scores of a centre: those of the test set for the centre that it has left out."""
        left = center not in run["centers"] and center == run.get("left_out_center")
        return run["centers"].get(IN_DOMAIN if left else center)

    @property
    def read_early(self) -> bool:
        return any(run["test_read_early"] for run in self.runs)

    @property
    def transductive(self) -> bool:
        """Whether its method saw all images of a test set, unlabelled, before it named any."""
        return any(run.get("transductive") for run in self.runs)

    @property
    def members(self) -> list[str]:
        """The methods whose finished runs it joins; none where it is no ensemble."""
        found = [run["ensemble"]["members"] for run in self.runs if run.get("ensemble")]
        return list(dict.fromkeys(member_label(m) for members in found for m in members))

    @property
    def repeats(self) -> list[Repeat]:
        return [repeat_of(run) for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        return sorted({repeat.seed for repeat in self.repeats})

    @property
    def fold_repeats(self) -> list[int]:
        """The ways of dealing into folds that its runs are of; [1] without folds."""
        return sorted({fold_of(repeat.fold).repeat for repeat in self.repeats})

    def stat(self, center: str, metric: str) -> Stat:
        values = {}
        for run in self.runs:
            if center == HARMONIC:
                value = harmonic_mean(run, metric)
            else:
                value = metric_value(self.entry(run, center), metric)
            if value is not None:
                values[repeat_of(run)] = value
        return Stat(values)


def member_label(member: Mapping[str, Any]) -> str:
    """A member of an ensemble as notes name it."""
    variant = "" if member["variant"] == "default" else f" ({member['variant']})"
    return f"{member['trainer']}{variant} [{member['backbone']}]"


def in_tables(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups of each table: one data set, and transductive methods apart from the others."""
    tables: dict[tuple[str, bool], list[Group]] = {}
    for group in groups:
        tables.setdefault((group.dataset, group.transductive), []).append(group)
    order = list(dict.fromkeys(dataset for dataset, _ in tables))
    return [tables[key] for key in sorted(tables, key=lambda k: (order.index(k[0]), k[1]))]


def runs_of(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """The runs of several groups."""
    return [run for group in groups for run in group.runs]


def repeat_of(run: Mapping[str, Any]) -> Repeat:
    """Fold and seed of a run's results."""
    return Repeat(run["fold"], run["seed"])


def harmonic_mean(run: Mapping[str, Any], metric: str) -> float | None:
    """``2 base new / (base + new)`` of a base-to-new run; None where one of them is undefined, or
    for the calibration error, of which less is better."""
    base, new = (metric_value(run["centers"].get(name), metric) for name in (IN_DOMAIN, NEW))
    if not run.get("base_to_new") or base is None or new is None or metric == "ece":
        return None
    return 2 * base * new / (base + new) if base + new else 0.0


def fold_of(text: str) -> Fold:
    """The fold of a run; of one without folds the only one of a whole."""
    return parse_fold(text) or Fold(1, 1)


def metric_value(entry: Mapping[str, Any] | None, metric: str) -> float | None:
    """``accuracy``, ``binary.auc`` or ``per_class.cyst.f1`` of a centre; None if undefined."""
    node: Any = entry
    head, _, rest = metric.partition(".")
    parts = [head]
    if rest:  # class names may hold dots: only the last one parts
        parts += rest.rsplit(".", 1) if head == "per_class" else [rest]
    for part in parts:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node["value"] if isinstance(node, Mapping) else None


def check_metric(metric: str) -> str:
    """The metric's name if there is such a metric."""
    if metric in METRICS or (metric.startswith("per_class.") and metric.count(".") >= 2):
        return metric
    from cerviclip.evaluation.comparing.quantities import COMPARABLE  # brings SciPy

    if metric in COMPARABLE:
        raise UserError(
            f"{metric!r} is no metric of tables and curves; cerviclip compare --metric {metric} "
            "takes it"
        )
    said = metric_hint(metric, [*METRICS, "per_class.<class>.f1"])
    raise UserError(f"unknown metric {metric!r}{said}")


def load_runs(folder: str | Path) -> list[dict[str, Any]]:
    """results.json of every run below a folder, done and failed, sorted by path.

    Each has its folder under the key ``folder``.
    """
    if not Path(folder).exists():
        raise MissingFileError(f"{folder} does not exist; give a folder of runs, such as output/")
    runs = []
    for path in find_results(folder):
        results = read_results(path)
        if results is not None:
            runs.append(results | {"folder": str(path.parent)})
    if not runs:
        raise MissingFileError(
            f"no results.json below {folder}; run train.py or run_shell.py first"
        )
    return runs


def sweep_order(folder: str | Path) -> list[tuple[str, str]]:
    """(trainer, variant) as the sweep whose summary lies in the folder has them; empty without."""
    try:
        groups = parse_json((Path(folder) / "summary.json").read_text(encoding="utf-8"))["groups"]
        return list(dict.fromkeys((str(g["trainer"]), str(g["variant"])) for g in groups))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def group_runs(
    runs: Iterable[Mapping[str, Any]], order: Sequence[tuple[str, str]] = ()
) -> list[Group]:
    """Finished runs by everything but fold and seed, in a stable order.

    Args:
        runs: contents of results.json.
        order: (trainer, variant) in the order wanted; others follow by name.

    Raises:
        UserError: two runs that a table cannot tell apart.
    """
    found: dict[RunKey, dict[str, Any]] = {}
    for run in runs:
        if run["status"] != "done":
            continue
        key = RunKey.of_results(run)
        if key in found:
            first, second = (str(r.get("folder", "?")) for r in (found[key], run))
            raise UserError(
                f"{first} and {second} are both {key.title} ({key.variant}, {key.backbone}); "
                "a table takes one of them: give a folder that holds one only"
            )
        found[key] = dict(run)
    groups: dict[Cell, Group] = {}
    for key in sorted(found, key=lambda key: key.repeat.order):
        groups.setdefault(key.cell, Group(*astuple(key.cell))).runs.append(found[key])
    rank = {pair: i for i, pair in enumerate(order)}
    return sorted(
        groups.values(),
        key=lambda g: (
            g.dataset,
            rank.get((g.trainer, g.variant), len(rank)),
            g.shots != 0,  # methods that train nothing lead
            g.trainer.lower(),
            g.variant,
            g.backbone,
            g.folds,
            shots_order(g.shots),
        ),
    )


def has_folds(groups: Iterable[Group]) -> bool:
    return any(group.folds for group in groups)


def most_runs(groups: Iterable[Group]) -> dict[int, int]:
    """Number of folds (0: a plain split) -> the most runs that a group of so many folds has."""
    most: dict[int, int] = {}
    for group in groups:
        most[group.folds] = max(most.get(group.folds, 0), len(group.runs))
    return most


def repeats_text(groups: Sequence[Group]) -> str:
    """``one seed``, ``3 seeds``, ``10 folds`` or ``10 folds x 3 seeds``.

    Args:
        groups: all with as many folds.
    """
    seeds, folds = max(len(group.seeds) for group in groups), groups[0].folds
    text = f"{seeds} seeds" if seeds > 1 else "one seed"
    if not folds:
        return text
    again = max(len(group.fold_repeats) for group in groups)
    parts = [f"{folds} folds"] + [f"{again} repeats"] * (again > 1) + [text] * (seeds > 1)
    return " x ".join(parts)


def split_hashes(groups: Iterable[Group]) -> list[dict[str, str]]:
    """Of each fold (all folds apart, a plain split being one of them): split_hash -> a folder.

    More than one in one fold means that runs of one data set were split in different ways.
    """
    found: dict[str, dict[str, str]] = {}
    for run in runs_of(groups):
        if run.get("split_hash"):
            places = found.setdefault(run["fold"], {})
            places.setdefault(run["split_hash"], str(run.get("folder", "?")))
    return list(found.values())
