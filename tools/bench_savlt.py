"""What SAVLT costs beside its tower, against a plain implementation, and in bf16; and its memory.

Goal
    Ratios measured turn by turn in one process, ViT-B/32 with random weights, batch 32, frames of
    512 x 384 px in PNG files. ``step_over_bare``: a whole training step (loading, ROI, pooling,
    texts, prototypes, optimiser, logging) over a bare forward and backward of the same LoRA tower
    on a batch in memory; target 1.15, and as much against two bare passes with consistency on.
    ``speedup_over_plain_fp32`` and ``_bf16``: images per second over those of an implementation
    that loops over images and patches, encodes the texts and segments the frames at each step in
    fp32; targets 1.15 and 2.5. ``bf16_speedup``: fp32 step over bf16 step; target 2 where the CPU
    has bf16 instructions. ``resident_run25_over_run5``: of runs with PhantomCLIP; below 1.05.

Usage
    python tools/bench_savlt.py [--json FILE] [--only step plain bf16 memory] [--rounds 3]

Example output
    step_over_bare              1.08   (target <= 1.15)
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dassl.errors import cli_main  # noqa: E402

PARTS = ("step", "plain", "bf16", "memory")
TARGETS = {
    "step_over_bare": "<= 1.15",
    "step_over_two_bare_with_consistency": "<= 1.15",
    "speedup_over_plain_fp32": ">= 1.15",
    "speedup_over_plain_bf16": ">= 2.5",
    "bf16_speedup": ">= 2 on a CPU with bf16 instructions",
    "resident_run25_over_run5": "< 1.05",
    "peak_mb": "",
}
BATCH, STEPS = 32, 4  # images a step, steps a turn


# -- what is measured on -------------------------------------------------------------------------


def write_frames(root: Path, per_class: int = 30) -> None:
    """Frames of 512 x 384 px in MixedCenterOCT's layout: dark water over bright noisy tissue."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    classes = (
        "cancer",
        "cyst",
        "ectropion",
        "high-grade_squamous_intraepithelial_lesion",
        "mild_inflammation",
    )
    for c, name in enumerate(classes):
        folder = root / "mixed" / "images" / name
        folder.mkdir(parents=True)
        for i in range(per_class):
            surface = int(rng.integers(80, 200))
            pixels = rng.integers(0, 30, (384, 512), dtype=np.uint8)
            pixels[surface:] += rng.integers(60, 200, (384 - surface, 512), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"M1_2021_P{c:03d}{i // 2:04d}_C01_S{i:02d}.png")


def write_weights(path: Path) -> None:
    """Random ViT-B/32 in OpenAI's names and half precision."""
    import torch
    from clip.model import CLIP
    from safetensors.torch import save_file

    import dassl  # noqa: F401  (supplies what the clip package imports)

    torch.manual_seed(0)
    model = CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, path)


