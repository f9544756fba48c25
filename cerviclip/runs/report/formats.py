"""Tables on the terminal and in four formats: Markdown, LaTeX, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.runs.report.groups import METRICS, Group, Stat, has_folds
from cerviclip.runs.report.tables import Table, column_name


def to_markdown(table: Table) -> str:
    """A heading, one pipe table with the centre in the first column, the notes."""
    lines = [f"### {table.title}", ""]
    head = ["centre", "trainer", *(column_name(k) for k in table.columns)]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * len(table.columns)]
    for center, rows in table.blocks:
        for i, (label, cells) in enumerate(rows):
            lines.append("| " + " | ".join([center if i == 0 else "", label, *cells]) + " |")
    return "\n".join([*lines, "", "; ".join([*table.notes, *table.hints]) + ".", ""])


def to_latex(table: Table) -> str:
    """A booktabs table, ready for a paper: without the hints, which name files and commands."""
    n = len(table.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(table.title)}; {_tex('; '.join(table.notes))}.}}",
        rf"\begin{{tabular}}{{ll{'r' * n}}}",
        r"\toprule",
        "Centre & Method & " + " & ".join(_tex(column_name(k)) for k in table.columns) + r" \\",
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
        ("▲", r"$\triangle$"),
        ("▼", r"$\bigtriangledown$"),
        ("°", r"$^\circ$"),
    ):
        text = text.replace(plain, escaped)
    return text


def summary(
    groups: Sequence[Group], runs: Sequence[Mapping[str, Any]], metrics: Sequence[str] = METRICS
) -> dict[str, Any]:
    """summary.json: every metric of every group with mean, sd, n and the value of each run.

    Schema 2 adds ``folds`` to each group and ``fold`` to each failed run; it is used where there
    are folds.
    """
    failed = [run for run in runs if run["status"] != "done"]
    with_folds = has_folds(groups) or any(run["fold"] for run in failed)
    names = ("dataset", "trainer", "backbone", "variant", "shots", *["fold"] * with_folds, "seed")
    return {
        "schema_version": 2 if with_folds else 1,
        "groups": [_group_record(group, metrics, with_folds) for group in groups],
        "failed": [{name: run[name] for name in names} | {"error": run["error"]} for run in failed],
    }


def _group_record(group: Group, metrics: Sequence[str], with_folds: bool) -> dict[str, Any]:
    return {
        "dataset": group.dataset,
        "trainer": group.trainer,
        "backbone": group.backbone,
        "variant": group.variant,
        "shots": group.shots,
        **({"folds": group.folds} if with_folds else {}),
        "seeds": group.seeds,
        "test_read_early": group.read_early,
        **({"transductive": True} if group.transductive else {}),
        **({"ensemble_of": group.members} if group.members else {}),
        "centers": {
            center: {metric: _stat_record(group.stat(center, metric)) for metric in metrics}
            for center in group.centers
        },
    }


def _stat_record(stat: Stat) -> dict[str, Any]:
    values = {str(repeat): value for repeat, value in stat.values.items()}
    return {"mean": stat.mean, "sd": stat.sd, "n": stat.n, "values": values}


def to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(groups: Sequence[Group], metrics: Sequence[str] = METRICS) -> str:
    """One line per group, centre and metric; the values of its runs as ``seed:value``.

    Where there are folds a column says how many, and values stand as ``fold 3/10 seed 1:value``;
    where a method is transductive a column says which are.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    more = ["folds"] * has_folds(groups) + ["transductive"] * any(g.transductive for g in groups)
    head = ["dataset", "trainer", "backbone", "variant", "shots", *more]
    writer.writerow([*head, "center", "metric", "n", "mean", "sd", "values"])
    for g in groups:
        for center in g.centers:
            for metric in metrics:
                stat = g.stat(center, metric)
                values = ";".join(f"{repeat}:{value!r}" for repeat, value in stat.values.items())
                mean = "" if stat.mean is None else repr(stat.mean)
                sd = "" if stat.sd is None else repr(stat.sd)
                row = [getattr(g, name) for name in head]
                writer.writerow([*row, center, metric, stat.n, mean, sd, values])
    return out.getvalue()


def print_table(table: Table, console: Any = None) -> None:
    """The table on the terminal, a block per centre."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # As Text, since rich reads a plain string as markup: [timm:resnet18] would be a style.
    title = Text(table.title, "bold")
    shown = RichTable(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("centre", style="bold", no_wrap=True)
    shown.add_column("trainer", no_wrap=True)
    for k in table.columns:
        shown.add_column(column_name(k), justify="right", no_wrap=True)
    for center, rows in table.blocks:
        for i, (label, cells) in enumerate(rows):
            row = (center if i == 0 else "", label, *cells)
            shown.add_row(*map(Text, row), end_section=i == len(rows) - 1)
    shown.caption = Text("; ".join([*table.notes, *table.hints]), "table.caption")
    shown.caption_justify = "left"
    console = console or Console()
    # A number cut to "81.2 ±…" says nothing: rather let a narrow terminal wrap the line.
    needed = console.measure(shown, options=console.options.update(max_width=1000)).maximum
    console.width = max(console.width, needed)
    console.print(shown)
