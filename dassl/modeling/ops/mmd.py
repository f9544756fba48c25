"""Maximum mean discrepancy (Gretton et al., JMLR 2012) of two batches of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MaximumMeanDiscrepancy(nn.Module):
    """Squared MMD with a linear, polynomial or Gaussian kernel.

    The unbiased estimate leaves out each feature's kernel with itself.

    Args:
        kernel_type: linear, poly or rbf.
        normalize: L2-normalise features first.
    """

    def __init__(self, kernel_type: str = "rbf", normalize: bool = False) -> None:
        super().__init__()
        if kernel_type not in ("linear", "poly", "rbf"):
            raise ValueError(f'kernel_type is "linear", "poly" or "rbf", not "{kernel_type}"')
        self.kernel_type = kernel_type
        self.normalize = normalize

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """MMD of features (B1, D) and (B2, D), a number."""
        if self.normalize:
            x, y = nn.functional.normalize(x, dim=1), nn.functional.normalize(y, dim=1)
        return getattr(self, f"{self.kernel_type}_mmd")(x, y)

    def linear_mmd(self, x: Tensor, y: Tensor) -> Tensor:
        return self._estimate(x @ x.t(), y @ y.t(), x @ y.t())

    def poly_mmd(
        self, x: Tensor, y: Tensor, alpha: float = 1.0, c: float = 2.0, d: int = 2
    ) -> Tensor:
        """With the kernel (alpha <x, y> + c) ** d."""
        return self._estimate(
            (alpha * x @ x.t() + c) ** d,
            (alpha * y @ y.t() + c) ** d,
            (alpha * x @ y.t() + c) ** d,
        )

    def rbf_mmd(self, x: Tensor, y: Tensor) -> Tensor:
        """With the sum of Gaussian kernels of widths 1, 5 and 10, as upstream."""
        return self._estimate(*(self.rbf_kernel(a, b) for a, b in ((x, x), (y, y), (x, y))))

    @staticmethod
    def rbf_kernel(x: Tensor, y: Tensor, sigmas: Sequence[float] = (1, 5, 10)) -> Tensor:
        """Sum of exp(-|x - y|^2 / (2 sigma^2)) over the widths, (B1, B2)."""
        squared = (x.unsqueeze(1) - y.unsqueeze(0)).square().sum(-1)
        return torch.stack([torch.exp(-squared / (2 * s**2)) for s in sigmas]).sum(0)

    @staticmethod
    def _estimate(k_xx: Tensor, k_yy: Tensor, k_xy: Tensor) -> Tensor:
        def mean_off_diagonal(kernel: Tensor) -> Tensor:
            n = len(kernel)
            return (kernel.sum() - kernel.trace()) / (n * (n - 1))

        return mean_off_diagonal(k_xx) + mean_off_diagonal(k_yy) - 2 * k_xy.mean()
