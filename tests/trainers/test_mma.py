"""MMA: zero-shot at scale 0; its equations in both towers; the gradient of an unscaled branch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step
from torch import nn

from dassl.errors import UserError

ONE = ("TRAINER.MMA.BLOCKS", 1, "TRAINER.MMA.DIM", 8)
BOTH = ("TRAINER.MMA.BLOCKS", 2, "TRAINER.MMA.DIM", 8)
CASE = TrainerCase(
    "MMA",
    (*ONE, "OPTIM.LR", 0.01),
    steps={"stored": ONE, "all blocks": BOTH, "pixels": (*BOTH, "INPUT.FEATURE_VIEWS", 0)},
    stored=(*ONE, "OPTIM.LR", 0.01),
)


@pytest.mark.parametrize("blocks", [1, 2])
def test_scale_0_changes_no_bit_whatever_is_learnt(build, blocks):
    opts = (*BOTH, "TRAINER.MMA.BLOCKS", blocks, "TRAINER.MMA.SCALE", 0.0)
    trainer = build("MMA", *opts, "INPUT.FEATURE_VIEWS", 0)
    trainer.train()
    pixels, _ = first_batch(trainer)
    tower, hidden = trainer.backbone.visual, trainer.hidden_states(pixels)
    with torch.no_grad():
        images = tower.finish(hidden, trainer.first_block)
        adapted = tower.finish(hidden, trainer.first_block, trainer.beside(tower, 0))
        assert torch.equal(adapted, images)
        expected = (
            trainer.backbone.scale * F.normalize(images, dim=-1) @ trainer.text_features().t()
        )
        torch.testing.assert_close(trainer.model_inference(pixels), expected, rtol=0, atol=1e-4)


def by_hand(tower, h, adapters, which, blocks, scale):
    """Tokens through all blocks of a tower, with the paper's branch beside the last ``blocks``."""
    first = tower.num_blocks - blocks
    for i, block in enumerate(tower.blocks):
        y = torch.zeros(())
        if i >= first:
            down, up = adapters.down[which][i - first], adapters.up[which][i - first]
            shared = adapters.shared[i - first]
            z = (block.ln_1(h) @ down.weight.t() + down.bias).clamp(min=0)
            z = (z @ shared.weight.t() + shared.bias).clamp(min=0)
            y = scale * (z @ up.weight.t() + up.bias)
        h = block(h) + y
    return h


@pytest.mark.parametrize("blocks", [1, 2])
def test_loss_and_logits_are_the_papers(build, blocks):
    opts = ("TRAINER.MMA.BLOCKS", blocks, "TRAINER.MMA.SCALE", 0.3, "INPUT.FEATURE_VIEWS", 0)
    trainer = build("MMA", *BOTH, *opts)
    pixels, label = first_batch(trainer)
    visual, text = trainer.backbone.visual, trainer.backbone.text
    for parameter in trainer.adapters.parameters():  # biases too
        parameter.data += 0.05 * torch.randn_like(parameter)
    hidden = visual.stem(pixels)
    h = by_hand(visual, hidden, trainer.adapters, 0, blocks, 0.3)
    images = F.normalize(visual.ln_post(h[:, 0]) @ visual.proj, dim=-1)
    tokens = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    h = by_hand(text, text.stem(text.embed(tokens)), trainer.adapters, 1, blocks, 0.3)
    ends = text.ln_final(h[torch.arange(3), tokens.argmax(-1)]) @ text.text_projection
    expected = trainer.backbone.logit_scale.exp() * images @ F.normalize(ends, dim=-1).t()
    loss, logits = trainer.loss_and_logits(pixels, label)
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-3)
    torch.testing.assert_close(loss, F.cross_entropy(expected, label), rtol=0, atol=5e-3)


def test_adapters_learn_as_if_unscaled_and_the_tokens_are_told_the_truth(module_of):
    adapters, norm = module_of("MMA").MultiModalAdapters((6, 4), 1, 3, 0.01), nn.LayerNorm(6)
    tokens = torch.randn(2, 5, 6, requires_grad=True)
    target = torch.randn(2, 5, 6)
    (adapters(tokens, norm, 0, 0) * target).sum().backward()
    x = tokens.detach().requires_grad_()
    hidden = F.relu(adapters.shared[0](F.relu(adapters.down[0][0](norm(x)))))
    out = hidden @ adapters.up[0][0].weight.t() + adapters.up[0][0].bias
    wanted = torch.autograd.grad((out * target).sum(), [x, adapters.up[0][0].weight])
    torch.testing.assert_close(tokens.grad, 0.01 * wanted[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(adapters.up[0][0].weight.grad, wanted[1], rtol=1e-4, atol=1e-5)


def test_the_middle_layer_belongs_to_both_towers(build):
    trainer = build("MMA", *BOTH)
    changed = step(trainer)
    names = {name.split(".")[1] for name in changed}
    assert names == {"down", "up", "shared"}
    widths = [layer[0].in_features for layer in trainer.adapters.down]
    assert widths == [trainer.backbone.visual.width, trainer.backbone.text.width]
    assert len(trainer.adapters.shared) == 2


def test_what_cannot_work_is_refused(build, resnet_file):
    with pytest.raises(UserError, match="beside the blocks need.*ViT-B/16"):
        build("MMA", *ONE, "MODEL.INIT_WEIGHTS", resnet_file)
    with pytest.raises(
        UserError, match="BLOCKS is 8 and this ViTTower has 2 blocks; take at most 2"
    ):
        build("MMA")
    with pytest.raises(UserError, match="MMA.DIM is 0"):
        build("MMA", "TRAINER.MMA.DIM", 0)
