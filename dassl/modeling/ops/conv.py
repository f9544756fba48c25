"""A convolution that adapts to each image (DDG, Sun et al., 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import Attention


class Conv2dDynamic(nn.Module):
    """A static kernel plus four templates, each weighted per image by an attention.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: odd.
        stride: of all kernels.
        padding: ``kernel_size // 2``, so that the templates' maps have one size.
        bias: of all kernels.
        squeeze: hidden width of the attention.
        attention_in_channels: channels of what the attention looks at, if not the input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        bias: bool = True,
        squeeze: int | None = None,
        attention_in_channels: int | None = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or padding != kernel_size // 2:
            raise ValueError(
                f"kernel_size must be odd and padding half of it, not {kernel_size} and {padding}"
            )

        def conv(size: int | tuple[int, int], pad: int | tuple[int, int], groups: int = 1):
            return nn.Conv2d(
                in_channels,
                out_channels,
                size,
                stride=stride,
                padding=pad,
                groups=groups,
                bias=bias,
            )

        self.conv = conv(kernel_size, padding)
        self.kernel_templates = nn.ModuleDict(
            {
                "conv_nn": conv(kernel_size, padding, groups=min(in_channels, out_channels)),
                "conv_11": conv(1, 0),
                "conv_n1": conv((kernel_size, 1), (padding, 0)),
                "conv_1n": conv((1, kernel_size), (0, padding)),
            }
        )
        self.attention = Attention(
            attention_in_channels or in_channels, len(self.kernel_templates), squeeze, bias=bias
        )

    def forward(self, x: Tensor, attention_x: Tensor | None = None) -> Tensor:
        weights = self.attention(x if attention_x is None else attention_x)
        out = self.conv(x)
        for i, template in enumerate(self.kernel_templates.values()):
            out = out + template(x) * weights[:, i].view(-1, 1, 1, 1)
        return out