def write_segmenter(path: Path, frames: Path) -> None:
    """A U-Net that has seen a few frames, so that its ROI is a real one."""
    import numpy as np
    import torch
    from PIL import Image

    from dassl.modeling.segmentation import Segmenter, SegmenterSpec, dice_loss, to_input

    torch.manual_seed(0)
    model = Segmenter(SegmenterSpec(size=64)).train()
    images = [np.asarray(Image.open(p)) for p in sorted(frames.rglob("*.png"))[::9][:16]]
    batch = torch.stack([to_input(image, 64) for image in images])
    masks = torch.stack([to_input(np.where(i.mean(1) > 40, 255, 0)[:, None].repeat(
        i.shape[1], 1).astype("uint8"), 64) > 0.5 for i in images]).float()  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(30):
        loss = dice_loss(model(batch), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save(path)


def build(work: Path, **settings: Any):
    """A SAVLT trainer on the frames; settings are config keys with ``__`` for the dots."""
    from dassl.engine import build_trainer
    from dassl.runs.flags import train_parser
    from dassl.runs.setup import setup_cfg
    from dassl.utils import set_random_seed

    opts = {
        "DATASET.SPLIT_RATIO": "(0.9, 0.05, 0.05)",
        "DATALOADER.TRAIN_X.BATCH_SIZE": str(BATCH),
        "DATALOADER.NUM_WORKERS": "0",
        "TRAINER.SAVLT.PREC": "fp32",
        "TRAINER.SAVLT.ROI.SOURCE": "segmenter",
        "TRAINER.SAVLT.ROI.CHECKPOINT": str(work / "segmenter.safetensors"),
        "TRAINER.SAVLT.CONSISTENCY.WEIGHT": "0.0",
        "TRAINER.SAVLT.PROTOTYPES": "orthogonal",
        "TRAIN.MAX_ITERS": "100000",
        **{key.replace("__", "."): str(value) for key, value in settings.items()},
    }
    words = f"--trainer SAVLT --dataset MixedCenterOCT --root {work / 'data'} --shots 26 --seed 1 "
    words += f"--backbone ViT-B/32 --weights {work / 'vit_b32.safetensors'} "
    words += f"--output-dir {work / 'run'}"
    flat = [word for pair in opts.items() for word in pair]
    cfg = setup_cfg(train_parser().parse_args([*words.split(), *flat]))
    set_random_seed(1)
    trainer = build_trainer(cfg)
    trainer.max_epoch = 10**6
    trainer.set_model_mode("train")
    return trainer


# -- what is measured ----------------------------------------------------------------------------


def savlt_turn(trainer) -> Callable[[], float]:
    """Seconds a step of the trainer's own epoch, loading and logging included."""
    import contextlib
    import io
    import itertools

    inner = trainer.train_batches
    trainer.train_batches = lambda: itertools.islice(inner(), STEPS)

    def turn() -> float:
        trainer.epoch = 0
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.run_epoch()
        return (time.perf_counter() - start) / STEPS

    return turn


def bare_turn(trainer, passes: int = 1) -> Callable[[], float]:
    """Seconds of ``passes`` forwards and one backward of the LoRA tower on a batch in memory."""
    import torch

    from dassl.modeling.vlm.lora import lora_parameters

    images = torch.randn(passes * BATCH, 3, 224, 224)
    parameters = list(lora_parameters(trainer.visual))

    def turn() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            with trainer.precision.autocast():
                features = trainer.visual(images)
            features.float().square().mean().backward()
            for parameter in parameters:
                parameter.grad = None
        return (time.perf_counter() - start) / STEPS

    return turn


class Plain:
    """The same model as one would write it first: loops, texts and segmentation at every step."""

    def __init__(self, trainer, work: Path) -> None:
        from dassl.modeling.segmentation import load_segmenter

        self.trainer = trainer
        self.segmenter = load_segmenter(work / "segmenter.safetensors")
        self.greys: dict[str, Any] = {}

    def rois(self, paths: Sequence[str]):
        """Segment each frame of the batch anew and bring its box to the patches (B, N)."""
        import numpy as np
        import torch
        from PIL import Image

        from dassl.data.roi import box_top, patch_mask

        rows = []
        for path in paths:
            if path not in self.greys:
                self.greys[path] = np.asarray(Image.open(path).convert("L"))
            grey = self.greys[path]
            top = box_top(self.segmenter.masks([grey])[0])
            roi = Image.new("L", (grey.shape[1], grey.shape[0]), 255 if top is None else 0)
            if top is not None:
                roi.paste(255, (0, top, grey.shape[1], grey.shape[0]))
            for step in self.trainer.patch_rois.plain_steps:
                roi = step(roi)
            rows.append(patch_mask(roi, self.trainer.backbone.visual.grid))
        return torch.stack(rows)

    def texts(self):
        """Class features, each class's prompts tokenised and encoded one class after another."""
        import torch
        import torch.nn.functional as F

        backbone = self.trainer.backbone
        prompts = self.trainer.class_texts(self.trainer.cfg.TRAINER.SAVLT.PROMPTS)
        means = []
        with torch.no_grad():
            for words in prompts:
                features = F.normalize(backbone.encode_text(backbone.tokenize(words)), dim=-1)
                means.append(F.normalize(features.mean(0), dim=-1))
        return torch.stack(means)

    def pool(self, patches, inside):
        """Attention pooling, image by image, head by head, patch by patch."""
        import torch

        pool, rows = self.trainer.head.pool, []
        queries = pool.q(pool.queries)
        for tokens, keep in zip(patches, inside, strict=True):
            kept = torch.stack([tokens[i] for i in range(len(tokens)) if keep[i]])
            key, value = pool.k(kept), pool.v(kept)
            width = key.shape[-1] // pool.heads
            heads = []
            for h in range(pool.heads):
                part = slice(h * width, (h + 1) * width)
                scores = [queries[:, part] @ k[part] / width**0.5 for k in key]
                weights = torch.stack(scores, dim=-1).softmax(-1)
                heads.append(weights @ value[:, part])
            rows.append(pool.out(torch.cat(heads, dim=-1).mean(0)))
        return torch.stack(rows)

    def logits(self, images, paths):
        """Logits (B, C) against texts and prototypes."""
        import torch.nn.functional as F

        trainer, head = self.trainer, self.trainer.head
        inside = self.rois(paths)
        token, patches = trainer.visual.head(trainer.visual.run_blocks(trainer.visual.stem(images)))
        token = F.normalize(token, dim=-1)
        pooled = self.pool(F.normalize(patches, dim=-1), inside)
        features = F.normalize(token + pooled if head.class_token else pooled, dim=-1)
        return head.logits(features, self.texts(), trainer.backbone.scale)

    def turn(self) -> float:
        """Seconds a step, loading and optimiser included."""
        import itertools

        import torch.nn.functional as F

        trainer, head = self.trainer, self.trainer.head
        start = time.perf_counter()
        for batch in itertools.islice(trainer.train_loader_x, STEPS):
            text, prototype = self.logits(batch["img"], batch["impath"])
            loss = head.mix(
                F.cross_entropy(text, batch["label"]), F.cross_entropy(prototype, batch["label"])
            )
            trainer.model_backward_and_update(loss)
        return (time.perf_counter() - start) / STEPS


def check_same_logits(trainer, plain: Plain) -> float:
    """Largest difference between the trainer's and the plain logits on test frames."""
    import torch

    trainer.set_model_mode("eval")
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test[:8])))
    with torch.no_grad():
        (image, inside), _ = trainer.parse_batch_test(batch)
        ours = trainer.both_logits(image, inside)
        theirs = plain.logits(image, batch["impath"])
    trainer.set_model_mode("train")
    gap = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    if gap > 1e-3:
        raise RuntimeError(f"the plain implementation's logits differ by {gap:.2g}")
    return gap


