"""Show where SAVLT looks: the tissue ROI and the attention of each head over its patches.

Goal
    A picture per image: the frame as the model sees it with its ROI, each head's attention and
    their mean, and the predicted class; or one contact sheet of mean attention for a folder.

Usage
    python tools/attention.py RUN IMAGE [IMAGE ...]
    python tools/attention.py RUN FOLDER --sheet
    (RUN is a run's folder; pictures go to RUN/attention/ unless --output says otherwise.)

Example output
    output/.../seed_1/attention/M0008_2021_P0000199_circle_2.5x3.0_C11_S11.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dassl.errors import MissingFileError, UserError, cli_main

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
COLUMNS = 6  # of the contact sheet


@dataclass
class Look:
    """What one image's attention is: the picture seen, patches inside, weights per head."""

    path: Path
    picture: Any  # (H, W, 3) uint8, after the test transform's resize and crop
    inside: Any  # (gh, gw) bool
    attention: Any  # (heads, gh, gw), sums to 1 over the patches
    prediction: str


def find_images(words: Sequence[str]) -> list[Path]:
    """The images named, folders searched.

    Raises:
        UserError: a path is not there, or no image was named.
    """
    found: list[Path] = []
    for word in map(Path, words):
        if word.is_dir():
            found += sorted(p for p in word.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif word.is_file():
            found.append(word)
        else:
            raise MissingFileError(f"no image or folder {word}")
    if not found:
        raise UserError(f"no images in {', '.join(words)}")
    return found


def open_run(run: str):
    """The trained SAVLT of a run's folder, ready to infer.

    Raises:
        UserError: the run is of another trainer, or has no ROI pool to look at.
    """
    from dassl.engine import build_trainer
    from dassl.runs.flags import train_parser
    from dassl.runs.setup import setup_cfg
    from dassl.utils import set_random_seed

    if not (Path(run) / "config.yaml").is_file():
        raise MissingFileError(f"no run in {run}: it holds no config.yaml")
    cfg = setup_cfg(train_parser().parse_args(["--eval-only", "--model-dir", run]))
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)
    if not getattr(trainer, "has_roi", False):
        raise UserError(f"{run} is a run of {cfg.TRAINER.NAME} without ROI attention")
    trainer.load_model(run)
    trainer.set_model_mode("eval")
    return trainer


def look_at(trainer, path: Path) -> Look:
    """Run the model on one image and keep the attention of its pool."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    from dassl.utils import read_image

    picture = read_image(str(path))
    pixels = trainer.tfm_test(picture)[None].to(trainer.device)
    inside = trainer.patch_rois([str(path)]).to(trainer.device)
    with torch.no_grad():
        hidden = trainer.visual.run_blocks(trainer.hidden_states(pixels), trainer.first_block)
        patches = F.normalize(trainer.visual.head(hidden)[1].float(), dim=-1)
        weights = trainer.head.pool.attention(patches, inside)[0]
        label = int(trainer.model_inference((pixels, inside)).argmax())
    for step in trainer.patch_rois.plain_steps:
        picture = step(picture)
    grid = trainer.backbone.visual.grid
    return Look(
        path,
        np.asarray(picture.convert("RGB")),
        inside[0].reshape(grid).cpu().numpy(),
        weights.reshape(-1, *grid).cpu().numpy(),
        trainer.dm.dataset.classnames[label],
    )


def overlay(axes, look: Look, weights, title: str) -> None:
    """Draw the picture with patch weights (gh, gw) over it and the ROI's outline."""
    import numpy as np
    from PIL import Image

    height, width = look.picture.shape[:2]
    axes.imshow(look.picture)
    if weights is not None:
        scaled = (weights / weights.max() * 255).astype(np.uint8)
        heat = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BICUBIC))
        axes.imshow(heat, cmap="inferno", alpha=0.55, vmin=0, vmax=255)
    rows, columns = look.inside.shape
    # Each patch as a block of 8 x 8: the outline then has sharp corners.
    outline = np.kron(look.inside, np.ones((8, 8))).astype(float)
    x = (np.arange(columns * 8) + 0.5) * width / (columns * 8)
    y = (np.arange(rows * 8) + 0.5) * height / (rows * 8)
    if 0 < look.inside.mean() < 1:
        axes.contour(x, y, outline, levels=[0.5], colors="#4dd0e1", linewidths=1)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def draw_heads(look: Look, target: Path) -> None:
    """One image: ROI, mean attention, each head."""
    from matplotlib.figure import Figure

    panels = [(None, f"ROI; predicted: {look.prediction.replace('_', ' ')}")]
    panels.append((look.attention.mean(0), "mean of heads"))
    panels += [(head, f"head {i + 1}") for i, head in enumerate(look.attention)]
    figure = Figure(figsize=(2.4 * len(panels), 2.7), layout="constrained")
    for axes, (weights, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        overlay(axes, look, weights, title)
    save(figure, target)


def draw_sheet(looks: Sequence[Look], target: Path) -> None:
    """Mean attention of many images on one sheet."""
    from matplotlib.figure import Figure

    rows = -(-len(looks) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for spot, look in zip(axes, looks, strict=False):
        overlay(spot, look, look.attention.mean(0), look.prediction.replace("_", " ")[:28])
    for spot in axes[len(looks) :]:
        spot.set_axis_off()
    save(figure, target)


def save(figure, target: Path) -> None:
    """Write a figure to a temporary file, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.tmp")
    figure.savefig(scratch, dpi=110, format="png")
    scratch.replace(target)
    print(target)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a SAVLT run")
    parser.add_argument("images", nargs="+", help="images or folders of images")
    parser.add_argument("--sheet", action="store_true", help="one contact sheet for all images")
    parser.add_argument("--output", type=Path, help="folder of the pictures (RUN/attention)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    images = find_images(args.images)
    trainer = open_run(args.run)
    output = args.output or Path(args.run) / "attention"
    looks = [look_at(trainer, path) for path in images]
    if args.sheet:
        draw_sheet(looks, output / "sheet.png")
    else:
        for look in looks:
            draw_heads(look, output / f"{look.path.stem}.png")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
