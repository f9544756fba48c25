#!/usr/bin/env python
"""What SAVLT costs beside its tower, against a plain implementation, and in bf16; and its memory.

Goal
    Ratios measured in one process, the ways that are compared taking turns. ViT-B/32 with random
    weights, batch 32, frames of 512 x 384 px in PNG files. ``step_over_bare``: a whole training
    step (loading, ROI, pooling, texts, prototypes, optimiser, logging) over a bare forward and
    backward of the same LoRA tower on a batch in memory; with consistency on over two bare
    forwards and their backward. ``speedup_over_plain_fp32`` and ``_bf16``: steps a second over
    those of an implementation that loops over images and patches and encodes the texts and
    segments the frames at each step, in fp32. ``bf16_speedup``: fp32 step over bf16 step; with
    its neighbour null on a CPU without bf16 instructions. ``peak_mb``: of a process that makes
    fp32 steps. ``resident_run25_over_run5``: of runs with PhantomCLIP, measured before all else.
    Each figure is a ratio of the quickest turns, which load of other programs cannot shorten; the
    details in the JSON file hold every turn, in wall and processor seconds of one step.

Usage
    python tools/bench_savlt.py [--json FILE] [--only step plain bf16 memory] [--minutes 9]

Example output
    step_over_bare                        1.08   (target <= 1.15)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dassl.errors import cli_main

PARTS = ("step", "plain", "bf16", "memory")
# Key: the ways whose times are divided, and the target.
RATIOS = {
    "step_over_bare": ("step", "bare", "<= 1.15"),
    "consistency_step_over_two_bare": ("consistency", "two bare", "<= 1.15"),
    "speedup_over_plain_fp32": ("plain", "step", ">= 1.15"),
    "speedup_over_plain_bf16": ("plain", "bf16", ">= 2.5"),
    "bf16_speedup": ("step", "bf16", ">= 2"),
}
NEEDS_BF16 = {"speedup_over_plain_bf16", "bf16_speedup"}
OTHERS = {"resident_run25_over_run5": "< 1.05", "peak_mb": ""}
BACKBONE = "ViT-B/32"
STEPS = 2  # a turn: the first pays for memory that the way before it gave back
ROUNDS = 12
RUNS = 25  # of the sweep whose memory is looked at


# -- the ways that take turns ----------------------------------------------------------------------


def savlt_turn(trainer: Any) -> Callable[[], None]:
    """Steps of the trainer's own epoch, loading and logging included."""
    import itertools

    inner = trainer.train_batches
    trainer.train_batches = lambda: itertools.islice(inner(), STEPS)

    def turn() -> None:
        trainer.epoch = 0
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.run_epoch()

    return turn


def bare_turn(trainer: Any, passes: int = 1) -> Callable[[], None]:
    """``passes`` forwards and their backward of the LoRA tower on a batch in memory."""
    import torch

    from cerviclip.tools.bench_parts.savlt_setup import BATCH
    from cerviclip.vlm.learned.lora import lora_parameters

    height, width = trainer.backbone.preprocess.size
    images = torch.randn(passes * BATCH, 3, height, width)
    parameters = list(lora_parameters(trainer.visual))

    def turn() -> None:
        for _ in range(STEPS):
            with trainer.precision.autocast():
                features = trainer.visual(images)
            features.float().square().mean().backward()
            for parameter in parameters:
                parameter.grad = None

    return turn


