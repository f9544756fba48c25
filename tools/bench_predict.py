#!/usr/bin/env python
"""Goal: what ``cerviclip predict`` on a folder costs against its bare model, as ratios of one run.

Usage:
    python tools/bench_predict.py RUN FOLDER                 # of images
    python tools/bench_predict.py --vit FOLDER               # ViT-B/32 with random weights
    python tools/bench_predict.py RUN FOLDER --rounds 5 --json predict.json

``model`` gives the model pixels that are in memory, in the run's own batches; ``decode`` reads,
resizes and normalises the files with one thread and no model; ``folder`` is the predictor's whole
answer (calibration, thresholds, sets, neighbours). They take turns, and the median of the rounds
counts. ``..._ms`` are milliseconds of processor time for an image, which other programs disturb
less than the wall clock.

Decoding is work that the model alone does not do. It is free only where the model leaves cores
idle: ``possible_over_model`` is what decoding and model give on all cores if nothing is lost.

Example output:
    figure                        value
    folder_over_model             0.93
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dassl.errors import UserError, cli_main


def prepare(predictor: Any, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What a batch holds of each image: files to pixels."""
    from cerviclip.app.pictures import open_picture
    from cerviclip.engine.inference import batch_builder

    builder = batch_builder(predictor.members[0].trainer)
    windows = predictor.reading.windows
    return [builder.sample_of(open_picture(path, windows), str(path)) for path in paths]


def run_model(predictor: Any, samples: Sequence[dict[str, Any]]) -> None:
    """Probabilities and features of samples, in the run's batches."""
    from cerviclip.engine.inference import batch_builder

    member = predictor.members[0]
    builder, wanted = batch_builder(member.trainer), predictor.knowledge.wants_features
    for start in range(0, len(samples), member.batch_size):
        for sample in samples[start : start + member.batch_size]:
            builder.add_sample(sample)
        member.answers(builder.batch(), wanted)


def measure(predictor: Any, paths: Sequence[Path], rounds: int) -> dict[str, float]:
    """Images per second and processor time of each part, and their ratios."""
    from cerviclip.tools.bench_parts.common import spent

    samples = prepare(predictor, paths)
    parts: dict[str, Callable[[], Any]] = {
        "model": lambda: run_model(predictor, samples),
        "decode": lambda: prepare(predictor, paths),
        "folder": lambda: list(predictor.predict_iter(paths)),
    }
    for work in parts.values():
        work()  # the first pass is slower
    every = [{name: spent(work) for name, work in parts.items()} for _ in range(rounds)]
    wall, cpu = (
        {name: statistics.median(one[name][kind] for one in every) for name in parts}
        for kind in ("seconds", "cpu")
    )
    return {
        **{f"{name}_per_second": len(paths) / wall[name] for name in parts},
        **{f"{name}_ms": 1000 * cpu[name] / len(paths) for name in parts},
        "folder_over_model": wall["model"] / wall["folder"],
        "folder_over_model_processor": cpu["model"] / cpu["folder"],
        "possible_over_model": possible(wall["model"], cpu["decode"]),
    }


def cores_of() -> int:
    """Cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")  # not on macOS
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def possible(model: float, decode: float) -> float:
    """The best rate on all cores over the model's alone.

    Args:
        model: its wall time, with all cores at work or one, as it takes them.
        decode: processor time on top.
    """
    import torch

    cores = cores_of()
    threads = min(cores, torch.get_num_threads())
    return model / max(model, (threads * model + decode) / cores)


def vit_run(folder: Path) -> Path:
    """LinearProbe on ViT-B/32 with random weights, on phantoms."""
    from cerviclip import api
    from cerviclip.app.demo import demo_run
    from cerviclip.tools.bench_parts.common import write_clip

    write_clip("ViT-B/32", folder / "vit.safetensors")
    opts = {"TEST.EXTERNAL": [], "TEST.NO_TEST": True, "DATALOADER.NUM_WORKERS": 0}
    api.train(
        dataset="PhantomOCT",
        trainer="LinearProbe",
        backbone="ViT-B/32",
        weights=folder / "vit.safetensors",
        shots=1,
        root=demo_run()[1].parents[2],
        output_dir=folder / "run",
        opts=opts,
        echo=False,
    )
    return folder / "run"


def main(argv: Sequence[str] | None = None, prog: str = "tools/bench_predict.py") -> int:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", nargs="?", default="", help="a finished run")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="images")
    parser.add_argument("--vit", action="store_true", help="a run of ViT-B/32, random weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=128, help="repeated if there are fewer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args(argv)
    if bool(args.run) == args.vit:
        raise UserError("give a RUN, or --vit")
    from cerviclip.app.predictor import Predictor
    from cerviclip.data.files.folders import image_files

    found = [args.folder / inner for inner in image_files(args.folder)]
    if not found:
        raise UserError(f"no images in {args.folder}")
    paths = [found[i % len(found)] for i in range(args.images)]
    with tempfile.TemporaryDirectory() as work:
        run = vit_run(Path(work)) if args.vit else args.run
        figures = measure(Predictor.from_run(run, device="cpu"), paths, args.rounds)
    for name, value in figures.items():
        print(f"{name:<30}{value:.2f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
