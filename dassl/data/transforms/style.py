"""The look of a scanner changed at random: gain, gamma, speckle, attenuation with depth.

What is in an image stays where it is, so two styles of one image must be given one class. All four
act on the grey levels of the finished image, whatever made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dassl.errors import UserError
from dassl.utils.batch_share import draw_rows


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

    @classmethod
    def from_config(cls, values: Sequence[float]) -> StyleStrength:
        """From ``INPUT.STYLE``.

        Raises:
            UserError: not four numbers of at least 0.
        """
        if len(values) != 4 or not all(isinstance(v, (int, float)) and v >= 0 for v in values):
            raise UserError(
                f"INPUT.STYLE is {tuple(values)}; give four numbers of at least 0: "
                "gain, gamma, speckle, attenuation"
            )
        return cls(*values)


@torch.no_grad()
def restyle(x: Tensor, strength: StyleStrength) -> Tensor:
    """Images (B, 3, H, W) with values in 0-1, each in a random style of its own."""

    def draw(width: float) -> Tensor:
        return (
            draw_rows(len(x), lambda n: torch.rand(n, 1, 1, 1, device=x.device)) * 2 - 1
        ) * width

    if strength.gamma:
        x = x.clamp_min(1e-4) ** draw(strength.gamma).exp()
    gain = draw(strength.gain)
    if strength.attenuation:
        depth = torch.linspace(0, 1, x.shape[2], device=x.device).view(1, 1, -1, 1)
        gain = gain + draw(strength.attenuation) * depth
    x = x * gain.exp()
    if strength.speckle:
        # Grey: one draw for all channels.
        size = (1, *x.shape[2:])
        noise = draw_rows(len(x), lambda n: torch.randn(n, *size, device=x.device))
        x = x * (1 + draw(strength.speckle).abs() * noise)
    return x.clamp(0, 1)


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
        x = (images * self.std + self.mean).clamp(0, 1)
        return (restyle(x, self.strength) - self.mean) / self.std


class RandomStyleOfOne:
    """A random style for one image, as a step of a transform (``random_style``).

    Stored views are kept under the step's public attributes: whoever changes what ``restyle``
    computes adds one (``self.version = 2``), or views of before are taken for new ones.
    """

    def __init__(self, strength: StyleStrength) -> None:
        self.strength = strength

    def __call__(self, img: Tensor) -> Tensor:
        """Image (3, H, W) with values in 0-1."""
        return restyle(img[None], self.strength)[0]
