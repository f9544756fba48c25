"""Freezing, counting and initialising layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dassl.utils import (
    adjust_learning_rate,
    count_num_param,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
    set_bn_to_eval,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4, 2)


def test_open_specified_layers_freezes_the_rest():
    net = Net()
    open_specified_layers(net, "classifier")
    assert all(p.requires_grad for p in net.classifier.parameters())
    assert not any(p.requires_grad for p in net.features.parameters())
    assert net.classifier.training and not net.features[1].training
    open_all_layers(net)
    assert all(p.requires_grad for p in net.parameters()) and net.features[1].training
    open_specified_layers(nn.DataParallel(net), ["features"])
    assert not net.classifier.weight.requires_grad
    with pytest.raises(ValueError, match='"head"'):
        open_specified_layers(net, ["head"])


def test_count():
    net = Net()  # 3*4*9 + 4, 4 + 4, 4*2 + 2
    assert count_num_param(net) == 112 + 8 + 10
    assert count_num_param(params=net.parameters()) == 130
    assert count_num_param(params=[{"params": net.classifier.weight}, net.classifier.bias]) == 10
    assert count_num_param(params=[{"params": list(net.classifier.parameters())}]) == 10
    with pytest.raises(ValueError, match="model and params"):
        count_num_param()


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_init(kind):
    net = Net()
    nn.init.constant_(net.features[1].weight, 5.0)
    before = net.classifier.weight.clone()
    init_network_weights(net, init_type=kind)
    assert not torch.equal(net.classifier.weight, before)
    assert torch.equal(net.classifier.bias, torch.zeros(2))
    assert torch.equal(net.features[1].weight, torch.ones(4))


def test_init_of_an_unknown_kind():
    with pytest.raises(NotImplementedError, match="magic"):
        init_network_weights(Net(), "magic")


def test_bn_to_eval():
    net = Net().train()
    net.apply(set_bn_to_eval)
    assert not net.features[1].training and net.features[0].training


@pytest.mark.parametrize(
    ("epoch", "options", "expected"),
    [
        (0, {}, 0.1),
        (19, {}, 0.1),
        (20, {}, 0.01),
        (40, {}, 0.001),
        (9, {"stepsize": [5, 8]}, 0.01),
        (0, {"linear_decay": True}, 0.1),
        (25, {"linear_decay": True}, 0.075),
        (50, {"linear_decay": True, "final_lr": 0.02}, 0.06),
    ],
)
def test_adjust_learning_rate(epoch, options, expected):
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]}], lr=1.0)
    adjust_learning_rate(optimizer, 0.1, epoch, **options)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
