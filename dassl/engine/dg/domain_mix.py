"""DomainMix (in "Dynamic Domain Generalization", Sun et al., IJCAI 2022): mixup across domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.engine.build import TRAINER_REGISTRY
from dassl.errors import UserError
from dassl.metrics import compute_accuracy

from .vanilla import Vanilla

if TYPE_CHECKING:
    from yacs.config import CfgNode


def other_domain_partners(domain: Tensor) -> Tensor:
    """For each image one of another domain.

    Args:
        domain: labels (B,), best on the CPU: a GPU would be waited for at each domain.

    Returns:
        Indices (B,); where all are of one domain, a random order.
    """
    partners = torch.randperm(len(domain), device=domain.device)
    present = domain.unique()
    if len(present) < 2:
        return partners
    for value in present:
        wanted = int((domain == value).sum())
        others = (domain != value).nonzero().squeeze(-1)
        drawn = torch.ones(len(others)).multinomial(wanted, replacement=wanted > len(others))
        partners[domain == value] = others[drawn.to(others.device)]
    return partners


@TRAINER_REGISTRY.register()
class DomainMix(Vanilla):
    """Mixup of images from different domains; one share of mixing per batch."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.mix_type = cfg.TRAINER.DOMAINMIX.TYPE
        self.alpha = cfg.TRAINER.DOMAINMIX.ALPHA
        self.beta = cfg.TRAINER.DOMAINMIX.BETA
        self.dist_beta = torch.distributions.Beta(self.alpha, self.beta) if self.alpha > 0 else None

    def check_cfg(self, cfg: CfgNode) -> None:
        if cfg.TRAINER.DOMAINMIX.TYPE not in ("random", "crossdomain"):
            raise UserError(
                f'TRAINER.DOMAINMIX.TYPE is "{cfg.TRAINER.DOMAINMIX.TYPE}"; it takes random or '
                "crossdomain"
            )

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Any]:
        images, label_a, label_b, share = self.parse_batch_train(batch)
        output = self.model(images)
        loss_a, loss_b = F.cross_entropy(output, label_a), F.cross_entropy(output, label_b)
        loss = (share * loss_a + (1 - share) * loss_b).squeeze()
        self.model_backward_and_update(loss)

        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.detach(), "acc": compute_accuracy(output, label_a)[0]}

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        images, label = super().parse_batch_train(batch)
        return self.domain_mix(images, label, batch["domain"])

    def domain_mix(
        self, x: Tensor, target: Tensor, domain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mix a batch with a reordering of itself.

        Returns:
            Mixed images, their own labels, their partners' labels, the share (1,) of their own.
        """
        share = torch.ones(1) if self.dist_beta is None else self.dist_beta.sample((1,))
        share = share.to(x, non_blocking=True)
        if self.mix_type == "crossdomain":
            partners = other_domain_partners(domain).to(x.device, non_blocking=True)
        else:
            partners = torch.randperm(len(x), device=x.device)
        return share * x + (1 - share) * x[partners], target, target[partners], share
