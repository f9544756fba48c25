"""Goal: one setting for each method, chosen on val from the runs of a search, with what it cost.

Usage:
    cerviclip sweep --sweep methods_search
    cerviclip choose methods_search --output my_settings.yaml
        and in another sweep's yaml: settings: my_settings.yaml

Example output:
    | trainer | setting | val accuracy | tries | labelled images | |
    |---|---|---:|---:|---:|---|
    | CoOp | OPTIM.LR 0.02 | 71.3 | 3 | 317 | |
    | VPT | OPTIM.LR 0.05 | 58.4 | 3 | 317 | OPTIM.LR at the grid's edge |
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.runs.settings.folders import DEFAULT_ROOT
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import cli_main

if TYPE_CHECKING:
    from cerviclip.runs.search.choose import Choice


def table(choices: Sequence[Choice], metric: str) -> str:
    """A row for each trainer as a pipe table, and a note where the budgets differ."""
    lines = [
        f"| trainer | setting | val {metric} | tries | labelled images | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for choice in choices:
        setting = ", ".join(f"{key} {value}" for key, value in choice.best.opts.items()) or "-"
        edge = f"{', '.join(choice.edge)} at the grid's edge" if choice.edge else ""
        lines.append(
            f"| {choice.trainer} | {setting} | {choice.best.mean:.4g} | {len(choice.tried)} "
            f"| {choice.labels} | {edge} |"
        )
    tries = {len(choice.tried) for choice in choices}
    if len(tries) > 1:
        few, most = min(tries), max(tries)
        lines += ["", f"The budgets differ: {few} to {most} settings a trainer; no fair ranking."]
    return "\n".join(lines) + "\n"


def settings_file(search: str, choices: Sequence[Choice], metric: str, variant: str = "") -> str:
    """The yaml that a sweep's ``settings`` names."""
    import yaml

    trainers: dict[str, Any] = {
        choice.trainer: {
            "opts": choice.best.opts,
            "tries": len(choice.tried),
            "labels": choice.labels,
            "score": round(choice.best.mean, 4),
            **({"edge": choice.edge} if choice.edge else {}),
        }
        for choice in choices
    }
    named = f" --variant {variant}" if variant else ""
    head = f"# Written by: cerviclip choose {search} --metric {metric}{named}\n"
    return head + yaml.safe_dump(
        {"search": search, "metric": metric, "trainers": trainers}, sort_keys=False
    )


def main(argv: Sequence[str] | None = None, prog: str = "python tools/choose.py") -> int:
    parser = Parser(prog=prog, description="The best setting of each trainer of a search, on val.")
    parser.add_argument("sweep", metavar="SWEEP", help="the search's yaml, whose runs are finished")
    parser.add_argument("--metric", default="accuracy", help="what is best; default: accuracy")
    parser.add_argument("--output", default="", metavar="YAML", help="write the settings there")
    parser.add_argument(
        "--output-dir", default=DEFAULT_ROOT, metavar="DIR", help="of the runs; default ./output"
    )
    parser.add_argument(
        "--variant", default="", metavar="NAME", help="the one that the search was given, if any"
    )
    add_plugin_flag(parser)
    add_debug_flag(parser)
    args = parser.parse_args(argv)

    from cerviclip.runs.search.choose import choose

    choices = choose(args.sweep, args.output_dir, args.metric, args.plugins, args.variant)
    print(table(choices, args.metric), end="")
    if args.output:
        from dassl.utils.files import atomic_write

        with atomic_write(Path(args.output)) as handle:
            handle.write(settings_file(args.sweep, choices, args.metric, args.variant))
        print(f"written: {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
