"""Domain-specific batch normalisation (Chang et al., CVPR 2019)."""

from __future__ import annotations

from torch import Tensor, nn


class _DSBN(nn.Module):
    """One batch norm per domain; ``select_bn`` says whose turn it is.

    Args:
        num_features: channels.
        n_domain: number of domains.
    """

    norm: type[nn.Module]

    def __init__(self, num_features: int, n_domain: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.n_domain = n_domain
        self.domain_idx = 0
        self.bn = nn.ModuleList(self.norm(num_features) for _ in range(n_domain))

    def select_bn(self, domain_idx: int = 0) -> None:
        if not 0 <= domain_idx < self.n_domain:
            raise ValueError(f"domain {domain_idx} is not one of {self.n_domain}")
        self.domain_idx = domain_idx

    def forward(self, x: Tensor) -> Tensor:
        return self.bn[self.domain_idx](x)


class DSBN1d(_DSBN):
    """For features (B, C)."""

    norm = nn.BatchNorm1d


class DSBN2d(_DSBN):
    """For maps (B, C, H, W)."""

    norm = nn.BatchNorm2d
