"""SAVLT as one would write it first, for the benchmark alone: loops over images, heads and patches,
texts encoded and frames segmented at every step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cerviclip.data.roi.finder import box_top, patch_mask


class Frames(torch.utils.data.Dataset):
    """Frames decoded anew each time, behind the trainer's own transform."""

    def __init__(self, items: Sequence[Any], transform: Any) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        item = self.items[index]
        frame = Image.open(item.impath)
        return self.transform(frame.convert("RGB")), torch.tensor(np.asarray(frame)), item.label


class Plain:
    """The plain way to step a SAVLT trainer's own model.

    Args:
        trainer: its tower, pool, prototypes and optimisers are used; nothing else of it.
    """

    def __init__(self, trainer: Any, batch_size: int) -> None:
        self.trainer = trainer
        self.segmenter = trainer.finder.source.segmenter
        self.prompts = trainer.class_texts(trainer.cfg.TRAINER.SAVLT.PROMPTS)
        frames = Frames(trainer.dm.dataset.train_x, trainer.tfm_train)
        self.loader = torch.utils.data.DataLoader(
            frames, batch_size, shuffle=True, drop_last=True, num_workers=0
        )

    def steps(self, count: int) -> None:
        """So many training steps, loading included."""
        head = self.trainer.head
        for image, frames, label in itertools.islice(self._batches(), count):
            text, prototype = self.logits(image, frames)
            loss = head.mix(F.cross_entropy(text, label), F.cross_entropy(prototype, label))
            self.trainer.model_backward_and_update(loss)

    def _batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def logits(self, images: Tensor, frames: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, C) against texts and prototypes, from pixels and the grey frames (H, W)."""
        tower, head = self.trainer.visual, self.trainer.head
        inside = self.rois(frames)
        token, patches = tower.head(tower.run_blocks(tower.stem(images)))
        token = F.normalize(token, dim=-1)
        pooled = self.pool(F.normalize(patches, dim=-1), inside)
        features = F.normalize(token + pooled if head.class_token else pooled, dim=-1)
        return head.logits(features, self.texts(), self.trainer.backbone.scale)

    def rois(self, frames: Sequence[Tensor]) -> Tensor:
        """Segment each frame anew and bring its box to the patches: (B, N).

        The box goes through the test transform; that a training crop moves it is left out here,
        which only makes this way cheaper.
        """
        rows = []
        for frame in frames:
            grey = frame.numpy()
            top = box_top(self.segmenter.masks([grey])[0])
            roi = Image.new("L", (grey.shape[1], grey.shape[0]), 255 if top is None else 0)
            if top is not None:
                roi.paste(255, (0, top, grey.shape[1], grey.shape[0]))
            for step in self.trainer.patch_rois.plain_steps:
                roi = step(roi)
            rows.append(patch_mask(roi, self.trainer.backbone.visual.grid))
        return torch.stack(rows)

    @torch.no_grad()
    def texts(self) -> Tensor:
        """Class features (C, D): each class's prompts through the tower over all 77 columns."""
        backbone, means = self.trainer.backbone, []
        tower = backbone.text
        for words in self.prompts:
            tokens = backbone.tokenize(words)
            hidden = tower.run_blocks(tower.stem(tower.embed(tokens)))
            features = F.normalize(tower.head(hidden, tokens).float(), dim=-1)
            means.append(F.normalize(features.mean(0), dim=-1))
        return torch.stack(means)

    def pool(self, patches: Tensor, inside: Tensor) -> Tensor:
        """Attention pooling, image by image, head by head, patch by patch."""
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
                heads.append(torch.stack(scores, dim=-1).softmax(-1) @ value[:, part])
            rows.append(pool.out(torch.cat(heads, dim=-1).mean(0)))
        return torch.stack(rows)


def largest_difference(trainer: Any, plain: Plain, count: int = 8) -> float:
    """Between the trainer's and the plain logits on test frames."""
    trainer.set_model_mode("eval")
    items = trainer.dm.dataset.test[:count]
    batch = next(iter(trainer.make_loader(items)))
    frames = [torch.tensor(np.asarray(Image.open(item.impath))) for item in items]
    with torch.no_grad():
        (image, inside), _ = trainer.parse_batch_test(batch)
        ours = trainer.both_logits(image, inside)
        theirs = plain.logits(image, frames)
    trainer.set_model_mode("train")
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
