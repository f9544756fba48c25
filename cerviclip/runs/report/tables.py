"""From many results.json to tables: means and deviations over seeds, in four formats."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import BINARY, OVERALL
from cerviclip.plugins import is_phantom
from cerviclip.runs.run.results_json import read_results
from cerviclip.runs.settings.folders import find_results
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


@dataclass(frozen=True)
class Stat:
    """One metric over the seeds of a group; sd is the sample deviation, None for one seed."""

    values: dict[int, float]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values.values()) if self.n > 1 else None


@dataclass
class Group:
    """Runs that differ in their seed only."""

    dataset: str
    trainer: str
    backbone: str
    variant: str
    shots: int | str
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def row(self) -> tuple[str, str, str]:
        return (self.trainer, self.variant, self.backbone)

    @property
    def centers(self) -> list[str]:
        return list(dict.fromkeys(c for run in self.runs for c in run["centers"]))

    @property
    def read_early(self) -> bool:
        return any(run["test_read_early"] for run in self.runs)

    def stat(self, center: str, metric: str) -> Stat:
        values = {}
        for run in self.runs:
            value = metric_value(run["centers"].get(center), metric)
            if value is not None:
                values[run["seed"]] = value
        return Stat(dict(sorted(values.items())))


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
    raise UserError(
        f"unknown metric {metric!r} (known: {', '.join(METRICS)}, per_class.<class>.f1)"
    )


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
        groups = json.loads((Path(folder) / "summary.json").read_text())["groups"]
        return list(dict.fromkeys((g["trainer"], g["variant"]) for g in groups))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def shots_order(shots: int | str) -> float:
    return float("inf") if shots == "full" else float(shots)


def group_runs(
    runs: Iterable[Mapping[str, Any]], order: Sequence[tuple[str, str]] = ()
) -> list[Group]:
    """Finished runs by everything but the seed, in a stable order.

    Args:
        runs: contents of results.json.
        order: (trainer, variant) in the order wanted; others follow by name.

    Raises:
        UserError: two runs that a table cannot tell apart.
    """
    groups: dict[tuple, Group] = {}
    places: dict[tuple, str] = {}
    for run in runs:
        if run["status"] != "done":
            continue
        key = (run["dataset"], run["trainer"], run["backbone"], run["variant"], run["shots"])
        cell, place = (*key, run["seed"]), str(run.get("folder", "?"))
        if cell in places:
            raise UserError(
                f"{places[cell]} and {place} are both {run['trainer']} on {run['dataset']}, "
                f"{run['variant']}, {run['backbone']}, shots {run['shots']}, seed {run['seed']}; "
                "a table takes one of them: give a folder that holds one only"
            )
        places[cell] = place
        groups.setdefault(key, Group(*key)).runs.append(dict(run))
    rank = {pair: i for i, pair in enumerate(order)}
    for group in groups.values():
        group.runs.sort(key=lambda run: run["seed"])
    return sorted(
        groups.values(),
        key=lambda g: (
            g.dataset,
            rank.get((g.trainer, g.variant), len(rank)),
            g.shots != 0,  # methods that train nothing lead
            g.trainer.lower(),
            g.variant,
            g.backbone,
            shots_order(g.shots),
        ),
    )


@dataclass
class Table:
    """Trainer x shots of one metric on one dataset, a block of rows per centre."""

    dataset: str
    metric: str
    columns: list[str]
    blocks: list[tuple[str, list[tuple[str, list[str]]]]]  # centre -> (row label, cells)
    notes: list[str]

    @property
    def title(self) -> str:
        phantom = " (phantom data)" if is_phantom(self.dataset) else ""
        return f"{self.dataset}{phantom}: {self.heading}"

    @property
    def heading(self) -> str:
        return TITLES.get(self.metric, self.metric)


def build_tables(groups: Sequence[Group], metric: str) -> list[Table]:
    """One table per dataset."""
    datasets = list(dict.fromkeys(g.dataset for g in groups))
    return [_table([g for g in groups if g.dataset == d], d, metric) for d in datasets]


def _table(groups: list[Group], dataset: str, metric: str) -> Table:
    shots = sorted({g.shots for g in groups if g.shots != 0}, key=shots_order) or [0]
    labels = row_labels(groups)
    by_cell = {(g.row, g.shots): g for g in groups}
    seeds = max(len({run["seed"] for run in g.runs}) for g in groups)
    fewer = early = False
    blocks = []
    for center in list(dict.fromkeys(c for g in groups for c in g.centers)):
        rows = []
        for row, label in labels.items():
            cells = []
            for k in shots:
                group = by_cell.get((row, k)) or by_cell.get((row, 0))
                stat = group.stat(center, metric) if group else Stat({})
                mark = ""
                if group and group.shots != 0 and 0 < stat.n < seeds:
                    mark, fewer = "*", True
                if group and group.read_early:
                    mark, early = mark + "†", True
                cells.append(format_stat(stat, metric) + mark)
            rows.append((label, cells))
        blocks.append((center, rows))
    notes = [f"mean ± sd over {seeds} seeds" if seeds > 1 else "one seed"]
    if any(g.shots == 0 for g in groups) and shots != [0]:
        names = ", ".join(dict.fromkeys(g.trainer for g in groups if g.shots == 0))
        notes.append(f"{names} trains nothing: one run stands for all shots")
    splits = {run.get("split_hash") for g in groups for run in g.runs} - {None}
    if len(splits) > 1:  # images were added between two runs, or a variant splits otherwise
        notes.append(f"runs on {len(splits)} different splits of the images, hardly comparable")
    if fewer:
        notes.append("* fewer seeds than the others")
    if early:
        notes.append("† the test set was read before training had ended")
    return Table(dataset, metric, [str(k) for k in shots], blocks, notes)


def row_labels(groups: Sequence[Group]) -> dict[tuple[str, str, str], str]:
    """A label per (trainer, variant, backbone): only as much of it as tells the rows apart."""
    rows = list(dict.fromkeys(g.row for g in groups))
    labels = {}
    for trainer, variant, backbone in rows:
        label = trainer if variant == "default" else f"{trainer} ({variant})"
        if len({b for t, v, b in rows if (t, v) == (trainer, variant)}) > 1:
            label += f" [{backbone}]"
        labels[(trainer, variant, backbone)] = label
    return labels


def column_name(shots: str) -> str:
    """A column's head."""
    special = {"full": "full", "0": "zero-shot", "1": "1 shot"}
    return special.get(shots, f"{shots} shots")


