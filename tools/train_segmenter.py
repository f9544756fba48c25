"""Train a tissue segmenter, judged by patient-grouped folds.

Goal
    A checkpoint that separates tissue from water and sheath in cervical OCT B-scans, for
    TRAINER.SAVLT.ROI.SOURCE segmenter, and figures of its accuracy, next to those of
    the classical detector (TRAINER.SAVLT.ROI.SOURCE surface).

Usage
    cerviclip segment --arch unet --encoder resnet18 --folds 5
    cerviclip segment --arch all --held-out data/phantom/huaxi data/phantom/xiangya
    cerviclip segment --data my/centre --patient-pattern '(P[0-9]{7})'
    cerviclip segment --draw FRAMES --checkpoint output/segmenter/unet/*.safetensors

    A data folder holds images/ and masks/, with the same relative file names; a mask is tissue
    where it is not zero. A patient's frames are in one fold. The folds show how good a schedule
    is; the checkpoint is then trained with it on all patients. --draw draws the surfaces that are
    found over frames without masks, one column for each method; with --checkpoint nothing is
    trained.

Example output
    | arch | fold Dice | fold IoU | xiangya Dice | xiangya surface error |
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cerviclip.data.files.folders import image_files
from cerviclip.data.roi.sources import existing_mask
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError, cli_main
from dassl.utils.files import atomic_write

PROG = "python tools/train_segmenter.py"
CLASSICAL = "classical"  # row of the table, column of the sheet


@dataclass(frozen=True)
class Frame:
    """One image with its mask and the patient it was taken from."""

    image: Path
    mask: Path
    patient: str


def find_frames(data: Path, pattern: str, limit: int) -> list[Frame]:
    """Pair ``data/images/**`` with ``data/masks/**``; ``limit`` frames a patient (0: all)."""
    images, masks = data / "images", data / "masks"
    for folder in (images, masks):
        if not folder.is_dir():
            raise MissingFileError(f"no folder {folder}: --data needs images/ and masks/ in it")
    frames: list[Frame] = []
    taken: dict[str, int] = {}
    for image in (images / path for path in image_files(images)):
        match = re.search(pattern, image.name)
        if match is None:
            raise UserError(f"{image.name} does not match the patient pattern {pattern!r}")
        patient = match.group(1) if match.groups() else match.group(0)
        mask = existing_mask(masks / image.relative_to(images).with_suffix(".png"))
        if not mask.is_file():
            raise MissingFileError(f"no mask {mask} for {image}, nor one of another suffix")
        taken[patient] = taken.get(patient, 0) + 1
        if not limit or taken[patient] <= limit:
            frames.append(Frame(image, mask, patient))
    if not frames:
        raise UserError(f"no images under {images}")
    return frames


def read_grey(path: Path):
    """An image of any mode as grey levels (H, W), uint8, as the ROI sources see it."""
    import numpy as np

    from dassl.utils import read_image

    return np.asarray(read_image(str(path)).convert("L"))


def read_pair(frame: Frame):
    """Read a frame's grey image and boolean mask at the image's size."""
    from cerviclip.data.roi.sources import read_mask

    image = read_grey(frame.image)
    return image, read_mask(frame.mask, frame.image, image.shape)


def check_masks(frames: Sequence[Frame]) -> str:
    """One line on how much of the masks is tissue and what values they hold.

    Raises:
        UserError: every mask is empty, or every mask is full.
    """
    import numpy as np

    from cerviclip.data.roi.sources import mask_values

    shares, found = [], set()
    for frame in frames:
        values = mask_values(frame.mask)
        shares.append(float((values > 0).mean()))
        found |= set(np.unique(values).tolist())
    listed = ", ".join(map(str, sorted(found)[:6])) + (" ..." if len(found) > 6 else "")
    text = f"tissue share {sum(shares) / len(shares):.2f} in {len(shares)} masks, values {listed}"
    if not any(shares) or all(share == 1 for share in shares):
        what = "empty" if not any(shares) else "full"
        raise UserError(
            f"every mask is {what} ({text}); 0 must be background and all else tissue (such as "
            f"{frames[0].mask})"
        )
    if len(found) > 2:
        text += "; Warning: more than two values, of which all above 0 count as tissue"
    return text


def load_tensors(frames: Sequence[Frame], size: int):
    """All frames as tensors (N, 1, size, size): images in 0-1, masks 0 or 1."""
    import torch

    from cerviclip.data.roi.segmenters import to_input

    images, masks = [], []
    for frame in frames:
        image, mask = read_pair(frame)
        images.append(to_input(image, size))
        masks.append((to_input(mask.astype("uint8") * 255, size) > 0.5).float())
    return torch.stack(images), torch.stack(masks)


def restyle(images, masks, generator):
    """Another centre's scanner over the same anatomy: gain, gamma, noise, a smooth illumination,
    and how bright the sheath is against the tissue."""
    import torch

    n = len(images)

    def draw(spread, *shape):
        return torch.exp(spread * torch.randn(n, 1, *(shape or (1, 1)), generator=generator))

    light = torch.nn.functional.interpolate(
        draw(0.25, 4, 4), size=images.shape[2:], mode="bicubic", align_corners=False
    )
    sheath = torch.where(masks > 0.5, 1.0, draw(0.3))
    noise = 0.05 * torch.rand(n, 1, 1, 1, generator=generator)
    styled = draw(0.3) * light * sheath * images.clamp(0, 1) ** draw(0.5)
    return (styled + noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def jitter(images, masks, generator):
    """Mirror, shift and stretch in depth, and make what lies above the tissue thicker or thinner,
    as sheaths of other catheters are; images and masks alike."""
    import torch

    n, height = len(images), images.shape[2]

    def draw(low, high):
        return low + (high - low) * torch.rand(n, 1, 1, generator=generator)

    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    shift, stretch = draw(-0.2, 0.2), draw(0.8, 1.2)
    thickness = torch.exp(draw(-0.4, 0.8))
    # Depths run from -1 to 1. Stretched about the mean surface, tissue stays tissue.
    surface = (1 - 2 * masks.mean((2, 3)))[..., None]
    down = (torch.arange(height) + 0.5) * 2 / height - 1
    across = (torch.arange(images.shape[3]) + 0.5) * 2 / images.shape[3] - 1
    depth = down[None, :, None] * stretch + shift
    depth = torch.where(depth < surface, surface + (depth - surface) / thickness, depth)
    grid = torch.stack(torch.broadcast_tensors(across * flip, depth), dim=-1)
    # Past the bottom the tissue goes on: the border's value, not zeros, for the masks too.
    sample = torch.nn.functional.grid_sample
    moved = sample(images, grid, padding_mode="border", align_corners=False)
    moved_masks = sample(masks, grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, moved_masks


def fit(spec, images, masks, args, label: str):
    """Train one segmenter on tensors (N, 1, S, S); returns it in eval mode."""
    import torch
    from rich.progress import track

    from cerviclip.data.roi.segmenters import Segmenter, dice_loss
    from dassl.utils import set_random_seed

    set_random_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    model = Segmenter(spec, args.encoder_weights or None)
    steps = args.epochs * max(1, len(images) // args.batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=steps + 1)
    model.train()
    order = torch.randperm(len(images), generator=generator)
    for step in track(range(steps), description=label, transient=True):
        at = (step * args.batch_size) % len(images)
        if at + args.batch_size > len(images):
            order, at = torch.randperm(len(images), generator=generator), 0
        rows = order[at : at + args.batch_size]
        batch, target = jitter(images[rows], masks[rows], generator)
        loss = dice_loss(model(restyle(batch, target, generator)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def classical_masks(images):
    """Masks of the detector that needs no training; empty where it finds no tissue."""
    import numpy as np

    from cerviclip.data.roi.surface import tissue_mask

    found = [tissue_mask(image) for image in images]
    return [np.zeros(i.shape, bool) if m is None else m for i, m in zip(images, found, strict=True)]


def evaluate(masks_of: Callable, frames: Sequence[Frame]) -> dict[str, float]:
    """Mean IoU and Dice over frames, and the median error of the surface in % of the height."""
    import numpy as np

    from cerviclip.data.roi.segmenters import overlap_scores, surface_rows

    pairs = [read_pair(frame) for frame in frames]
    predicted = masks_of([image for image, _ in pairs])
    scores = [overlap_scores(p, mask) for p, (_, mask) in zip(predicted, pairs, strict=True)]
    errors = [
        np.median(np.abs(surface_rows(p) - surface_rows(mask))) / len(mask) * 100
        for p, (_, mask) in zip(predicted, pairs, strict=True)
    ]
    iou, dice = np.mean(scores, axis=0)
    return {
        "iou": float(iou),
        "dice": float(dice),
        "surface_error_percent": float(np.median(errors)),
    }


def cross_validate(spec, frames: Sequence[Frame], args) -> list[dict[str, float]]:
    """Scores of each patient-grouped fold."""
    from sklearn.model_selection import GroupKFold

    patients = [frame.patient for frame in frames]
    images, masks = load_tensors(frames, spec.size)
    rows = []
    for k, (train, test) in enumerate(GroupKFold(args.folds).split(patients, groups=patients)):
        model = fit(spec, images[train], masks[train], args, f"{spec.arch} fold {k + 1}")
        rows.append(evaluate(model.masks, [frames[i] for i in test]))
        print(f"{spec.arch} fold {k + 1}/{args.folds}: Dice {rows[-1]['dice']:.4f}")
    return rows


def run_architecture(arch: str, frames: Sequence[Frame], held_out, args) -> dict:
    """Cross-validate one architecture, train it on all patients, score the held-out centres."""
    from cerviclip.data.roi.segmenters import SegmenterSpec

    spec = SegmenterSpec(arch, args.encoder, args.size)
    result: dict = {"arch": arch, "encoder": args.encoder, "size": args.size, "folds": []}
    if args.folds > 1:
        result["folds"] = cross_validate(spec, frames, args)
        add_means(result)
    images, masks = load_tensors(frames, spec.size)
    model = fit(spec, images, masks, args, f"{arch} on all patients")
    path = Path(args.output) / arch / "segmenter.safetensors"
    model.save(path)
    result["checkpoint"] = str(path)
    result["held_out"] = {name: evaluate(model.masks, found) for name, found in held_out.items()}
    return result


def add_means(result: dict) -> None:
    """Mean and sd over the folds, beside them."""
    import numpy as np

    for key in ("dice", "iou"):
        values = [fold[key] for fold in result["folds"]]
        result[f"{key}_mean"], result[f"{key}_sd"] = np.mean(values), np.std(values, ddof=1)


def run_classical(frames: Sequence[Frame], held_out, args) -> dict:
    """The classical detector on the same folds and centres; there is nothing to train."""
    from sklearn.model_selection import GroupKFold

    result: dict = {"arch": CLASSICAL, "folds": []}
    if args.folds > 1:
        patients = [frame.patient for frame in frames]
        for _, test in GroupKFold(args.folds).split(patients, groups=patients):
            result["folds"].append(evaluate(classical_masks, [frames[i] for i in test]))
        add_means(result)
    result["held_out"] = {name: evaluate(classical_masks, f) for name, f in held_out.items()}
    return result


def table(results: Sequence[dict]) -> str:
    """The results as a Markdown table, one row an architecture."""
    from tabulate import tabulate

    rows = []
    for result in results:
        row = {"arch": result["arch"]}
        if result["folds"]:
            row["fold Dice"] = f"{result['dice_mean']:.4f} ± {result['dice_sd']:.4f}"
            row["fold IoU"] = f"{result['iou_mean']:.4f} ± {result['iou_sd']:.4f}"
        for name, scores in result["held_out"].items():
            row[f"{name} Dice"] = f"{scores['dice']:.4f}"
            row[f"{name} surface error"] = f"{scores['surface_error_percent']:.2f} %"
        rows.append(row)
    return tabulate(rows, headers="keys", tablefmt="github")


def draw(folder: Path, checkpoints: dict[str, Path], target: Path) -> None:
    """One contact sheet: a row for each image of a folder, a column for each way to find tissue."""
    import numpy as np
    from matplotlib.figure import Figure

    from cerviclip.data.roi.segmenters import load_segmenter, surface_rows

    paths = [folder / path for path in image_files(folder)]
    if not paths:
        raise UserError(f"no images under {folder}")
    images = [read_grey(path) for path in paths]
    ways = {CLASSICAL: classical_masks}
    ways |= {name: load_segmenter(path).masks for name, path in checkpoints.items()}
    figure = Figure(figsize=(3.2 * len(ways), 3.2 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(ways), squeeze=False)
    for column, (name, masks_of) in enumerate(ways.items()):
        for row, (path, image, mask) in enumerate(
            zip(paths, images, masks_of(images), strict=True)
        ):
            spot = axes[row, column]
            spot.imshow(image, cmap="gray", vmin=0, vmax=255)
            rows = np.where(mask.any(0), surface_rows(mask), np.nan)
            spot.plot(rows, color="#ffb000", linewidth=1.2)
            spot.set_title(f"{path.stem}: {name}", fontsize=9)
            spot.set_axis_off()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.tmp")
    figure.savefig(scratch, dpi=110, format="png")
    scratch.replace(target)
    print(target)


def parse(argv: Sequence[str] | None, prog: str = PROG) -> argparse.Namespace:
    from cerviclip.data.roi.segmenters import ARCHITECTURES

    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arch", default="unet", choices=[*ARCHITECTURES, "all"], help="default: unet"
    )
    parser.add_argument("--encoder", default="resnet18", help="an encoder of the library")
    parser.add_argument("--encoder-weights", default="", help="imagenet, where it can be had")
    parser.add_argument(
        "--data", type=Path, default=Path("data/phantom/mixed"),
        help="images/ and masks/ to train on; default: data/phantom/mixed",
    )  # fmt: skip
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="centres never seen")
    parser.add_argument(
        "--patient-pattern", default=r"_(P\d{7})_", help="finds the patient in a file name"
    )
    parser.add_argument("--frames-per-patient", type=int, default=0, help="0: all")
    parser.add_argument("--folds", type=int, default=5, help="0 or 1: no cross-validation")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--size", type=int, default=128, help="network input, px, multiple of 32")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate; default: 0.002")
    parser.add_argument("--seed", type=int, default=1, help="of folds and training; default: 1")
    parser.add_argument(
        "--output", default="output/segmenter", help="folder; default: output/segmenter"
    )
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="draw surfaces over its images")
    parser.add_argument("--checkpoint", type=Path, nargs="+", default=[], help="draw these only")
    add_debug_flag(parser)
    return parser.parse_args(argv)


def train_all(args: argparse.Namespace) -> dict[str, Path]:
    """Train and judge what was asked for; the checkpoints by architecture."""
    from cerviclip.data.roi.segmenters import ARCHITECTURES

    frames = find_frames(args.data, args.patient_pattern, args.frames_per_patient)
    held_out = {
        folder.name: find_frames(folder, args.patient_pattern, args.frames_per_patient)
        for folder in args.held_out
    }
    for name, some in {"training": frames, **held_out}.items():
        print(f"{name}: {check_masks(some)}")
    patients = len({frame.patient for frame in frames})
    if args.folds > patients:
        raise UserError(f"--folds {args.folds}, but there are {patients} patients")
    names = list(ARCHITECTURES) if args.arch == "all" else [args.arch]
    results = [run_architecture(name, frames, held_out, args) for name in names]
    results.append(run_classical(frames, held_out, args))
    output = Path(args.output)
    with atomic_write(output / "results.json") as file:
        file.write(json.dumps(results, indent=2, default=float) + "\n")
    print(table(results))
    print(f"Written to {output}")
    return {name: output / name / "segmenter.safetensors" for name in names}


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    args = parse(argv, prog)
    if args.checkpoint and not args.draw:
        raise UserError("--checkpoint is drawn over images: give --draw FOLDER as well")
    if args.draw and not args.draw.is_dir():
        raise MissingFileError(f"no folder {args.draw} (--draw)")
    checkpoints = {path.parent.name: path for path in args.checkpoint} or train_all(args)
    if args.draw:
        draw(args.draw, checkpoints, Path(args.output) / "surfaces.png")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
