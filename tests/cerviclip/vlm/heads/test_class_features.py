"""Class features of a learning text side, against the frozen way of computing them."""

from __future__ import annotations

import pytest
import torch

from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from cerviclip.vlm.learned.adapted import AdaptedTower
from cerviclip.vlm.learned.lora import apply_lora
from cerviclip.vlm.loading import load_backbone
from cerviclip.vlm.prompts import encode_class_texts
from helpers import tiny_clip_state_dict

TEXTS = [["a red cell.", "red"], ["a long description of something green."], ["b", "c", "d"]]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(tiny_clip_state_dict(), path)
    return load_backbone("CLIP", path)


def test_means_over_prompts_equal_those_of_frozen_texts(backbone):
    features = ClassPrompts(backbone, TEXTS).features(backbone.text)
    torch.testing.assert_close(features, encode_class_texts(backbone, TEXTS), rtol=0, atol=1e-5)


def test_gradients_reach_the_adapters(backbone):
    tower = apply_lora(backbone.text, r=2)
    tower.train()
    ClassPrompts(backbone, TEXTS).features(tower)[:, 0].sum().backward()
    learned = list(AdaptedTower(tower, "").parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learned)


def test_value_is_kept_until_a_parameter_changes():
    weight, calls = torch.nn.Parameter(torch.ones(2)), []
    kept = KeptWhileUnchanged(lambda: calls.append(1) or weight * 2, [weight])
    with torch.no_grad():
        assert kept() is kept()
        weight.add_(1)
        assert kept().tolist() == [4, 4]
    assert len(calls) == 2
    assert kept().requires_grad and len(calls) == 3  # with gradients it is always computed
