"""The last linear map of a vision tower: from its own width W to the space of the texts D."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cerviclip.vlm.base import VisionTower
from cerviclip.vlm.learned.lora import shared_copy
from dassl.errors import UserError


def require_projection(tower: VisionTower) -> nn.Module | nn.Parameter:
    """The projection itself: a matrix (W, D) or an ``nn.Linear``.

    Raises:
        UserError: the tower has none; names the towers that do.
    """
    part: object = tower if tower.projection else None
    for name in tower.projection.split("."):
        part = getattr(part, name, None)
    if isinstance(part, (nn.Parameter, nn.Linear)):
        return part
    raise UserError(
        f"this {type(tower).__name__} does not end in a linear projection; choose a CLIP ViT or a "
        "CLIP ResNet (PhantomCLIP, ViT-B/16, RN50), or BiomedCLIP"
    )


def project(tower: VisionTower, rows: Tensor) -> Tensor:
    """Rows (B, W) that enter the projection to features (B, D), not normalised."""
    part = require_projection(tower)
    return rows @ part if isinstance(part, Tensor) else part(rows)


def without_projection(tower: VisionTower) -> VisionTower:
    """A copy that gives what enters the projection, (B, W), in the place of features.

    It shares the tower's tensors; a matrix gives way to the identity, which alters no number.
    """
    part, adapted = require_projection(tower), shared_copy(tower)
    path, _, name = tower.projection.rpartition(".")
    if isinstance(part, nn.Parameter):
        eye = torch.eye(part.shape[0], dtype=part.dtype, device=part.device)
        setattr(adapted.get_submodule(path), name, nn.Parameter(eye, requires_grad=False))
    else:
        setattr(adapted.get_submodule(path), name, nn.Identity())
    return adapted
