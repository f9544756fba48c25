"""Goal: pre-train PhantomCLIP, the small CLIP that the embedded default uses.

Usage:
    python tools/pretrain_phantom_clip.py     # the shipped weights, about 4 minutes
    python tools/pretrain_phantom_clip.py --output my.safetensors --steps 200

Trains OpenAI's architecture on phantom patients that no data set holds, with noisy captions of what
the frames show. The model card with its figures is docs/phantom_clip.md.

Example output:
    step   450/450  contrast 3.748  regression 0.654  129 img/s
    wrote cerviclip/vlm/weights/phantom_clip.safetensors (3.0 MB)
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from cerviclip.data.phantoms import (
    CLASSES,
    VERSION,
    Frame,
    pretraining_center,
    render_patient,
)
from cerviclip.data.phantoms.captions import DETAILS, caption
from cerviclip.places import PACKAGE
from dassl.errors import cli_main

WEIGHTS = PACKAGE / "vlm" / "weights" / "phantom_clip.safetensors"
IMAGE_SIZE, PATCH = 96, 16
STORED_SIZE = 112  # px; crops of it are scaled to IMAGE_SIZE
VISION = {"width": 128, "layers": 6}
TEXT = {"width": 64, "heads": 1, "layers": 3}
EMBED_DIM = 128
CONTEXT, VOCABULARY = 77, 49408
TRAINED_CONTEXT = 56  # captions are padded to this length, in tokens
MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's, as the loaded model will be fed
STD = (0.26862954, 0.26130258, 0.27577711)


def render_corpus(patients: int, frames: int, seed: int) -> tuple[np.ndarray, list[Frame]]:
    """Frames of the pre-training patients: ``(N, 112, 112)`` uint8, and the frames' records."""
    center = pretraining_center()
    images, records = [], []
    for number in range(1, patients + 1):
        for frame in render_patient(center, seed * 100_000 + number, number % len(CLASSES), frames):
            small = Image.fromarray(frame.image).resize((STORED_SIZE, STORED_SIZE), Image.BICUBIC)
            images.append(np.asarray(small))
            records.append(frame)
    return np.stack(images), records


def short_caption(frame: Frame, rng: np.random.Generator) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Token ids (1, 77) of a caption no longer than training reads, and the facts it states."""
    from cerviclip.vlm.towers.clip_package import import_clip

    while True:
        text, facts = caption(frame, rng)
        tokens = import_clip().tokenize(text, context_length=CONTEXT, truncate=True)
        if int((tokens != 0).sum()) <= TRAINED_CONTEXT:
            return tokens, facts


class Captions:
    """Captions of a corpus, as token ids of a vocabulary that holds only the words they use."""

    def __init__(self, records: list[Frame], per_frame: int, rng: np.random.Generator) -> None:
        made = [[short_caption(frame, rng) for _ in range(per_frame)] for frame in records]
        full = torch.cat([tokens for captions in made for tokens, _ in captions])
        # The compact vocabulary keeps the order of the ids, so the end token stays the largest.
        self.used, compact = torch.unique(full, return_inverse=True)
        self.tokens = compact.view(len(records), per_frame, CONTEXT)[..., :TRAINED_CONTEXT]
        numbers: dict[tuple[str, ...], int] = {}
        keys = [[numbers.setdefault(f, len(numbers)) for _, f in captions] for captions in made]
        self.keys = torch.tensor(keys)  # equal keys: the captions state the same facts


def build_model(vocabulary: int) -> torch.nn.Module:
    """OpenAI's CLIP at PhantomCLIP's size."""
    from cerviclip.vlm.towers.clip_package import import_clip

    return (
        import_clip()
        .model.CLIP(
            EMBED_DIM,
            IMAGE_SIZE,
            VISION["layers"],
            VISION["width"],
            PATCH,
            TRAINED_CONTEXT,
            vocabulary,
            TEXT["width"],
            TEXT["heads"],
            TEXT["layers"],
        )
        .float()
    )


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crop, scale and flip a batch (B, 112, 112) uint8 -> (B, 3, 96, 96) normalised."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    size = draw(int(0.85 * STORED_SIZE), STORED_SIZE)
    top, left = draw(0, STORED_SIZE - size), draw(0, STORED_SIZE - size)
    x = images[:, None, top : top + size, left : left + size].float() / 255
    x = F.interpolate(x, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
    flip = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (x - mean[:, None, None]) / std[:, None, None]


def contrastive_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, keys: torch.Tensor
) -> torch.Tensor:
    """Symmetric InfoNCE in which pairs that state the same facts count as positives too.

    The frame's own caption carries half of the weight, the other positives share the rest.
    """
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).t()
    same = (keys[:, None] == keys[None, :]).float()
    target = 0.5 * same / same.sum(1, keepdim=True) + 0.5 * torch.eye(len(keys))
    rows = -(target * F.log_softmax(logits, 1)).sum(1).mean()
    columns = -(target.t() * F.log_softmax(logits.t(), 1)).sum(1).mean()
    return (rows + columns) / 2


def rendering_parameters(records: list[Frame]) -> torch.Tensor:
    """What each frame was rendered from, standardised: ``(N, T)``, NaN where it does not show.

    Weights of the five structures first; then the sizes of the frame's own structure, and the scan.
    """
    sizes = {name: [key for key, *_ in details] for name, details in DETAILS.items()}
    rows = []
    for frame in records:
        own = CLASSES[frame.label]
        row = [frame.mix.get(name, 0.0) for name in CLASSES]
        for name, keys in sizes.items():
            row += [frame.anatomy[key] if name == own else np.nan for key in keys]
        rows.append(row + list(frame.scan.values()))
    values = np.array(rows)
    values = (values - np.nanmean(values, 0)) / (np.nanstd(values, 0) + 1e-6)
    return torch.tensor(values, dtype=torch.float32)


def regression_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of the parameters that show; the structures' weights count a quarter of it.

    At half of it the five classes lie so far apart in the image space that one image per class
    teaches a linear probe what sixteen do; at a tenth sixteen teach it too little.
    """
    shown = ~target.isnan()
    error = torch.where(shown, (predicted - target.nan_to_num()) ** 2, 0.0)
    structures, others = slice(0, len(CLASSES)), slice(len(CLASSES), None)
    parts = [error[:, part].sum() / shown[:, part].sum() for part in (structures, others)]
    return 0.25 * parts[0] + 0.75 * parts[1]


