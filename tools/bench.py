#!/usr/bin/env python
"""Goal: what the frozen part of the work costs, as ratios measured in one run on this machine.

Usage:
    python tools/bench.py                                 # every figure, at most 15 minutes
    python tools/bench.py --only coop_step_over_text_tower help_seconds --json bench.json
    python tools/bench.py --scaling docs/scaling.png --only resident_growth

Weights are random, of the backbones' true shapes; images are the real Herlev cells of
``$HERLEV_ROOT/herlev`` or ``../shared/data/herlev``, else generated files of their sizes.

Example output:
    figure                        value   target
    sweep_over_floor              1.12    <= 1.3
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dassl.errors import UserError, cli_main

# Key: what it is, and the target.
FIGURES = {
    "sweep_over_floor": ("45 runs / (one encoder pass + heads on tensors)", "<= 1.3"),
    "second_sweep_over_heads": ("CoOp at other seeds / its heads", "<= 1.3"),
    "speedup_over_published": ("the same 45 runs, one process each, nothing kept", ">= 30"),
    "coop_step_over_text_tower": ("CoOp step / its text tower, cut to the prompt", "<= 1.2"),
    "lora_last3_over_full_step": ("LoRA on 3 of 12 blocks, stored tokens / all", "<= 0.4"),
    "loader_over_model_rate": ("images/s, loader alone / ViT-B/32 alone", "> 1"),
    "bf16_encode_speedup": ("ViT-B/16 encode, bf16 / fp32", ">= 2"),
    "help_seconds": ("train.py --help", "< 0.5"),
    "list_seconds": ("train.py --list", "< 0.5"),
}
# Ten methods each, four minutes: measured where they are named.
STEP_KEYS = {
    "prompt_step_over_towers": ("the dearest prompt method's step / its towers' part", "<= 1.2"),
    "weight_step_over_bare": ("the dearest weight method's step / towers and AdamW", "<= 1.15"),
}
SWEEP_KEYS = {"sweep_over_floor", "second_sweep_over_heads", "speedup_over_published"}
MORE = {
    "published_predictions_agree": ("percent of predictions, lowest trainer", ">= 99"),
    "published_accuracy_difference": ("points, largest trainer", "<= 0.5"),
    "resident_growth": ("resident memory, run 200 against run 20", "< 0.05"),
    **STEP_KEYS,
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Ratios that say what the frozen part of the work costs on this machine.",
        epilog="figures: "
        + ", ".join([*FIGURES, "and if named", *STEP_KEYS, "resident_growth (with --scaling)"]),
    )
    parser.add_argument("--json", metavar="FILE", help="also write figures and details there")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="these figures alone")
    parser.add_argument("--scaling", metavar="PNG", help="draw time against runs, shots, classes")
    parser.add_argument("--work", metavar="DIR", help="keep weights and runs in this new folder")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    return parser


def measure(bench, wanted: set[str], scaling: str | None) -> None:
    """Fill ``bench.figures``, the quick ones first."""
    from cerviclip.tools.bench_parts import methods, steps, sweep
    from cerviclip.tools.bench_parts.common import machine
    from cerviclip.tools.bench_parts.scaling import measure_scaling

    bench.details["machine"] = machine()
    sweep.measure_startup(bench, wanted)
    os.environ["CERVICLIP_CACHE"] = str(bench.work / "cache_steps")
    if "bf16_encode_speedup" in wanted:
        steps.measure_bf16(bench, bench.details["machine"]["bf16_instructions"])
    if "loader_over_model_rate" in wanted:
        steps.measure_loader(bench)
    if "coop_step_over_text_tower" in wanted:
        steps.measure_coop(bench)
    if "lora_last3_over_full_step" in wanted:
        steps.measure_lora(bench)
    for key in sorted(wanted & set(STEP_KEYS)):
        methods.measure_methods(bench, key)
    if wanted & SWEEP_KEYS:
        sweep.measure_sweep(bench, wanted)
    if scaling:
        measure_scaling(bench, Path(scaling))


def print_table(bench) -> None:
    machine = bench.details["machine"]
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"images: {bench.details.get('images', 'none used')}")
    print(f"{'figure':31}{'value':>9}  {'target':8}  what")
    for key, value in bench.figures.items():
        what, target = {**FIGURES, **MORE}[key]
        shown = "none" if value is None else f"{value:.3g}"
        print(f"{key:31}{shown:>9}  {target:8}  {what}")
    published = bench.details.get("sweep", {}).get("published")
    if published:
        print(f"published way: {published['how']}")
        for name, row in published["per_trainer"].items():
            print(f"  {name}: {row['speedup']:.0f} times faster, {row['predictions_agree']:.1f} %")
    if isinstance(bench.details.get("bf16"), str):
        print(f"bf16: {bench.details['bf16']}")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    known = {*FIGURES, *STEP_KEYS, "resident_growth"}
    wanted = set(FIGURES) if args.only is None else set(args.only)
    for key in sorted(wanted - known):
        raise UserError(f"unknown figure {key!r}; there are: {', '.join(sorted(known))}")
    if "resident_growth" in wanted and not args.scaling:
        raise UserError("resident_growth is measured with --scaling PICTURE.png")
    from cerviclip.tools.bench_parts.common import Bench

    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        work = Path(args.work) if args.work else Path(temporary)
        if args.work and work.exists() and any(work.iterdir()):
            raise UserError(f"--work {work} is not empty: old runs there would count as finished")
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(work.resolve())
        measure(bench, wanted, args.scaling)
        print_table(bench)
        if args.json:
            report = {**bench.figures, "details": bench.details}
            Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
