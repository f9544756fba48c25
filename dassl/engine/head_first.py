"""A head that is trained on stored features of the frozen tower, before the tower adapts.

Fine-tuning that starts from an untrained head bends the features towards it, at the cost of data
from elsewhere; from a head that fits already it has little to bend (LP-FT: Kumar et al., ICLR 2022,
arXiv:2202.10054). The tower is run once per stored view, so thousands of steps of the head cost
what some dozens of the tower do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dassl.data.transforms import build_transform
from dassl.engine.iterations import build_iteration_scheduler
from dassl.errors import UserError
from dassl.optim import build_optimizer

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.data.transforms.style import StyleStrength

_PRINTED = 4  # lines of the log


def styled_transform(cfg: CfgNode, preprocess: Any, strength: StyleStrength | None) -> Callable:
    """The training transform, with a random style among its steps.

    Args:
        cfg: the config, whose ``INPUT.TRANSFORMS`` is taken.
        preprocess: of the backbone.
        strength: of the style; None adds none.
    """
    cfg, choices = cfg.clone(), list(cfg.INPUT.TRANSFORMS)
    if strength is not None:
        cfg.defrost()
        cfg.INPUT.STYLE = (
            *(strength.gain, strength.gamma),
            *(strength.speckle, strength.attenuation),
        )
        choices.append("random_style")
    return build_transform(cfg, is_train=True, choices=choices, preprocess=preprocess)


def random_batches(
    count: int, views: int, size: int, steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of different images (B,) and of one view of each (B,), drawn from ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        index = torch.randperm(count, generator=generator)[:size]
        yield index, torch.randint(views, index.shape, generator=generator)


def train_head(
    head: nn.Module,
    optim_cfg: CfgNode,
    steps: int,
    batches: Iterator[Any],
    loss_of: Callable[..., Tensor],
) -> float:
    """Minimise ``loss_of(*batch)`` over a head's parameters by the optimiser and schedule of
    ``cfg.OPTIM``, the schedule over ``steps``.

    Returns:
        The loss of the last batch.

    Raises:
        UserError: the loss is not finite.
    """
    optim = build_optimizer(head, optim_cfg)
    sched = build_iteration_scheduler(optim, optim_cfg, steps)
    loss = torch.zeros(())
    for step, batch in enumerate(batches, start=1):
        loss = loss_of(*batch)
        optim.zero_grad()
        loss.backward()
        optim.step()
        sched.step()
        if step % max(1, steps // _PRINTED) == 0:
            print(f"head alone [{step}/{steps}] loss {loss.item():.4f}", flush=True)
    if not torch.isfinite(loss):
        raise UserError(
            f"the head alone ended at a loss of {loss.item()} (OPTIM.LR {optim_cfg.LR}); "
            "lower OPTIM.LR"
        )
    return loss.item()