def format_stat(stat: Stat, metric: str) -> str:
    """``63.2 ± 1.4``; AUC and ECE with three decimals; a dash where nothing is defined."""
    if stat.mean is None:
        return "-"
    digits = 3 if metric.rsplit(".", 1)[-1] in ("auc", "macro_auc", "ece") else 1
    text = f"{stat.mean:.{digits}f}"
    return text if stat.sd is None else f"{text} ± {stat.sd:.{digits}f}"


# -- formats ------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A heading, one pipe table with the centre in the first column, the notes."""
    lines = [f"### {table.title}", ""]
    head = ["centre", "trainer", *(column_name(k) for k in table.columns)]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * len(table.columns)]
    for center, rows in table.blocks:
        for i, (label, cells) in enumerate(rows):
            lines.append("| " + " | ".join([center if i == 0 else "", label, *cells]) + " |")
    return "\n".join([*lines, "", "; ".join(table.notes) + ".", ""])


def to_latex(table: Table) -> str:
    """A booktabs table, ready for a paper."""
    n = len(table.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(table.title)}; {_tex('; '.join(table.notes))}.}}",
        rf"\begin{{tabular}}{{ll{'r' * n}}}",
        r"\toprule",
        "Centre & Method & " + " & ".join(_tex(k) for k in table.columns) + r" \\",
    ]
    for center, rows in table.blocks:
        lines.append(r"\midrule")
        for i, (label, cells) in enumerate(rows):
            first = _tex(center) if i == 0 else ""
            lines.append(" & ".join([first, _tex(label), *(_tex(c) for c in cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _tex(text: str) -> str:
    for plain, escaped in (
        ("\\", r"\textbackslash "),
        ("_", r"\_"),
        ("%", r"\%"),
        ("&", r"\&"),
        ("#", r"\#"),
        ("±", r"$\pm$"),
        ("−", "$-$"),
        ("†", r"$^\dagger$"),
        ("*", r"$^*$"),
    ):
        text = text.replace(plain, escaped)
    return text


def summary(
    groups: Sequence[Group], runs: Sequence[Mapping[str, Any]], metrics: Sequence[str] = METRICS
) -> dict[str, Any]:
    """summary.json: every metric of every group with mean, sd, n and the values per seed."""
    entries = []
    for group in groups:
        centers = {
            center: {metric: _stat_record(group.stat(center, metric)) for metric in metrics}
            for center in group.centers
        }
        entries.append(
            {
                "dataset": group.dataset,
                "trainer": group.trainer,
                "backbone": group.backbone,
                "variant": group.variant,
                "shots": group.shots,
                "seeds": [run["seed"] for run in group.runs],
                "test_read_early": group.read_early,
                "centers": centers,
            }
        )
    failed = [
        {key: run[key] for key in ("dataset", "trainer", "backbone", "variant", "shots", "seed")}
        | {"error": run["error"]}
        for run in runs
        if run["status"] != "done"
    ]
    return {"schema_version": 1, "groups": entries, "failed": failed}


def _stat_record(stat: Stat) -> dict[str, Any]:
    values = {str(seed): value for seed, value in stat.values.items()}
    return {"mean": stat.mean, "sd": stat.sd, "n": stat.n, "values": values}


def to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(groups: Sequence[Group], metrics: Sequence[str] = METRICS) -> str:
    """One line per group, centre and metric; the values per seed as ``seed:value``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["dataset", "trainer", "backbone", "variant", "shots", "center", "metric"]
    writer.writerow([*head, "n", "mean", "sd", "values"])
    for g in groups:
        for center in g.centers:
            for metric in metrics:
                stat = g.stat(center, metric)
                values = ";".join(f"{seed}:{value!r}" for seed, value in stat.values.items())
                mean = "" if stat.mean is None else repr(stat.mean)
                sd = "" if stat.sd is None else repr(stat.sd)
                row = [g.dataset, g.trainer, g.backbone, g.variant, g.shots, center, metric]
                writer.writerow([*row, stat.n, mean, sd, values])
    return out.getvalue()


def print_table(table: Table, console: Any = None) -> None:
    """The table on the terminal, a block per centre."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    shown.add_column("centre", style="bold", no_wrap=True)
    shown.add_column("trainer", no_wrap=True)
    for k in table.columns:
        shown.add_column(column_name(k), justify="right", no_wrap=True)
    for center, rows in table.blocks:
        for i, (label, cells) in enumerate(rows):
            shown.add_row(center if i == 0 else "", label, *cells, end_section=i == len(rows) - 1)
    shown.caption = "; ".join(table.notes)
    shown.caption_justify = "left"
    console = console or Console()
    # A number cut to "81.2 ±…" says nothing: rather let a narrow terminal wrap the line.
    needed = console.measure(shown, options=console.options.update(max_width=1000)).maximum
    console.width = max(console.width, needed)
    console.print(shown)
