"""What each precision name means on a CPU."""

from __future__ import annotations

import pytest
import torch

from cerviclip.engine.precision import Precision
from dassl.errors import UserError


@pytest.mark.parametrize(
    ("prec", "inside", "weights"),
    [
        ("fp32", torch.float32, torch.float32),
        ("fp16", torch.float32, torch.float16),  # the model is half, autocast does nothing
        ("amp", torch.bfloat16, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
    ],
)
def test_cpu(prec, inside, weights):
    precision = Precision(prec, "cpu")
    layer = torch.nn.Linear(2, 2)
    with precision.autocast():
        assert layer(torch.ones(1, 2)).dtype == inside
    assert precision.model_dtype == weights
    assert precision.scaler is None


@pytest.mark.gpu
def test_amp_on_cuda_scales_float16():
    precision = Precision("amp", "cuda")
    layer = torch.nn.Linear(2, 2).cuda()
    with precision.autocast():
        assert layer(torch.ones(1, 2, device="cuda")).dtype == torch.float16
    assert precision.scaler is not None


def test_unknown_name():
    with pytest.raises(UserError, match="fp32, fp16, amp, bf16"):
        Precision("fp8")
