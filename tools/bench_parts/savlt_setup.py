"""What the SAVLT benchmark works on: frames, a segmenter, a trainer as ``train.py`` builds it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

BATCH = 32
SEGMENTER_SIZE = 128  # px, the default of tools/train_segmenter.py


def write_frames(root: Path, per_class: int = 30, height: int = 384, width: int = 512) -> None:
    """Frames in MixedCenterOCT's layout, as PNG: dark water over bright noisy tissue."""
    import numpy as np
    from PIL import Image

    from cerviclip.data.phantoms import CLASSES

    rng = np.random.default_rng(0)
    for c, name in enumerate(CLASSES):
        folder = root / "mixed" / "images" / name
        folder.mkdir(parents=True)
        for i in range(per_class):
            surface = int(rng.integers(height // 5, height // 2))
            pixels = rng.integers(0, 30, (height, width), dtype=np.uint8)
            pixels[surface:] += rng.integers(60, 200, (height - surface, width), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"M1_2021_P{c:03d}{i // 2:04d}_C01_S{i:02d}.png")


def write_segmenter(path: Path, frames: Path, size: int = SEGMENTER_SIZE, steps: int = 12) -> None:
    """A U-Net that has seen a few frames, so that its ROI is a real one."""
    import numpy as np
    import torch
    from PIL import Image

    from cerviclip.data.roi.segmenters import Segmenter, SegmenterSpec, dice_loss, to_input

    torch.manual_seed(0)
    images = [np.asarray(Image.open(path)) for path in sorted(frames.rglob("*.png"))[::15][:8]]
    batch = torch.stack([to_input(image, 64) for image in images])
    masks = (batch.mean(-1, keepdim=True).expand_as(batch) > 0.2).float()
    model = Segmenter(SegmenterSpec(size=size)).train()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):  # at 64 px: quick, and the network takes any size
        optimiser.zero_grad()
        dice_loss(model(batch), masks).backward()
        optimiser.step()
    model.save(path)


def build(work: Path, backbone: str, weights: Path, **settings: Any) -> Any:
    """A SAVLT trainer on the frames, in train mode, as the runner leaves it before training.

    Args:
        work: folder with ``data`` and ``segmenter.safetensors``.
        settings: config keys, ``__`` for the dots.
    """
    from cerviclip.data.images import cache as image_cache
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.requests import RunRequest, flat_opts
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    keys = {
        "DATASET.SPLIT_RATIO": "(0.9, 0.05, 0.05)",
        "DATALOADER.TRAIN_X.BATCH_SIZE": BATCH,
        "DATALOADER.NUM_WORKERS": 0,
        "TRAINER.SAVLT.PREC": "fp32",
        "TRAINER.SAVLT.PROMPTS": "structural",
        "TRAINER.SAVLT.PROTOTYPES": "orthogonal",
        "TRAINER.SAVLT.ROI.SOURCE": "segmenter",
        "TRAINER.SAVLT.ROI.CHECKPOINT": str(work / "segmenter.safetensors"),
        "TRAINER.SAVLT.CONSISTENCY.WEIGHT": 0.0,
        "TRAIN.MAX_ITERS": 10**6,
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    request = RunRequest(
        trainer="SAVLT",
        dataset="MixedCenterOCT",
        root=str(work / "data"),
        shots="full",
        seed=1,
        backbone=backbone,
        weights=str(weights),
        output_dir=str(work / "run"),
        opts=flat_opts(keys),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        image_cache.enable()
        cfg = setup_cfg(request)
        set_random_seed(1)
        trainer = build_trainer(cfg)
        trainer.prepare_training()  # optimisers, which train() would make
    trainer.max_epoch = 10**9
    trainer.set_model_mode("train")
    find_rois(trainer)
    return trainer


def find_rois(trainer: Any) -> None:
    """Find and store the ROI of every frame: in a run that happens in the first pass only."""
    for item in trainer.dm.dataset.train_x:
        trainer.finder.mask(item.impath)
