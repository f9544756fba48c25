"""A second task beside the classes, which patches are tissue: shared features (Caruana, 1997).

The head reads the patch features that the classifier reads too. Its target is the tissue mask of
the ROI's sources, moved and cropped as the image was. It is used in training alone, so predictions
cost nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from cerviclip.data.roi.finder import RoiDataset, RoiFinder, tissue_patches
from cerviclip.data.roi.segmenters import dice_loss, overlap_scores
from dassl.data.data_manager import DatasetWrapper
from dassl.errors import UserError


def add_mask_keys(section: CfgNode) -> None:
    """Keys of a trainer that finds the masks itself: where they come from and what they weigh."""
    section.MASK = CfgNode()
    section.MASK.WEIGHT = 0.0  # of the mask's loss beside the classes'; 0 is no head
    section.MASK.SOURCE = "masks"  # masks (files), surface or segmenter
    section.MASK.CHECKPOINT = ""  # of the segmenter
    section.MASK.FOLDER = "masks"  # of the mask files


class MaskHead(nn.Module):
    """One logit for each patch: is it tissue?

    Args:
        width: of a patch's features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.logit = nn.Linear(width, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """Patch features (B, N, width) to logits (B, N)."""
        return self.logit(self.norm(patches.float())).squeeze(-1)


def mask_loss(logits: Tensor, inside: Tensor) -> Tensor:
    """Binary cross-entropy and soft Dice loss of patch logits (B, N) against tissue (B, N)."""
    target = inside.float()
    return F.binary_cross_entropy_with_logits(logits, target) + dice_loss(logits, target)


class LastMap:
    """The last feature map of a convolutional network, read on the way of an ordinary pass.

    Args:
        network: gives logits of images (B, 3, H, W).
        size: (H, W) of the images.

    Attributes:
        channels, grid: of the map.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self.layer, self.channels, self.grid = _last_map(network, size)
        self._seen: list[Tensor] = []

    def tokens(self, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """What ``run`` returns, and the map's places as tokens (B, N, channels)."""
        hook = self.layer.register_forward_hook(lambda _, __, out: self._seen.append(out))
        try:
            output = run()
        finally:
            hook.remove()
        found = self._seen.pop()
        self._seen.clear()
        return output, found.flatten(2).transpose(1, 2)


@torch.no_grad()
def _last_map(network: nn.Module, size: tuple[int, int]) -> tuple[nn.Module, int, tuple[int, int]]:
    """The last module that gives a map of more than one place, its channels and its grid."""
    found: list[tuple[nn.Module, torch.Size]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if torch.is_tensor(output) and output.ndim == 4 and min(output.shape[2:]) > 1:
            found.append((module, output.shape))

    hooks = [m.register_forward_hook(note) for m in network.modules()]
    training = network.training
    try:
        parameter = next(network.parameters())
        network.eval()(parameter.new_zeros(1, 3, *size))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError(
            "this network has no feature map of more than one place, so it can learn no mask: "
            "set the weight of MASK to 0, or take a convolutional network or larger INPUT.SIZE"
        )
    module, shape = found[-1]
    return module, shape[1], (shape[2], shape[3])


class MaskDataset(RoiDataset):
    """Training images with the tissue of their patches, ``roi`` (N,); other images as they are."""

    patches_of = staticmethod(tissue_patches)  # type: ignore[assignment]

    def __getitem__(self, idx: int) -> dict:
        own = RoiDataset if self.is_train else DatasetWrapper
        return own.__getitem__(self, idx)


def mask_dataset(finder: RoiFinder) -> type[MaskDataset]:
    """The dataset wrapper of one finder, as ``DataManager`` takes it; its ``grid`` is set when the
    network, and with it the map, is there."""
    return type("MaskDataset", (MaskDataset,), {"finder": finder, "grid": (1, 1)})


def mask_scores(pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Mean overlap over images.

    Args:
        pairs: logits (B, N) and tissue (B, N) of batches.

    Returns:
        ``images``, ``iou`` and ``dice`` (0-1); both None without images.
    """
    scores = [
        overlap_scores(one, other)
        for logits, inside in pairs
        for one, other in zip((logits > 0).cpu().numpy(), inside.cpu().numpy(), strict=True)
    ]
    if not scores:
        return {"images": 0, "iou": None, "dice": None}
    iou, dice = np.mean(scores, axis=0)
    return {"images": len(scores), "iou": float(iou), "dice": float(dice)}