def ratio(numerator: Callable[[], float], denominator: Callable[[], float], rounds: int) -> float:
    """Median of the ratios of ``rounds`` pairs of turns, after one turn of each unmeasured."""
    numerator()
    denominator()
    return statistics.median(numerator() / denominator() for _ in range(rounds))


def resident_mb() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def sweep_memory(work: Path, runs: int = 25) -> float:
    """Resident memory after the last of ``runs`` SAVLT runs over that after run 5."""
    import contextlib
    import io

    from dassl.runs.flags import train_parser
    from dassl.runs.runner import run_one
    from dassl.runs.setup import setup_cfg

    sizes = []
    for seed in range(1, runs + 1):
        words = f"--trainer SAVLT --dataset MixedCenterOCT --root {work / 'data'} --shots 2 "
        words += f"--backbone PhantomCLIP --seed {seed} --output-dir {work / f'sweep_{seed}'}"
        cfg = setup_cfg(
            train_parser().parse_args(
                [*words.split(), "DATASET.SPLIT_RATIO", "(0.5, 0.1, 0.4)", "TRAIN.MAX_ITERS", "4"]
            )
        )
        with contextlib.redirect_stdout(io.StringIO()):
            run_one(cfg, echo=False)
        sizes.append(resident_mb())
    return sizes[-1] / sizes[4]


def measure(work: Path, only: Sequence[str], rounds: int) -> dict[str, float]:
    """All ratios asked for."""
    write_frames(work / "data")
    write_weights(work / "vit_b32.safetensors")
    write_segmenter(work / "segmenter.safetensors", work / "data")
    figures: dict[str, float] = {}

    def tell(key: str, value: float) -> None:
        figures[key] = value
        target = f"(target {TARGETS[key]})" if TARGETS[key] else ""
        print(f"{key:<38} {value:8.3f}   {target}", flush=True)

    if {"step", "plain", "bf16"} & set(only):
        trainer = build(work)
        step = savlt_turn(trainer)
        if "step" in only:
            tell("step_over_bare", ratio(step, bare_turn(trainer), rounds))
            styled = build(work, TRAINER__SAVLT__CONSISTENCY__WEIGHT=1.0)
            two = bare_turn(styled, passes=2)
            tell("step_over_two_bare_with_consistency", ratio(savlt_turn(styled), two, rounds))
        plain = Plain(trainer, work)
        if {"plain", "bf16"} & set(only):
            print(f"plain implementation: logits within {check_same_logits(trainer, plain):.1e}")
        if "plain" in only:
            tell("speedup_over_plain_fp32", ratio(plain.turn, step, rounds))
        if "bf16" in only:
            half = savlt_turn(build(work, TRAINER__SAVLT__PREC="bf16"))
            tell("bf16_speedup", ratio(step, half, rounds))
            tell("speedup_over_plain_bf16", ratio(plain.turn, half, rounds))
    if "memory" in only:
        tell("resident_run25_over_run5", sweep_memory(work))
    import resource

    tell("peak_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="pairs of turns a ratio")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    import torch

    from dassl.runs.records import device_name

    print(f"{device_name('cpu')}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as work:
        figures = measure(Path(work), args.only, args.rounds)
    if args.json:
        scratch = args.json.with_name(f".{args.json.name}.tmp")
        scratch.write_text(json.dumps(figures, indent=2) + "\n")
        scratch.replace(args.json)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
