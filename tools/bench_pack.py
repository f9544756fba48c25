#!/usr/bin/env python
"""Goal: how much faster a pack is read than large images are decoded, each epoch.

Usage:
    python tools/bench_pack.py
    python tools/bench_pack.py --images 40 --side 2048 --format png jpg --folder /tmp/bench

It writes images with the grain of a micrograph, packs them, and reads epochs of batches behind the
training's and the test's transforms, from the files and from the pack in turn. Seconds are
processor time of this process, best of --repeats; batches are compared bit by bit.

Example output:
    12 images of 2048x2048 px, png, 7.1 MB each
    transform                     from files     from pack      ratio    pack, MB/image
    train, RESIZE_FIRST 512            1.65 s        0.06 s        30              0.79
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import cli_main

CASES = {
    "train, RESIZE_FIRST 512": (True, 512),
    "train, whole images": (True, 0),
    "test": (False, 0),
}


def build_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, description="Time reading from a pack against decoding.")
    parser.add_argument("--images", type=int, default=24, metavar="N")
    parser.add_argument("--side", type=int, default=2048, metavar="PX")
    parser.add_argument("--format", nargs="+", default=["png"], choices=("png", "jpg", "tif"))
    parser.add_argument("--repeats", type=int, default=3, metavar="R")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="default: a temporary one")
    add_debug_flag(parser)
    return parser


def write_micrographs(folder: Path, number: int, side: int, suffix: str) -> list[str]:
    """Coloured fields with soft shapes and a grain of some grey levels, as a camera gives."""
    from PIL import Image, ImageFilter

    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(0), []
    for n in range(number):
        coarse = rng.integers(90, 240, (side // 32, side // 32, 3), dtype=np.uint8)
        soft = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(soft.filter(ImageFilter.GaussianBlur(3))).astype(np.int16)
        pixels += rng.normal(0, 4, pixels.shape).astype(np.int16)
        path = folder / f"{n:03d}.{suffix}"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths


def transform_of(is_train: bool, first: int) -> tuple[Any, Any]:
    """A configuration and its transform: a random crop and flip, or the test's."""
    from dassl.config import get_cfg_default
    from dassl.data.transforms import build_transform

    cfg = get_cfg_default()
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.INPUT.INTERPOLATION, cfg.INPUT.RESIZE_FIRST = "bicubic", first
    cfg.DATALOADER.NUM_WORKERS = 0
    with redirect_stdout(io.StringIO()):
        return cfg, build_transform(cfg, is_train=is_train)


def epoch(cfg: Any, paths: Sequence[str], transform: Any) -> Iterator[Any]:
    """Batches of 8 images, from the same seed each time."""
    from dassl.data.data_manager import DatasetWrapper
    from dassl.data.datasets import Datum
    from dassl.utils import set_random_seed

    set_random_seed(1)
    data = DatasetWrapper(cfg, [Datum(path) for path in paths], transform, is_train=True)
    for start in range(0, len(paths), 8):
        yield [data[i]["img"] for i in range(start, min(start + 8, len(paths)))]


def measure(
    paths: Sequence[str], folder: Path, case: str, repeats: int
) -> tuple[float, float, float]:
    """Seconds of an epoch from the files and from a pack, and the pack's bytes an image."""
    import torch

    from cerviclip.data.images import cache as image_cache
    from cerviclip.data.images.packing import Wanted, use_pack, usual_threads, write_pack
    from cerviclip.data.images.packs import bytes_of
    from cerviclip.data.images.steps import first_steps, steps_text

    cfg, transform = transform_of(*CASES[case])
    steps, _ = first_steps(transform)
    write_pack(folder, {steps_text(steps): Wanted(steps, list(paths))}, usual_threads())
    best: dict[str, float] = {}
    kept: dict[str, list[Any]] = {}
    for _ in range(repeats):
        for how, place in (("files", ""), ("pack", str(folder))):
            image_cache.disable()
            use_pack(image_cache.enable(max_bytes=0), place)
            clock = time.process_time()
            batches = list(epoch(cfg, paths, transform))
            best[how] = min(best.get(how, np.inf), time.process_time() - clock)
            kept[how] = batches
    image_cache.disable()
    for one, other in zip(kept["files"], kept["pack"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    return best["files"], best["pack"], bytes_of(folder) / len(paths)


def main(argv: Sequence[str] | None = None, prog: str = "python tools/bench_pack.py") -> int:
    args: argparse.Namespace = build_parser(prog).parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        place = args.folder or Path(temporary)
        for suffix in args.format:
            paths = write_micrographs(place / suffix, args.images, args.side, suffix)
            size = sum(Path(path).stat().st_size for path in paths) / len(paths)
            print(
                f"{len(paths)} images of {args.side}x{args.side} px, {suffix}, "
                f"{size / 1e6:.1f} MB each"
            )
            row = "{:<28}{:>14}{:>14}{:>10}{:>18}"
            print(row.format("transform", "from files", "from pack", "ratio", "pack, MB/image"))
            for n, case in enumerate(CASES):
                folder = place / f"{suffix}_pack{n}"
                files, pack, held = measure(paths, folder, case, args.repeats)
                cells = (
                    f"{files:.2f} s",
                    f"{pack:.2f} s",
                    f"{files / pack:.0f}",
                    f"{held / 1e6:.2f}",
                )
                print(row.format(case, *cells))
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
