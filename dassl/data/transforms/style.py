"""The look of a scanner changed at random: gain, gamma, speckle, attenuation with depth.

What is in an image stays where it is, so two styles of one image must be given one class. All four
act on the grey levels of the finished image, whatever made them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StyleStrength:
    """Half-widths of the draws; 0 switches one off.

    Args:
        gain: log of the factor on all grey levels.
        gamma: log of the exponent.
        speckle: relative standard deviation of multiplicative noise, at most.
        attenuation: log of the factor at the bottom row, growing linearly from 0 at the top.
    """

    gain: float = 0.3
    gamma: float = 0.3
    speckle: float = 0.2
    attenuation: float = 0.5


class RandomStyle(nn.Module):
    """One random style for each image of a batch.

    Args:
        mean, std: with which the images were normalised.
        strength: of the four changes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple, std: tuple, strength: StyleStrength) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.strength = strength

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to normalised images of another style."""
        s, count = self.strength, len(images)
        x = (images * self.std + self.mean).clamp(0, 1)

        def draw(width: float) -> Tensor:
            return (torch.rand(count, 1, 1, 1, device=x.device) * 2 - 1) * width

        if s.gamma:
            x = x.clamp_min(1e-4) ** draw(s.gamma).exp()
        gain = draw(s.gain)
        if s.attenuation:
            depth = torch.linspace(0, 1, x.shape[2], device=x.device).view(1, 1, -1, 1)
            gain = gain + draw(s.attenuation) * depth
        x = x * gain.exp()
        if s.speckle:
            noise = torch.randn(
                count, 1, *x.shape[2:], device=x.device
            )  # grey: one for all channels
            x = x * (1 + draw(s.speckle).abs() * noise)
        return (x.clamp(0, 1) - self.mean) / self.std
