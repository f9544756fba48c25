#!/usr/bin/env python
"""Goal: what share of a GPU's own matrix rate encoding and training steps reach.

Usage:
    python tools/bench_gpu.py --json gpu.json              # ViT-B/16 and ViT-L/14, batch 32 to 256
    python tools/bench_gpu.py --backbones ViT-L/14 --batches 256 --only encode

The matrix rate is measured in the same run: the best bf16 product of square matrices. Operations
are counted by torch over the very call that is timed. Weights are random, of the true shapes.
Encoding is timed as it runs, under torch.compile and as a replayed CUDA graph; the steps are
those that ``train.py`` makes, on a batch in memory. Target: encoding with ViT-L/14 at batch 256
reaches at least half of the matrix rate. It runs on a CPU too, to try it out.

Example output:
    | work | backbone | batch | mode | images/s | TFLOP/s | share | MiB |
    | encode | ViT-L/14 | 256 | graph | ... |
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dassl.errors import UserError, cli_main

MODES = ("eager", "compile", "graph")
STEPS: dict[str, dict[str, Any]] = {
    # FEATURE_VIEWS: CoOp's image side comes from the store, as its yaml has it.
    "CoOp": {"INPUT.FEATURE_VIEWS": 1},
    "CLIPLoRA": {},
    # Two styles would be two passes of the tower a step, and no rate to set beside CLIP-LoRA's.
    "SAVLT": {"TRAINER.SAVLT.ROI.SOURCE": "full", "TRAINER.SAVLT.CONSISTENCY.WEIGHT": 0.0},
}
WORKS = ("encode", *STEPS)


@dataclass
class Row:
    """One line of the table; ``share`` is of the measured matrix rate."""

    work: str
    backbone: str
    batch: int
    mode: str
    images_per_second: float
    tflops: float
    share: float
    peak_mib: float | None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Rates of a GPU as a share of its matrix rate.")
    parser.add_argument("--backbones", nargs="+", default=["ViT-B/16", "ViT-L/14"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), metavar="WORK")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="of encode")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--side", type=int, help="of the matrices, default 8192 (512 on a CPU)")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    return parser


def matrix_rate(side: int, precision: str) -> float:
    """The best rate of a product of two square matrices, in operations a second."""
    import torch

    from cerviclip.tools.bench_parts.common import device, seconds

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device(), dtype=dtype) for _ in range(2))
    repeats = 20 if device().type == "cuda" else 2

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, b)

    products()
    return 2 * side**3 * repeats / min(seconds(products) for _ in range(5))


def operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and convolutions in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def timed(work: Callable[[], Any]) -> float:
    """Median seconds of a call, over enough calls to fill the device's queue."""
    import statistics

    from cerviclip.tools.bench_parts.common import device, seconds

    calls = 10 if device().type == "cuda" else 1

    def several() -> None:
        for _ in range(calls):
            work()

    several()
    return statistics.median(seconds(several) for _ in range(5 if calls > 1 else 3)) / calls


def peak_mib(work: Callable[[], Any]) -> float | None:
    """Peak of the device's memory during a call, in MiB; None on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def encoders(model: Any, pixels: Any, modes: Sequence[str]) -> Iterator[tuple[str, Callable]]:
    """``(mode, call)`` that encodes the batch; graphs on CUDA alone."""
    import torch

    @torch.no_grad()
    def eager() -> Any:
        return model.encode_image(pixels)

    for mode in modes:
        if mode == "eager":
            yield mode, eager
        elif mode == "compile":
            yield mode, torch.compile(eager, dynamic=False)
        elif pixels.is_cuda:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):  # a capture needs its libraries warm
                for _ in range(3):
                    eager()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                eager()
            yield mode, graph.replay


def measure_encode(bench: Any, backbone: str, batch: int, args: Any) -> Iterator[Row]:
    """Rows of the image tower alone."""
    import torch

    from cerviclip.tools.bench_parts.common import device

    model = bench.backbone(backbone, args.precision)
    pixels = torch.randn(batch, 3, *model.preprocess.size, device=device())
    count = operations(lambda: next(encoders(model, pixels, ["eager"]))[1]())
    for mode, work in encoders(model, pixels, args.modes):
        yield row("encode", backbone, batch, mode, work, count)


def measure_step(bench: Any, name: str, backbone: str, batch: int, args: Any) -> Iterator[Row]:
    """A training step of one method on a batch in memory."""
    import torch

    from cerviclip.tools.bench_parts.steps import build, random_features, stepper

    precision = {f"TRAINER.{name.upper()}.PREC": args.precision}
    trainer = build(bench, name, backbone, {**STEPS[name], **precision})
    visual = trainer.backbone
    shape = (visual.embed_dim,) if name == "CoOp" else (3, *visual.preprocess.size)
    data = random_features(trainer, shape, batch)
    if name == "SAVLT":
        data["roi"] = torch.ones(batch, visual.visual.grid[0] * visual.visual.grid[1]).bool()
    work = stepper(trainer, data)
    work()
    yield row(name, backbone, batch, "eager", work, operations(work))


def row(name: str, backbone: str, batch: int, mode: str, work: Callable, count: int) -> Row:
    """Time a call; the share is filled in by the caller, who knows the matrix rate."""
    took = timed(work)
    return Row(name, backbone, batch, mode, batch / took, count / took / 1e12, 0.0, peak_mib(work))


def measure(bench: Any, args: argparse.Namespace, rate: float) -> list[Row]:
    """All rows; one that does not fit into memory is left out, and said so."""
    import torch

    rows: list[Row] = []
    for backbone in args.backbones:
        for work in args.only:
            for batch in args.batches:
                try:
                    if work == "encode":
                        found = list(measure_encode(bench, backbone, batch, args))
                    else:
                        found = list(measure_step(bench, work, backbone, batch, args))
                except torch.OutOfMemoryError:
                    bench.say(f"{work} {backbone} batch {batch}: not enough memory")
                    continue
                for line in found:
                    line.share = line.tflops * 1e12 / rate
                    bench.say(f"{work} {backbone} {batch} {line.mode}: {line.share:.0%}")
                rows += found
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| work | backbone | batch | mode | images/s | TFLOP/s | share of the matrix rate | MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        memory = "-" if r.peak_mib is None else f"{r.peak_mib:.0f}"
        lines.append(
            f"| {r.work} | {r.backbone} | {r.batch} | {r.mode} | {r.images_per_second:.0f} | "
            f"{r.tflops:.2f} | {r.share:.0%} | {memory} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from cerviclip.backbones.names import OPENAI_GEOMETRY
    from cerviclip.tools.bench_parts.common import Bench, device, machine

    for name in args.backbones:
        if name not in OPENAI_GEOMETRY:
            raise UserError(f"--backbones {name}: take any of {', '.join(OPENAI_GEOMETRY)}")
    if min(args.batches) < 1:
        raise UserError(f"--batches {min(args.batches)}: give numbers from 1")
    side = args.side or (8192 if device().type == "cuda" else 512)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as work:
        bench = Bench(Path(work))
        rate = matrix_rate(side, args.precision)
        rows = measure(bench, args, rate)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"matrix rate, {args.precision}, {side} x {side}: {rate / 1e12:.2f} TFLOP/s\n")
    print(table(rows))
    if args.json:
        report = {"machine": about, "matrix_tflops": rate / 1e12, "rows": [asdict(r) for r in rows]}
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
