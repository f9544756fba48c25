"""What processes must agree on, and batch norms that are prepared for sharing, in one process."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cerviclip.parallel import agreement
from cerviclip.parallel.batch_norm import share_batch_norms
from dassl.errors import UserError
from dassl.utils import distributed

CPU = torch.device("cpu")


def data(*names: str, root: str = "/one", label: int = 0) -> SimpleNamespace:
    items = [SimpleNamespace(impath=f"{root}/cells/{n}", label=label) for n in names]
    return SimpleNamespace(train_x=items, train_u=None, val=[], test=items[:1], draw_hash="d")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (data("a.png", "b.png", root="/another"), ""),
        (data("a.png", "c.png"), "train_x"),
        (data("b.png", "a.png"), "train_x, test"),
        (data("a.png", "b.png", label=1), "train_x, test"),
    ],
)
def test_other_images_of_a_process_are_named(monkeypatch, other, said):
    monkeypatch.setattr(distributed, "_place", distributed._Place(0, 2, 0))
    seen = []

    def gather(own):
        seen.append(own)
        return [own, *seen[:1]]

    monkeypatch.setattr(agreement, "gather_objects", gather)
    agreement.check_same_images(other, {"Far": []})  # what the other process has
    first = data("a.png", "b.png")
    if not said:
        agreement.check_same_images(first, {"Far": []})
        return
    with pytest.raises(UserError) as caught:
        agreement.check_same_images(first, {"Far": []})
    text = str(caught.value)
    assert f"process 2 of 2 has other images than the first one ({said})" in text
    assert "--root" in text


def test_a_centre_that_a_process_lacks_is_named(monkeypatch):
    monkeypatch.setattr(distributed, "_place", distributed._Place(0, 2, 0))
    full = []
    monkeypatch.setattr(agreement, "gather_objects", lambda own: full.append(own) or [own, own])
    agreement.check_same_images(data("a"), {"Far": data("x").train_x})
    monkeypatch.setattr(agreement, "gather_objects", lambda own: [full[0], own])
    with pytest.raises(UserError, match=r"\(Far\)"):
        agreement.check_same_images(data("a"), {})


def test_prepared_norms_are_plain_ones_for_a_run_in_one_process():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(16))
    shared = copy.deepcopy(plain)
    parameters = list(shared.parameters())
    assert share_batch_norms([shared], CPU) == 2
    assert share_batch_norms([shared], CPU) == 2  # again: nothing changes
    assert all(a is b for a, b in zip(parameters, shared.parameters(), strict=True))
    x = torch.randn(5, 3, 4, 4)
    assert torch.equal(plain(x), shared(x))
    assert torch.equal(plain.eval()(x), copy.deepcopy(shared).eval()(x))
    for (name, a), (other, b) in zip(
        plain.state_dict().items(), shared.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(a, b)


def test_a_norm_with_a_way_of_its_own_is_refused():
    class NormAndAct(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).relu()

    model = nn.Sequential(nn.Conv2d(3, 4, 3), NormAndAct(4))
    with pytest.raises(UserError, match="1 is a NormAndAct.* without torchrun"):
        share_batch_norms([model], CPU)
