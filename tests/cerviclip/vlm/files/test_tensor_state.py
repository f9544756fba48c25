"""What is kept for a whole test is made anew after a step, of the fused optimisers too.

Those change a tensor without raising its version, which is all that autograd's own checks see.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cerviclip.vlm.files.tensor_state import state_of
from cerviclip.vlm.heads.class_features import KeptWhileUnchanged
from cerviclip.vlm.learned.lora import LoRALinear

OPTIMIZERS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW]


def step(kind, fused, *parameters):
    """One step of an optimiser on a CPU; the fused kernels there are those of the GPU."""
    optimizer = kind(parameters, lr=0.5, fused=fused)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@pytest.fixture(params=[False, True])
def fused(request):
    return request.param


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_class_features_follow_a_step(kind, fused):
    context = nn.Parameter(torch.ones(3))
    kept = KeptWhileUnchanged(lambda: context * 2, [context])
    with torch.no_grad():
        before = kept()
        assert kept() is before
    step(kind, fused, context)
    with torch.no_grad():
        assert torch.equal(kept(), context * 2) and not torch.equal(kept(), before)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_merged_weight_follows_a_step(kind, fused):
    """In evaluation mode throughout: train() would drop the merged weight."""
    layer = LoRALinear(nn.Linear(4, 3), r=2, alpha=2, dropout=0.0).eval()
    before = layer.merged_weight()
    assert layer.merged_weight() is before
    step(kind, fused, layer.lora_A, layer.lora_B)
    expected = layer.weight + layer.lora_B @ layer.lora_A * layer.scaling
    torch.testing.assert_close(layer.merged_weight(), expected)
    assert not torch.equal(layer.merged_weight(), before)


def test_state_is_that_of_values_and_memory():
    tensor = torch.ones(2)
    seen = {state_of(tensor)}
    assert state_of(tensor) in seen
    for change in (lambda: tensor.add_(1), lambda: setattr(tensor, "data", torch.zeros(2))):
        change()
        assert state_of(tensor) not in seen
        seen.add(state_of(tensor))
