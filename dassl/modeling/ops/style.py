"""What MixStyle and EFDMix share: when a batch is mixed, whose style it gets, switching it off."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def partners(batch: int, mix: str) -> Tensor:
    """Whose style each image of a batch gets.

    Args:
        batch: number of images.
        mix: random, or crossdomain: the first half of the batch is of one domain and the second of
            another, and each image gets a style from the other half.

    Returns:
        Indices (B,).
    """
    if mix == "random":
        return torch.randperm(batch)
    if mix != "crossdomain":
        raise ValueError(f'mix is "random" or "crossdomain", not "{mix}"')
    second, first = torch.arange(batch - 1, -1, -1).chunk(2)
    second = second[torch.randperm(len(second))]
    first = first[torch.randperm(len(first))]
    return torch.cat([second, first])


class StyleMixer(nn.Module):
    """Mixes feature maps (B, C, H, W) with the style of other images while training.

    Args:
        p: probability that a batch is mixed.
        alpha: parameter of the Beta distribution that an image's share of its own style is from.
        eps: added to variances.
        mix: random or crossdomain, see :func:`partners`.
    """

    def __init__(
        self, p: float = 0.5, alpha: float = 0.1, eps: float = 1e-6, mix: str = "random"
    ) -> None:
        super().__init__()
        self.p = p
        self.beta = torch.distributions.Beta(alpha, alpha)
        self.eps = eps
        self.alpha = alpha
        self.mix = mix
        self._activated = True

    def __repr__(self) -> str:
        values = f"p={self.p}, alpha={self.alpha}, eps={self.eps}, mix={self.mix}"
        return f"{type(self).__name__}({values})"

    def set_activation_status(self, status: bool = True) -> None:
        self._activated = status

    def update_mix_method(self, mix: str = "random") -> None:
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self._activated or random.random() > self.p:
            return x
        # Upstream draws the shares before the partners.
        share = self.beta.sample((x.size(0), 1, 1, 1)).to(x, non_blocking=True)
        index = partners(x.size(0), self.mix).to(x.device, non_blocking=True)
        return self.mix_styles(x, share, index)

    def mix_styles(self, x: Tensor, share: Tensor, index: Tensor) -> Tensor:
        """Hook: each image keeps ``share`` (B, 1, 1, 1) of its style, the rest is its partner's."""
        raise NotImplementedError


def switches(kind: type[StyleMixer]) -> tuple[Callable, ...]:
    """Upstream's functions for one kind of mixer.

    Returns:
        deactivate, activate, random, crossdomain (each for ``model.apply``), and the contexts
        run_without(model) and run_with(model, mix=None).
    """

    def each(action: Callable[[StyleMixer], None]) -> Callable[[nn.Module], None]:
        def apply_to(m: nn.Module) -> None:
            if type(m) is kind:
                action(m)

        return apply_to

    deactivate = each(lambda m: m.set_activation_status(False))
    activate = each(lambda m: m.set_activation_status(True))
    use_random = each(lambda m: m.update_mix_method("random"))
    use_crossdomain = each(lambda m: m.update_mix_method("crossdomain"))

    @contextmanager
    def run_without(model: nn.Module) -> Iterator[None]:
        """Mixing is on outside and off inside."""
        try:
            model.apply(deactivate)
            yield
        finally:
            model.apply(activate)

    @contextmanager
    def run_with(model: nn.Module, mix: str | None = None) -> Iterator[None]:
        """Mixing is off outside and on inside, in the way of ``mix`` if given."""
        if mix == "random":
            model.apply(use_random)
        elif mix == "crossdomain":
            model.apply(use_crossdomain)
        try:
            model.apply(activate)
            yield
        finally:
            model.apply(deactivate)

    return deactivate, activate, use_random, use_crossdomain, run_without, run_with
