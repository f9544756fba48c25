"""Tables of one metric: trainers against shots, a block of rows per centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cerviclip.evaluation.names import is_of_calls
from cerviclip.runs.report.few import HINT as FEW_HINT
from cerviclip.runs.report.few import few_notes
from cerviclip.runs.report.groups import (
    Group,
    Stat,
    fold_of,
    in_tables,
    most_runs,
    repeats_text,
    runs_of,
    split_hashes,
)
from cerviclip.runs.report.titles import heading_of, is_fraction
from cerviclip.runs.settings.run_key import shots_order
from cerviclip.runs.study_title import marked, marked_name, title_notes

TRANSDUCTIVE = "transductive methods"
READ_EARLY = "† the test set was read before training had ended"
POSITIVE_RULE = "an image is called positive if its most probable class is in the positive group"


@dataclass
class Table:
    """Trainer x shots of one metric on one dataset, a block of rows per centre.

    ``notes`` belong below the table wherever it is printed; ``hints`` name files and commands, and
    have no place in a paper.
    """

    dataset: str
    metric: str
    columns: list[str]
    blocks: list[tuple[str, list[tuple[str, list[str]]]]]  # centre -> (row label, cells)
    notes: list[str]
    transductive: bool = False
    hints: list[str] = field(default_factory=list)
    pooled: bool = False  # of folds whose predictions were put together
    name: str = ""  # of the data, as people are told; "": as registered

    @property
    def title(self) -> str:
        apart = f", {TRANSDUCTIVE}" if self.transductive else ""
        folds = ", folds pooled" * self.pooled
        return f"{self.name or marked(self.dataset)}: {self.heading}{folds}{apart}"

    @property
    def heading(self) -> str:
        return heading_of(self.metric)


@dataclass(frozen=True)
class Marks:
    """What stands behind the cells of one metric's tables, and its legend.

    ``cells`` has (data set, row's label, shots as a column has them, centre) -> mark.
    """

    cells: Mapping[tuple[str, str, str, str], str]
    legend: str


def build_tables(groups: Sequence[Group], metric: str, marks: Marks | None = None) -> list[Table]:
    """One table per dataset, and one of its transductive methods.

    Args:
        groups: of ``groups.group_runs``.
        metric: of ``groups.METRICS``, or of a class.
        marks: as ``comparison.marks`` finds them.
    """
    marks = marks or Marks({}, "")
    return [_table(own, own[0].dataset, metric, marks) for own in in_tables(groups)]


def _table(groups: list[Group], dataset: str, metric: str, more: Marks) -> Table:
    shots = sorted({g.shots for g in groups if g.shots != 0}, key=shots_order) or [0]
    labels = row_labels(groups)
    by_cell = {(g.row, g.shots): g for g in groups}
    most = most_runs(groups)
    blocks = []
    for center in list(dict.fromkeys(c for g in groups for c in g.centers)):
        rows = []
        for row, label in labels.items():
            found = [by_cell.get((row, k)) or by_cell.get((row, 0)) for k in shots]
            cells = [
                _cell(g, center, metric, most)
                + more.cells.get((dataset, label, str(k), center), "")
                for k, g in zip(shots, found, strict=True)
            ]
            rows.append((label, cells))
        blocks.append((center, rows))
    marks = "".join(cell for _, rows in blocks for _, cells in rows for cell in cells)
    notes = [*_notes(groups, only_idle=shots == [0], marks=marks), *rule_notes(metric)]
    notes += [more.legend] if more.legend else []
    columns = [str(k) for k in shots]
    hints = [FEW_HINT] if few_notes(groups) else []
    name = marked_name(dataset, runs_of(groups))
    return Table(dataset, metric, columns, blocks, notes, groups[0].transductive, hints, name=name)


def _cell(group: Group | None, center: str, metric: str, most: dict[int, int]) -> str:
    """Mean and deviation, with a star for fewer runs than the others have, and a dagger."""
    if group is None:
        return format_stat(Stat({}), metric)
    text = format_stat(group.stat(center, metric), metric)
    return text + "*" * has_fewer(group, center, metric, most) + "†" * group.read_early


def has_fewer(group: Group, center: str, metric: str, most: Mapping[int, int]) -> bool:
    """Whether a cell is of fewer runs than the others have.

    Args:
        group: the cell's runs.
        center: of the cell.
        metric: of the table.
        most: of ``groups.most_runs``.
    """
    wanted = most[group.folds]
    if center in group.left_out:  # left out by some of the runs alone
        wanted = sum(group.entry(run, center) is not None for run in group.runs)
    return group.shots != 0 and 0 < group.stat(center, metric).n < wanted


def _notes(groups: Sequence[Group], only_idle: bool, marks: str) -> list[str]:
    notes = []
    kinds = sorted({g.folds for g in groups})
    for folds in kinds:
        own = [g for g in groups if g.folds == folds]
        rows = f"[{folds} folds]: " if folds and len(kinds) > 1 else ""
        several = most_runs(own)[folds] > 1
        notes.append(rows + ("mean ± sd over " if several else "") + repeats_text(own))
        there = {fold_of(repeat.fold).number for g in own for repeat in g.repeats}
        if folds and len(there) < folds:
            notes.append(f"{rows}only {len(there)} of {folds} folds have been run")
    notes += few_notes(groups)
    if any(g.shots == 0 for g in groups) and not only_idle:
        names = ", ".join(dict.fromkeys(g.trainer for g in groups if g.shots == 0))
        notes.append(f"{names} trains nothing: one run stands for all shots")
    if any(g.left_out for g in groups):
        notes.append("each centre left out of training once; test: the mean over these centres")
    if any(run.get("base_to_new") for g in groups for run in g.runs):
        notes.append("base to new: test has the base classes, new those not trained on")
    notes += mode_notes(groups)
    notes += title_notes(runs_of(groups))
    splits = max((len(hashes) for hashes in split_hashes(groups)), default=0)
    if splits > 1:  # images were added between two runs, or a variant splits otherwise
        notes.append(f"runs on {splits} different splits of the images, hardly comparable")
    notes += _differing_tests(groups)
    if "*" in marks:
        notes.append(f"* fewer {'folds or ' if any(kinds) else ''}seeds than the others")
    if "†" in marks:
        notes.append(READ_EARLY)
    return notes


def says_something(table: Table) -> bool:
    """Whether any of its cells has a number."""
    return any(cell != "-" for _, rows in table.blocks for _, cells in rows for cell in cells)


def rule_notes(metric: str) -> list[str]:
    """What makes an image positive, where a metric depends on it."""
    return [POSITIVE_RULE] if is_of_calls(metric) else []


def _differing_tests(groups: Sequence[Group]) -> list[str]:
    """A note for each centre whose number of images differs between the seeds of one row."""
    sizes: dict[str, set[int]] = {}
    for group in groups:
        for center in group.centers if not group.folds else ():
            entries = (group.entry(run, center) for run in group.runs)
            counts = {entry["n_images"] for entry in entries if entry and "n_images" in entry}
            if len(counts) > 1:
                sizes.setdefault(center, set()).update(counts)
    return [
        f"{center}: seeds of a row were tested on {' and '.join(map(str, sorted(counts)))} images, "
        "hardly comparable"
        for center, counts in sizes.items()
    ]


def mode_notes(groups: Sequence[Group]) -> list[str]:
    """What rows are that are no method's own prediction of one image at a time."""
    notes = ["each method saw all test images of a centre, unlabelled, before it named any"]
    notes *= any(g.transductive for g in groups)
    labels = row_labels(groups)
    joined = {labels[g.row]: g.members for g in groups if g.members}
    return [*notes, *(f"{row}: an ensemble of {', '.join(of)}" for row, of in joined.items())]


def row_labels(groups: Sequence[Group]) -> dict[tuple[str, str, str, int], str]:
    """A label per (trainer, variant, backbone, folds): as much of it as tells the rows apart."""
    rows = list(dict.fromkeys(g.row for g in groups))
    labels = {}
    for trainer, variant, backbone, folds in rows:
        label = trainer if variant == "default" else f"{trainer} ({variant})"
        if len({b for t, v, b, _ in rows if (t, v) == (trainer, variant)}) > 1:
            label += f" [{backbone}]"
        if folds and len({f for *_, f in rows}) > 1:
            label += f" [{folds} folds]"
        labels[(trainer, variant, backbone, folds)] = label
    return labels


def column_name(shots: str) -> str:
    """A column's head."""
    special = {"full": "full", "0": "zero-shot", "1": "1 shot"}
    return special.get(shots, f"{shots} shots")


def format_stat(stat: Stat, metric: str) -> str:
    """``63.2 ± 1.4``; AUC and ECE with three decimals; a dash where nothing is defined."""
    if stat.mean is None:
        return "-"
    digits = 3 if is_fraction(metric) else 1
    text = f"{stat.mean:.{digits}f}"
    return text if stat.sd is None else f"{text} ± {stat.sd:.{digits}f}"
