"""Show where SAVLT looks: the tissue ROI and the attention of each head over its patches.

Goal
    A picture per image: the frame as the model sees it with its ROI, each head's attention and
    their mean, and the predicted class; or contact sheets of mean attention for a folder. Colours
    span the weights within the ROI of that panel; the title gives their range as multiples of
    equal weights. A pool that learnt little attends to all patches nearly alike.

Usage
    cerviclip attention RUN IMAGE [IMAGE ...]
    cerviclip attention RUN FOLDER --sheet
    (RUN is a run's folder; pictures go to RUN/attention/ unless --output says otherwise.)

Example output
    output/.../seed_1/attention/M0008_2021_P0000199_circle_2.5x3.0_C11_S11.png
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.data.files.folders import image_files
from cerviclip.data.files.names import distinct_names
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError, cli_main

COLUMNS, ROWS = 6, 8  # of a contact sheet
TITLE_WIDTH = 30  # characters of a line


@dataclass
class Look:
    """What one image's attention is: the picture seen, patches inside, weights per head."""

    path: Path
    picture: Any  # (H, W, 3) uint8, after the test transform's resize and crop
    roi: Any  # (H, W) bool, before it is brought to patches
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
            found += [word / path for path in image_files(word)]
        elif word.is_file():
            found.append(word)
        else:
            raise MissingFileError(f"no image or folder {word}")
    if not found:
        raise UserError(f"no images in {', '.join(words)}")
    return found


def open_run(run: str, weights: str = ""):
    """The trained SAVLT of a run's folder, ready to infer; its data are not needed.

    Args:
        run: the folder.
        weights: the backbone's file, where the one that the run names is elsewhere.

    Raises:
        UserError: the run is of another trainer, or has no ROI pool to look at.
    """
    from cerviclip.runs.run.load import load_run

    cfg, _, trainer = load_run(run, weights)
    if not getattr(trainer, "has_roi", False):
        raise UserError(f"{run} is a run of {cfg.TRAINER.NAME} without ROI attention")
    return trainer


def look_at(trainer, path: Path) -> Look:
    """Run the model on one image and keep the attention of its pool."""
    import numpy as np
    import torch

    from dassl.utils import read_image

    picture = read_image(str(path))
    batch = trainer.batch_of([str(path)])
    with torch.no_grad():
        (pixels, inside), _ = trainer.parse_batch_test(batch)
        weights = trainer.roi_attention(pixels, inside)[0]
        label = int(trainer.model_inference((pixels, inside)).argmax())
    roi = trainer.patch_rois.plain(trainer.finder.mask_of(picture, str(path)))
    picture = trainer.patch_rois.plain(picture)
    grid = trainer.backbone.visual.grid
    return Look(
        path,
        np.asarray(picture.convert("RGB")),
        np.asarray(roi) > 127,
        inside[0].reshape(grid).cpu().numpy(),
        weights.reshape(-1, *grid).cpu().numpy(),
        trainer.task.classnames[label],
    )


def overlay(axes, look: Look, weights, title: str) -> None:
    """Draw the picture, patch weights (gh, gw) over the patches in the ROI, and its outline."""
    import numpy as np

    height, width = look.picture.shape[:2]
    axes.imshow(look.picture)
    if weights is not None:
        share = weights * look.inside.sum()  # 1: what equal weights would be
        low, high = share[look.inside].min(), share[look.inside].max()
        title += f"\n{low:.2f} to {high:.2f} x equal weights"
        visible = np.where(look.inside, 0.55, 0.0)
        axes.imshow(
            share,
            cmap="inferno",
            vmin=low,
            vmax=max(high, low + 1e-3),
            alpha=visible,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="nearest",
        )
    if 0 < look.roi.mean() < 1:
        axes.contour(look.roi.astype(float), levels=[0.5], colors="#4dd0e1", linewidths=1.2)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def named(look: Look) -> str:
    """The predicted class in lines that fit above a panel."""
    return textwrap.fill(look.prediction.replace("_", " "), TITLE_WIDTH)


def draw_heads(look: Look, target: Path) -> None:
    """One image: ROI, mean attention, each head."""
    from matplotlib.figure import Figure

    panels = [(None, f"ROI; predicted:\n{named(look)}")]
    panels.append((look.attention.mean(0), "mean of heads"))
    panels += [(head, f"head {i + 1}") for i, head in enumerate(look.attention)]
    figure = Figure(figsize=(2.4 * len(panels), 3.3), layout="constrained")
    for axes, (weights, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        overlay(axes, look, weights, title)
    save(figure, target)


def draw_sheet(looks: Sequence[Look], target: Path) -> None:
    """Mean attention of many images on one sheet."""
    from matplotlib.figure import Figure

    rows = -(-len(looks) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for spot, look in zip(axes, looks, strict=False):
        overlay(spot, look, look.attention.mean(0), named(look))
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


def main(argv: Sequence[str] | None = None, prog: str = "python tools/attention.py") -> int:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a SAVLT run")
    parser.add_argument("images", nargs="+", help="images or folders of images")
    parser.add_argument("--sheet", action="store_true", help="contact sheets for all images")
    parser.add_argument("--output", type=Path, help="folder of the pictures (RUN/attention)")
    parser.add_argument("--weights", default="", help="the backbone's file, if it has moved")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    images = find_images(args.images)
    trainer = open_run(args.run, args.weights)
    output = args.output or Path(args.run) / "attention"
    looks = [look_at(trainer, path) for path in images]
    if args.sheet:
        size = COLUMNS * ROWS
        for start in range(0, len(looks), size):
            number = f"_{start // size + 1}" if len(looks) > size else ""
            draw_sheet(looks[start : start + size], output / f"sheet{number}.png")
    else:
        for look, name in zip(looks, distinct_names(images).values(), strict=True):
            draw_heads(look, output / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