def make_optimiser(
    modules: Sequence[torch.nn.Module], args: argparse.Namespace
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with warm-up and cosine; gains, biases and the scale do not decay, as in CLIP."""
    parameters = [p for module in modules for p in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    warm = max(args.steps // 15, 1)

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * min(step / args.steps, 1.0)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def train(args: argparse.Namespace) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Pre-train; returns a state dict of the full vocabulary and context, and the tokens in use."""
    from cerviclip.vlm.files.compact import untouched_rows

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    start = time.perf_counter()
    pixels, records = render_corpus(args.patients, args.frames, args.seed)
    images = torch.from_numpy(pixels)
    captions = Captions(records, 4, np.random.default_rng([args.seed, 77]))
    # The captions are too poor to learn to see from. A head, thrown away afterwards, reads the
    # rendering parameters off the image embedding; its alignment with text stays the captions'.
    targets = rendering_parameters(records)
    head = torch.nn.Linear(EMBED_DIM, targets.shape[1])
    print(
        f"{len(images)} frames of {args.patients} patients, {len(captions.used)} tokens in use "
        f"({time.perf_counter() - start:.0f} s)"
    )
    model = build_model(len(captions.used))
    with torch.no_grad():
        start_rows = untouched_rows(VOCABULARY, TEXT["width"])
        model.token_embedding.weight.copy_(start_rows[captions.used])
    optimiser, schedule = make_optimiser([model, head], args)
    start, sums = time.perf_counter(), torch.zeros(2)
    for step in range(1, args.steps + 1):
        pick = torch.randint(len(images), (args.batch,), generator=generator)
        which = torch.randint(captions.tokens.shape[1], (args.batch,), generator=generator)
        image = model.encode_image(augment(images[pick], generator))
        text = model.encode_text(captions.tokens[pick, which])
        keys = captions.keys[pick, which]
        contrast = contrastive_loss(image, text, model.logit_scale.exp(), keys)
        regression = regression_loss(head(image), targets[pick])
        optimiser.zero_grad(set_to_none=True)
        (contrast + args.regression * regression).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 2.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        sums += torch.stack([contrast.detach(), regression.detach()])
        if step % 50 == 0:
            rate = step * args.batch / (time.perf_counter() - start)
            losses = "contrast {:.3f}  regression {:.3f}".format(*(sums / 50).tolist())
            print(f"step {step:5d}/{args.steps}  {losses}  {rate:.0f} img/s", flush=True)
            sums.zero_()
    return widen(model, captions.used), captions.used


def widen(model: torch.nn.Module, used: torch.Tensor) -> dict[str, torch.Tensor]:
    """Back to CLIP's vocabulary and context; tokens that no caption used stay as they started."""
    from cerviclip.vlm.files.compact import untouched_rows

    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    table = untouched_rows(VOCABULARY, TEXT["width"])
    table[used] = state["token_embedding.weight"]
    state["token_embedding.weight"] = table
    places = torch.zeros(CONTEXT, TEXT["width"])
    places[:TRAINED_CONTEXT] = state["positional_embedding"]
    # Longer prompts than any caption reuse the last trained place.
    places[TRAINED_CONTEXT:] = state["positional_embedding"][-1]
    state["positional_embedding"] = places
    return state


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Pre-train PhantomCLIP on phantom patients.")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="safetensors file to write")
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--frames", type=int, default=6, help="frames per patient")
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--regression", type=float, default=0.6, help="weight of that loss")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)

    from cerviclip.vlm import save_compact_clip

    state, used = train(args)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_compact_clip(
        args.output,
        state,
        used.tolist(),
        {
            "name": "PhantomCLIP",
            "generator": VERSION,
            "data": "phantoms only",
            "seed": str(args.seed),
        },
    )
    print(f"wrote {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
