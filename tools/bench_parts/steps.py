"""One step of a prompt learner and of LoRA against the matrix products they cannot do without."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

from cerviclip.tools.bench_parts.common import Bench, alternate, device

BATCH = 32
# ViT-B/32 carries the target; the others show that it holds for other shapes.
BACKBONES = ("ViT-B/32", "ViT-B/16", "RN50")


def build(bench: Bench, name: str, backbone: str, keys: dict[str, Any]) -> Any:
    """A trainer on Herlev at 16 shots, ready to step."""
    from cerviclip.features.source import clear_tables
    from cerviclip.plugins import ensure_loaded, extend_cfg_of
    from dassl.config import get_cfg_default
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    cfg = get_cfg_default()
    extend = extend_cfg_of(ensure_loaded("trainer", name).__module__)
    if extend is not None:
        extend(cfg)
    ensure_loaded("dataset", "Herlev")
    cfg.TRAINER.NAME, cfg.DATASET.NAME = name, "Herlev"
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = str(bench.data_root()), 16, 1
    cfg.MODEL.BACKBONE.NAME = backbone
    cfg.MODEL.INIT_WEIGHTS = str(bench.weights(backbone))
    cfg.INPUT.TRANSFORMS, cfg.INPUT.INTERPOLATION = ["normalize"], "bicubic"
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 0, BATCH
    cfg.OUTPUT_DIR = str(bench.work / "steps")
    for key, value in keys.items():
        cfg.merge_from_list([key, value])
    with contextlib.redirect_stdout(io.StringIO()):
        set_random_seed(1)
        clear_tables()
        trainer = build_trainer(cfg)
        trainer.prepare_training()  # optimisers, which train() would make
        return trainer


def stepper(trainer: Any, batch: dict[str, Any]) -> Callable[[], Any]:
    """A function that makes one training step on the batch."""
    trainer.set_model_mode("train")
    trainer.num_batches, trainer.batch_idx = 10**9, 0
    return lambda: trainer.forward_backward(batch)


def text_tower_step(trainer: Any) -> Callable[[], Any]:
    """Forward and backward of the text tower alone over every class's prompt, cut to the
    longest."""
    text, learner = trainer.backbone.text, trainer.prompt_learner
    embeddings, tokens = learner()
    leaf = embeddings.detach().clone().requires_grad_()

    def work() -> None:
        leaf.grad = None
        with trainer.precision.autocast():
            text.encode(leaf, tokens).float().sum().backward()

    return work


def random_features(trainer: Any, shape: tuple[int, ...], size: int = BATCH) -> dict[str, Any]:
    """A batch of what a loader of stored rows gives; the numbers do not matter to the time."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        "img": torch.randn(size, *shape, generator=generator),
        "label": torch.arange(size) % trainer.num_classes,
        "domain": torch.zeros(size, dtype=torch.int64),
    }


def measure_coop(bench: Bench) -> None:
    """``coop_step_over_text_tower``: of ViT-B/32; other backbones in the details."""
    ratios = {}
    for name in BACKBONES:
        trainer = build(bench, "CoOp", name, {"INPUT.FEATURE_VIEWS": 1})
        batch = random_features(trainer, (trainer.backbone.embed_dim,))
        parts = {"step": stepper(trainer, batch), "text": text_tower_step(trainer)}
        times = alternate(parts, 15)
        ratios[name] = {**times, "ratio": times["step"] / times["text"]}
        bench.say(f"CoOp step {name}: {ratios[name]['ratio']:.2f} of its text tower")
    bench.details["coop_step"] = ratios
    bench.figures["coop_step_over_text_tower"] = ratios["ViT-B/32"]["ratio"]


