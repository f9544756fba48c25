"""EFDMix (Zhang et al., CVPR 2022): whole distributions of feature values mixed, by sorting."""

from __future__ import annotations

from torch import Tensor

from .style import StyleMixer, switches


class EFDMix(StyleMixer):
    """The k-th smallest value of a channel moves towards the partner's k-th smallest."""

    def mix_styles(self, x: Tensor, share: Tensor, index: Tensor) -> Tensor:
        flat = x.flatten(2)
        values, order = flat.sort(dim=-1)
        matched = values[index].gather(-1, order.argsort(dim=-1))
        return (flat + (matched - flat.detach()) * (1 - share.squeeze(-1))).view_as(x)


(
    deactivate_efdmix,
    activate_efdmix,
    random_efdmix,
    crossdomain_efdmix,
    run_without_efdmix,
    run_with_efdmix,
) = switches(EFDMix)