def take_turns(ways: Mapping[str, Callable[[], None]], until: float) -> dict[str, list[dict]]:
    """Wall and processor seconds a step of each turn, after one turn of each unmeasured.

    Args:
        ways: called one after another, up to ``ROUNDS`` times.
        until: on the performance counter; no round begins that would end later.
    """
    from cerviclip.tools.bench_parts.common import spent

    for way in ways.values():
        way()
    times: dict[str, list[dict]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for name, way in ways.items():
            times[name].append({k: v / STEPS for k, v in spent(way).items()})
        if 2 * time.perf_counter() - began > until:
            break
    return times


# -- memory ----------------------------------------------------------------------------------------


def resident_growth(work: Path) -> list[float]:
    """Resident MB after each of ``RUNS`` SAVLT runs of one process."""
    import psutil

    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.requests import RunRequest

    sizes = []
    for seed in range(1, RUNS + 1):
        keys = ("DATASET.SPLIT_RATIO", (0.5, 0.1, 0.4), "TRAIN.MAX_ITERS", 4)
        request = RunRequest(
            trainer="SAVLT",
            dataset="MixedCenterOCT",
            root=str(work / "data"),
            shots=2,
            backbone="PhantomCLIP",
            seed=seed,
            output_dir=str(work / f"sweep_{seed}"),
            opts=(*keys, "TEST.EXTERNAL", ()),  # these frames are of one centre
        )
        cfg = setup_cfg(request)
        with contextlib.redirect_stdout(io.StringIO()):
            run_one(cfg, echo=False)
        sizes.append(psutil.Process().memory_info().rss / 2**20)
    return sizes


# -- the whole -------------------------------------------------------------------------------------


def measure(bench: Any, only: Sequence[str], seconds: float) -> None:
    """Fill ``bench.figures`` and ``bench.details`` with what was asked for."""
    from cerviclip.runs.run.process.runtime import peak_memory_mib
    from cerviclip.tools.bench_parts.common import machine
    from cerviclip.tools.bench_parts.savlt_plain import Plain, largest_difference
    from cerviclip.tools.bench_parts.savlt_setup import BATCH, build, write_frames, write_segmenter

    until = time.perf_counter() + seconds
    work, figures = bench.work, bench.figures
    bench.details["machine"] = machine()
    write_frames(work / "data")
    if "memory" in only:
        bench.say(f"memory over {RUNS} runs")
        sizes = resident_growth(work)
        figures["resident_run25_over_run5"] = sizes[-1] / sizes[4]
        bench.details["resident_mb"] = sizes
    if set(only) == {"memory"}:
        return

    bench.say("weights, segmenter, trainers")
    write_segmenter(work / "segmenter.safetensors", work / "data")
    weights = bench.weights(BACKBONE)
    trainer = build(work, BACKBONE, weights)
    ways: dict[str, Callable[[], None]] = {"step": savlt_turn(trainer)}
    ways["step"]()
    figures["peak_mb"] = peak_memory_mib() or float("nan")  # before the others are there
    plain = Plain(trainer, BATCH)
    gap = bench.details["largest_logit_difference_to_plain"] = largest_difference(trainer, plain)
    if gap > 1e-3:
        raise RuntimeError(f"the plain implementation's logits differ by {gap:.2g}")
    has_bf16 = bench.details["machine"]["bf16_instructions"]
    if "step" in only:
        ways["bare"] = bare_turn(trainer)
    if {"plain", "bf16"} & set(only):
        ways["plain"] = lambda: plain.steps(STEPS)
    if "bf16" in only and has_bf16:
        ways["bf16"] = savlt_turn(build(work, BACKBONE, weights, TRAINER__SAVLT__PREC="bf16"))
    if "step" in only:
        styled = build(work, BACKBONE, weights, TRAINER__SAVLT__CONSISTENCY__WEIGHT=1.0)
        ways |= {"consistency": savlt_turn(styled), "two bare": bare_turn(styled, passes=2)}
    bench.say(f"{', '.join(ways)} take turns")
    times = take_turns(ways, until)
    bench.details["turns"] = times
    for key, (above, below, _) in RATIOS.items():
        if above in ways and below in ways:
            figures[key] = ratio(times[above], times[below])
    if "bf16" in only and not has_bf16:
        figures |= dict.fromkeys(NEEDS_BF16)
        bench.details["bf16"] = "this CPU has no bf16 instructions: not measured"


def ratio(above: Sequence[dict], below: Sequence[dict], key: str = "seconds") -> float:
    """Of the quickest turns."""
    return min(turn[key] for turn in above) / min(turn[key] for turn in below)


def print_table(bench: Any) -> None:
    print(", ".join(f"{key} {value}" for key, value in bench.details["machine"].items()))
    for name, turns in bench.details.get("turns", {}).items():
        walls = " ".join(f"{turn['seconds']:.2f}" for turn in turns)
        print(f"{name:12} seconds a step: {walls}")
    targets = {**{key: target for key, (_, _, target) in RATIOS.items()}, **OTHERS}
    for key, target in targets.items():
        if key in bench.figures:
            value = bench.figures[key]
            shown = "none" if value is None else f"{value:.3f}" if value < 100 else f"{value:.0f}"
            print(f"{key:32}{shown:>9}" + (f"   (target {target})" if target else ""))
    if "bf16" in bench.details:
        print(bench.details["bf16"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write figures and details there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no round after that")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    args = parser.parse_args(argv)
    import os

    from cerviclip.tools.bench_parts.common import Bench
    from dassl.utils.files import atomic_write

    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        os.environ["CERVICLIP_CACHE"] = str(Path(work) / "cache")
        bench = Bench(Path(work).resolve())
        measure(bench, args.only, args.minutes * 60)
    print_table(bench)
    if args.json:
        with atomic_write(args.json) as file:
            file.write(json.dumps({**bench.figures, "details": bench.details}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
