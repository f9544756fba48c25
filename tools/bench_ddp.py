#!/usr/bin/env python
"""Goal: what a second process is worth in a training step: images per second of two over one.

Usage:
    python tools/bench_ddp.py                             # ViT-B/32, CLIP-LoRA, 8 images a process
    python tools/bench_ddp.py --batch 16 --repeats 9 --json ddp.json

Two processes with one thread and one core each step in turn in three ways: the first one alone,
both without a word to each other, and both on one batch of twice the size, with gradients averaged.
The second shows what the two cores take from each other (caches, memory, the other work of the
machine), which no program can win back. Weights are random, of the backbone's true shape.

Example output:
    way                      wall s   CPU s
    one, 8 images             2.100    2.080
    two apart, 8 each         2.200    2.170
    two on 16 images          2.230    2.190
    scaling 0.94 of ideal (wall), 0.95 (CPU); of two apart 0.99
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dassl.errors import UserError, cli_main

WAYS = ("one", "apart", "together")
SPEC = "BENCH_DDP_SPEC"  # a worker's work, as JSON


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Images per second of two processes over those of one, in a LoRA step."
    )
    parser.add_argument("--backbone", default="ViT-B/32", help="an OpenAI name")
    parser.add_argument("--batch", type=int, default=8, help="images of each process (default 8)")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each way")
    parser.add_argument("--json", metavar="FILE", help="also write all times there")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    return parser


# One of the two processes -------------------------------------------------------------------------


def worker(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The times of this process: way, wall and processor seconds of each step."""
    import torch

    from dassl.utils import distributed

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    distributed.init_from_env(use_cuda=False)
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[distributed.rank() % len(cores)]})
    torch.set_num_threads(1)
    steps = steps_of(spec)
    times = []
    for number in range(spec["repeats"] + 1):
        for way in WAYS:
            distributed.wait_for_all()
            if way == "one" and not distributed.is_main():
                continue
            spent = timed(steps[way])
            if number > 0:  # the first round is to warm up
                times.append({"way": way, **spent})
    distributed.wait_for_all()
    distributed.shut_down()
    return times


def steps_of(spec: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """A step of each way, on a trainer of CLIP-LoRA in both towers."""
    from cerviclip.tools.bench_parts.common import Bench
    from cerviclip.tools.bench_parts.steps import build, random_features, stepper
    from dassl.utils.batch_share import Share, step_of

    size = spec["batch"]
    trainer = build(Bench(Path(spec["work"])), "CLIPLoRA", spec["backbone"], {})
    pixels = (3, *trainer.backbone.preprocess.size)
    step = stepper(trainer, random_features(trainer, pixels, size))
    share = Share.of(2 * size)

    def apart() -> None:
        with nobody_else():
            step()

    def together() -> None:
        trainer.gradient_share = share.weight
        with step_of(share):
            step()

    return {"one": apart, "apart": apart, "together": together}


@contextmanager
def nobody_else() -> Iterator[None]:
    """In here nothing is exchanged."""
    from dassl.utils import distributed

    place, distributed._place = distributed._place, distributed._Place()
    try:
        yield
    finally:
        distributed._place = place


def timed(step: Callable[[], Any]) -> dict[str, float]:
    from cerviclip.tools.bench_parts.common import spent

    return spent(step)


# Both ---------------------------------------------------------------------------------------------


def run_workers(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The times of each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    env |= {SPEC: json.dumps(spec), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-m", "cerviclip.tools.bench_ddp"]
    workers = [
        subprocess.Popen(
            command,
            env={**env, "RANK": str(n), "LOCAL_RANK": str(n)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    outputs = [process.communicate()[0] for process in workers]
    if any(process.returncode for process in workers):
        raise UserError("a process of the benchmark failed; its error stands above")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def summary(times: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Median seconds of each way, the slower process counting, and the ratios.

    Args:
        times: of each process, rounds in one order.
    """
    found: dict[str, Any] = {}
    for key in ("seconds", "cpu"):
        for way in WAYS:
            rounds = zip(*([t[key] for t in own if t["way"] == way] for own in times[: _of(way)]),
                         strict=True)  # fmt: skip
            found[f"{way}_{key}"] = statistics.median(max(pair) for pair in rounds)
        # Two processes do twice the work in the time of "together".
        found[f"scaling_{key}"] = found[f"one_{key}"] / found[f"together_{key}"]
    found["of_two_apart"] = found["apart_seconds"] / found["together_seconds"]
    return found


def _of(way: str) -> int:
    return 1 if way == "one" else 2


def main(argv: Sequence[str] | None = None) -> int:
    if SPEC in os.environ:
        print(json.dumps(worker(json.loads(os.environ[SPEC]))))
        return 0
    args = build_parser().parse_args(argv)
    from cerviclip.backbones.names import OPENAI_GEOMETRY
    from cerviclip.tools.bench_parts.common import Bench, machine

    if args.backbone not in OPENAI_GEOMETRY:
        known = ", ".join(OPENAI_GEOMETRY)
        raise UserError(f"--backbone {args.backbone}: take any of {known}")
    if min(args.batch, args.repeats) < 1:
        raise UserError("--batch and --repeats are whole numbers from 1")
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        bench = Bench(Path(work))
        bench.weights(args.backbone)
        bench.data_root()
        facts = machine()
        spec = {"work": work, "backbone": args.backbone, "batch": args.batch}
        times = run_workers({**spec, "repeats": args.repeats})
    result = summary(times)
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"CLIP-LoRA, {args.backbone}, one thread a process, median of {args.repeats} steps")
    print(f"{'way':24}{'wall s':>8}{'CPU s':>8}")
    names = (f"one, {args.batch} images", f"two apart, {args.batch} each")
    for way, name in zip(WAYS, (*names, f"two on {2 * args.batch} images"), strict=True):
        print(f"{name:24}{result[f'{way}_seconds']:8.3f}{result[f'{way}_cpu']:8.3f}")
    print(
        f"scaling {result['scaling_seconds']:.2f} of ideal (wall), {result['scaling_cpu']:.2f} "
        f"(CPU); of two apart {result['of_two_apart']:.2f}"
    )
    if args.json:
        report = {**result, "machine": facts, "times": times}
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
