#!/usr/bin/env python
"""Goal: what ``cerviclip predict`` on a folder costs against its bare model, as ratios of one run.

Usage:
    python tools/bench_predict.py RUN FOLDER                 # of images
    python tools/bench_predict.py --vit FOLDER               # ViT-B/32 with random weights
    python tools/bench_predict.py RUN FOLDER --rounds 5 --json predict.json

``model`` gives the model pixels that are in memory, in the run's own batches; ``decode`` reads,
resizes and normalises the files with one thread and no model; ``by_hand`` does one after the other;
``folder`` is the predictor's whole answer (calibration, thresholds, sets, neighbours). They take
turns, and the median of the rounds counts.

The model alone may use every core. So decoding can be free only where the model leaves cores idle,
and ``possible_over_model`` is what the cores would give if nothing at all were lost.

Example output:
    figure                        value
    folder_over_model             0.93
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dassl.errors import UserError, cli_main

IMAGES = 128  # of the folder, repeated where it has fewer


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
    """Images per second of each part, and their ratios."""
    from cerviclip.tools.bench_parts.common import alternate

    samples = prepare(predictor, paths)
    parts = {
        "model": lambda: run_model(predictor, samples),
        "decode": lambda: prepare(predictor, paths),
        "by_hand": lambda: run_model(predictor, prepare(predictor, paths)),
        "folder": lambda: list(predictor.predict_iter(paths)),
    }
    times = alternate(parts, rounds, warm=1)
    rates = {f"{name}_per_second": len(paths) / spent for name, spent in times.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model, decode = times["model"], times["decode"] / (cores or 1)
    return {
        **rates,
        "folder_over_model": times["model"] / times["folder"],
        "folder_over_by_hand": times["by_hand"] / times["folder"],
        "possible_over_model": model / (model + decode),
    }


def vit_run(folder: Path) -> Path:
    """ZeroShotCLIP on ViT-B/32 with random weights, on phantoms."""
    from cerviclip import api
    from cerviclip.app.demo import demo_run
    from cerviclip.tools.bench_parts.common import write_clip

    write_clip("ViT-B/32", folder / "vit.safetensors")
    opts = {"TEST.EXTERNAL": [], "DATALOADER.NUM_WORKERS": 0}
    api.train(
        dataset="PhantomOCT",
        trainer="LinearProbe",
        backbone="ViT-B/32",
        weights=folder / "vit.safetensors",
        shots=4,
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args(argv)
    if bool(args.run) == args.vit:
        raise UserError("give a RUN, or --vit")
    from cerviclip.app.predictor import Predictor
    from cerviclip.data.files.folders import image_files

    found = [args.folder / inner for inner in image_files(args.folder)]
    if not found:
        raise UserError(f"no images in {args.folder}")
    paths = [found[i % len(found)] for i in range(IMAGES)]
    with tempfile.TemporaryDirectory() as work:
        run = vit_run(Path(work)) if args.vit else args.run
        figures = measure(Predictor.from_run(run, device="cpu"), paths, args.rounds)
    for name, value in figures.items():
        print(f"{name:<24}{value:.2f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
