"""MixStyle (Zhou et al., ICLR 2021): mean and deviation of feature maps from two images mixed."""

from __future__ import annotations

from torch import Tensor

from .style import StyleMixer, switches


class MixStyle(StyleMixer):
    """Instance statistics of each channel become a mixture of two images' (eqs. 3 to 6)."""

    def mix_styles(self, x: Tensor, share: Tensor, index: Tensor) -> Tensor:
        mean = x.mean(dim=[2, 3], keepdim=True).detach()
        deviation = (x.var(dim=[2, 3], keepdim=True) + self.eps).sqrt().detach()
        normed = (x - mean) / deviation
        mixed_mean = mean * share + mean[index] * (1 - share)
        mixed_deviation = deviation * share + deviation[index] * (1 - share)
        return normed * mixed_deviation + mixed_mean


(
    deactivate_mixstyle,
    activate_mixstyle,
    random_mixstyle,
    crossdomain_mixstyle,
    run_without_mixstyle,
    run_with_mixstyle,
) = switches(MixStyle)
