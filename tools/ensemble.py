"""Goal: finished runs as one: the mean of their probabilities, or a stacking fitted on val.

Usage:
    cerviclip ensemble output/PhantomOCT/GDA output/PhantomOCT/CLIPLoRA
        one ensemble for each number of shots, fold and seed, of the two methods
    cerviclip ensemble output/PhantomOCT/GDA output/PhantomOCT/CLIPLoRA --stack --name gda-lora
    cerviclip ensemble output/PhantomOCT/GDA --join-seeds --name seeds
        one of all seeds, for each number of shots

Example output:
    output/PhantomOCT/Ensemble/PhantomCLIP/mean/shots_16/seed_1: 2 runs, accuracy 71.2 %
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cerviclip.counted import counted
from cerviclip.runs.settings.folders import DEFAULT_ROOT
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import UserError, cli_main


def main(argv: Sequence[str] | None = None, prog: str = "python tools/ensemble.py") -> int:
    parser = Parser(
        prog=prog,
        description="Join finished runs: average their probabilities, or stack them on val.",
        epilog="What is written is a run's folder: tables, curves and comparisons read it.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, or one of many runs"
    )
    parser.add_argument(
        "--stack", action="store_true", help="logistic regression on val log-probabilities"
    )
    parser.add_argument(
        "--name", default="", help="in tables and folders; default: mean or stacked"
    )
    parser.add_argument("--join-seeds", action="store_true", help="all seeds together")
    parser.add_argument(
        "--output-dir", default=DEFAULT_ROOT, metavar="DIR", help="default ./output"
    )
    parser.add_argument("--fresh", action="store_true", help="replace another ensemble")
    add_debug_flag(parser)
    args = parser.parse_args(argv)

    from cerviclip.runs.ensemble import MEAN, STACKED, ensembles
    from cerviclip.runs.report.groups import load_runs

    how = STACKED if args.stack else MEAN
    found = {run["folder"]: run for folder in args.runs for run in load_runs(folder)}
    members = [run for run in found.values() if not run["ensemble"]]
    if len(members) < len(found):
        print(f"{len(found) - len(members)} ensembles among the runs are left out")
    if not members:
        raise UserError("no runs but ensembles; name the folders of their members")
    for one in ensembles(members, how, args.name or how, args.join_seeds):
        folder, results = one.write(args.output_dir, args.fresh)
        accuracy = next(iter(results["centers"].values()))["accuracy"]["value"]
        told = "" if accuracy is None else f", accuracy {accuracy:.1f} %"
        print(f"{folder}: {counted(len(one.runs), 'run')}{told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
