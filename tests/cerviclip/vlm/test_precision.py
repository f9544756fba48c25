"""What each precision name means on a CPU."""

from __future__ import annotations

import pytest
import torch

from cerviclip.vlm.precision import Precision, matrix_dtype
from dassl.errors import UserError


@pytest.mark.parametrize(
    ("prec", "inside", "frozen", "scaled"),
    [
        ("fp32", torch.float32, None, False),
        ("fp16", torch.float16, torch.float16, True),
        ("amp", torch.bfloat16, None, False),
        ("bf16", torch.bfloat16, torch.bfloat16, False),
    ],
)
def test_cpu(prec, inside, frozen, scaled):
    precision = Precision(prec, "cpu")
    layer = torch.nn.Linear(2, 2)
    with precision.autocast():
        assert layer(torch.ones(1, 2)).dtype == inside
    assert matrix_dtype(prec) == frozen
    assert (precision.scaler is not None) == scaled


@pytest.mark.gpu
@pytest.mark.parametrize("prec", ["amp", "fp16"])
def test_float16_on_cuda_is_scaled(prec):
    precision = Precision(prec, "cuda")
    layer = torch.nn.Linear(2, 2).cuda()
    with precision.autocast():
        assert layer(torch.ones(1, 2, device="cuda")).dtype == torch.float16
    assert precision.scaler is not None


def test_unknown_name():
    with pytest.raises(UserError, match="fp32, fp16, amp, bf16"):
        Precision("fp8")
