"""Tensors with a row for each image: filled in place, and loaded with the rows of a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cerviclip.vlm.heads.by_data import RowsByData
from dassl.errors import UserError
from dassl.utils.checkpoints import load_fitting


class Cache(RowsByData):
    rows_by_data = ("keys", "values")

    def __init__(self) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(0, 4))
        self.register_buffer("values", torch.empty(0, 2))
        self.bias = nn.Parameter(torch.zeros(2))


def filled(rows: int) -> Cache:
    cache = Cache()
    cache.set_rows(keys=torch.randn(rows, 4), values=torch.randn(rows, 2))
    return cache


@pytest.mark.parametrize("rows", [0, 3])
def test_a_checkpoint_brings_its_rows_along_also_within_another_module(rows):
    source, target = nn.Sequential(filled(5)), nn.Sequential(filled(rows))
    target.load_state_dict(source.state_dict())
    for key, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], tensor), key
    assert target[0].keys.requires_grad and isinstance(target[0].keys, nn.Parameter)


@pytest.mark.parametrize("key, shape", [("keys", (5, 3)), ("bias", (3,)), ("keys", (5,))])
def test_every_other_size_must_fit(key, shape):
    state = {**filled(5).state_dict(), key: torch.zeros(shape)}
    with pytest.raises(UserError, match=f"{key} has shape"):
        load_fitting(Cache(), state, "file")


def test_an_optimiser_made_before_still_trains_the_filled_parameter():
    cache = Cache()
    optim = torch.optim.SGD(cache.parameters(), lr=1.0)
    rows = torch.ones(3, 4)
    cache.set_rows(keys=rows)
    cache.keys.sum().backward()
    optim.step()
    assert torch.equal(cache.keys, torch.zeros(3, 4))
    assert torch.equal(rows, torch.ones(3, 4))  # a copy was taken
