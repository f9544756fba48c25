"""CoCoOp: each image has a context of its own, and many classes fit into bounded memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step, template_features, text_by_hand
from torch import nn

from cerviclip.vlm import prompts as prompts_module

CASE = TrainerCase(
    "CoCoOp",
    steps={"as it is": (), "pixels": ("INPUT.FEATURE_VIEWS", 0)},
    stored=("TRAINER.COCOOP.N_CTX", 4),
)


def test_with_a_network_of_zeros_it_is_the_template(build):
    trainer = build("CoCoOp")
    nn.init.zeros_(trainer.conditional.meta_net[2].weight)
    nn.init.zeros_(trainer.conditional.meta_net[2].bias)
    x, _ = first_batch(trainer)
    clip = template_features(trainer.backbone, trainer.task.classnames, "a photo of a {}.")
    with torch.no_grad():
        expected = trainer.backbone.scale * trainer.image_features(x) @ clip.t()
        torch.testing.assert_close(trainer.model_inference(x), expected, rtol=0, atol=1e-3)


def test_logits_are_the_papers_image_after_image(build):
    trainer = build("CoCoOp")
    backbone, model = trainer.backbone, trainer.conditional
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)
    first, _, second = model.meta_net
    rows = []
    for f in trainer.image_features(x):
        move = second.weight @ torch.relu(first.weight @ f + first.bias) + second.bias
        embeddings = model.context.place(model.context.ctx + move)
        t = text_by_hand(backbone, embeddings, model.context.tokens)
        rows.append(backbone.logit_scale.exp() * t @ f)
    expected = torch.stack(rows)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, F.cross_entropy(expected, label), rtol=0, atol=1e-4)


def test_chunks_bound_the_text_towers_columns_and_change_nothing(build, monkeypatch):
    trainer = build("CoCoOp")
    x, label = first_batch(trainer)
    tower, parameters = trainer.backbone.text, list(trainer.conditional.parameters())

    def run():
        columns = []
        plain = type(tower).encode
        monkeypatch.setattr(
            tower, "encode", lambda e, *a: columns.append(e[..., 0].numel()) or plain(tower, e, *a)
        )
        loss, logits = trainer.loss_and_logits(x, label)
        return columns, logits.detach(), torch.autograd.grad(loss, parameters)

    whole, logits, gradients = run()
    length = trainer.conditional.context.tokens.shape[1]
    defaults = (0, 3 * length, None)  # two pairs at once
    monkeypatch.setattr(prompts_module.encode_in_chunks, "__defaults__", defaults)
    parts, again, same = run()
    assert len(whole) == 1 and whole[0] == 12 * length  # 4 images, 3 classes
    assert max(parts) == 2 * length and len(parts) == 12  # six parts, each run once more
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-4)
    for one, other in zip(same, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_large_batch_of_a_test_is_taken_in_parts(build, module_of, monkeypatch):
    trainer = build("CoCoOp")
    x = torch.randn(7, 32)
    with torch.no_grad():
        whole = trainer.model_inference(x)
        monkeypatch.setattr(module_of("CoCoOp"), "MAX_PAIRS", 6)
        torch.testing.assert_close(trainer.model_inference(x), whole, rtol=0, atol=1e-4)


def test_a_step_changes_the_context_and_its_network(build):
    changed = step(build("CoCoOp", "OPTIM.LR", 0.1))
    assert changed == {
        "prompt_learner.context.ctx",
        *(f"prompt_learner.meta_net.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")),
    }


@pytest.mark.parametrize("reduction", [1, 16, 1000])
def test_the_networks_hidden_width_is_the_features_divided(build, reduction):
    trainer = build("CoCoOp", "TRAINER.COCOOP.REDUCTION", reduction)
    assert trainer.conditional.meta_net[0].out_features == max(1, 32 // reduction)