def measure_lora(bench: Bench) -> None:
    """``lora_last3_over_full_step``: last 3 blocks on stored tokens, all blocks on pixels."""
    ratios = {}
    for name in ("ViT-B/32", "ViT-B/16"):
        base = {"TRAINER.CLIPLORA.ENCODER": "vision"}
        last = build(
            bench,
            "CLIPLoRA",
            name,
            {**base, "TRAINER.CLIPLORA.BLOCKS": 3, "INPUT.FEATURE_VIEWS": 1},
        )
        full = build(bench, "CLIPLoRA", name, {**base, "TRAINER.CLIPLORA.BLOCKS": 0})
        visual = last.backbone.visual
        tokens = visual.grid[0] * visual.grid[1] + 1
        parts = {
            "last3": stepper(last, random_features(last, (tokens, visual.width))),
            "full": stepper(full, random_features(full, (3, *last.backbone.preprocess.size))),
        }
        # A full step of ViT-B/16 takes half a minute on two cores.
        repeats, warm = (2, 1) if device().type == "cpu" else (20, 2)
        times = alternate(parts, repeats, warm)
        ratios[name] = {**times, "ratio": times["last3"] / times["full"]}
        bench.say(f"LoRA on the last 3 blocks, {name}: {ratios[name]['ratio']:.2f} of a full step")
    bench.details["lora_step"] = ratios
    bench.figures["lora_last3_over_full_step"] = ratios["ViT-B/32"]["ratio"]


def measure_loader(bench: Bench) -> None:
    """``loader_over_model_rate``: images per second of the loader alone against the encoder alone.

    The loader decodes, crops, flips and normalises real files, with as many workers as there are
    cores beside the main process.
    """
    import os

    import torch

    from dassl.config import get_cfg_default
    from dassl.data.data_manager import build_data_loader
    from dassl.data.datasets import Datum
    from dassl.data.transforms import build_transform

    model = bench.backbone("ViT-B/32")
    items = [Datum(path) for path in bench.image_paths()[:512]]
    cfg = get_cfg_default()
    cfg.INPUT.TRANSFORMS = ["random_resized_crop", "random_flip"]
    rates: dict[str, float] = {}
    for workers in sorted({0, min(8, os.cpu_count() or 1)}):
        cfg.DATALOADER.NUM_WORKERS = workers
        with contextlib.redirect_stdout(io.StringIO()):
            transform = build_transform(cfg, is_train=True, preprocess=model.preprocess)
        loader = build_data_loader(
            cfg, "RandomSampler", items, batch_size=BATCH, tfm=transform, is_train=True
        )

        def epoch(loader: Any = loader) -> None:
            for batch in loader:
                batch["img"].sum()

        rates[f"workers_{workers}"] = len(items) / min(_times(epoch, 3))
    pixels = torch.randn(BATCH, 3, *model.preprocess.size, device=device())

    def encode() -> None:
        with torch.no_grad():
            model.encode_image(pixels)

    encode()
    rates["model"] = BATCH / min(_times(encode, 5))
    best = max(rate for name, rate in rates.items() if name.startswith("workers"))
    bench.details["loader"] = {**rates, "unit": "images per second"}
    bench.figures["loader_over_model_rate"] = best / rates["model"]


def _times(work: Callable[[], Any], repeats: int) -> list[float]:
    from cerviclip.tools.bench_parts.common import seconds

    return [seconds(work) for _ in range(repeats)]


def measure_bf16(bench: Bench, has_instructions: bool) -> None:
    """``bf16_encode_speedup``: None on a CPU that would emulate bf16."""
    import torch

    if device().type == "cpu" and not has_instructions:
        bench.figures["bf16_encode_speedup"] = None
        bench.details["bf16"] = "this CPU has no bf16 instructions (avx512_bf16 or amx_bf16)"
        return
    parts, size = {}, 32 if device().type == "cpu" else 256
    for precision in ("fp32", "bf16"):
        model = bench.backbone("ViT-B/16", precision)
        pixels = torch.randn(size, 3, *model.preprocess.size, device=device())

        def encode(model: Any = model, pixels: Any = pixels) -> None:
            with torch.no_grad():
                model.encode_image(pixels)

        parts[precision] = encode
    times = alternate(parts, 5)
    bench.details["bf16"] = {key: size / value for key, value in times.items()}
    bench.figures["bf16_encode_speedup"] = times["fp32"] / times["bf16"]
