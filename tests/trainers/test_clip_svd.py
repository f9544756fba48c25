"""CLIP-SVD: untouched values are the base to the last bit; the equations; values alone learn."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step
from torch import nn

from dassl.errors import UserError

PIXELS = ("INPUT.FEATURE_VIEWS", 0)
CASE = TrainerCase(
    "CLIPSVD",
    ("OPTIM.LR", 0.01),
    steps={"pixels": PIXELS, "stored": ("INPUT.FEATURE_VIEWS", 2)},
)


def layers_of(tower):
    return {n: m for n, m in tower.named_modules() if type(m).__name__ == "SVDLinear"}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_untouched_values_change_no_bit(build, tower, mode, clip_file, resnet_file):
    file = {"vit": clip_file, "resnet": resnet_file}[tower]
    trainer = build("CLIPSVD", "MODEL.INIT_WEIGHTS", file, *PIXELS)
    trainer.set_model_mode(mode)
    pixels, _ = first_batch(trainer)
    visual, text = trainer.backbone.visual, trainer.backbone.text
    with torch.no_grad():
        assert torch.equal(trainer.visual(pixels), visual(pixels))
        tokens = trainer.backbone.tokenize(["a red cell"])
        assert torch.equal(trainer.text(tokens), text(tokens))


def test_loss_and_logits_are_those_of_the_paper(build):
    """Written out by full weights U diag(sigma) V^T in copies of the frozen towers."""
    import copy

    trainer = build("CLIPSVD", *PIXELS)
    towers = []
    for adapted, frozen in (
        (trainer.visual, trainer.backbone.visual),
        (trainer.text, trainer.backbone.text),
    ):
        plain = copy.deepcopy(frozen)
        assert len(layers_of(adapted)) == 6 * frozen.num_blocks
        for name, layer in layers_of(adapted).items():
            weight = plain.get_submodule(name).weight
            u, sigma, v = torch.linalg.svd(weight.double(), full_matrices=False)
            learnt = sigma * (1 + 0.3 * torch.rand(len(sigma), dtype=torch.double))
            weight.data = (u @ torch.diag(learnt) @ v).float()
            layer.sigma.data = learnt.float()
        towers.append(plain)
    pixels, label = first_batch(trainer)
    texts = [group[0] for group in trainer.class_texts()]
    images = F.normalize(towers[0](pixels), dim=-1)
    classes = F.normalize(towers[1](trainer.backbone.tokenize(texts)), dim=-1)
    expected = trainer.backbone.logit_scale.exp() * images @ classes.t()
    loss, logits = trainer.loss_and_logits(pixels, label)
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(loss, F.cross_entropy(expected, label), rtol=0, atol=2e-3)
    with torch.no_grad():  # merged
        trainer.set_model_mode("eval")
        torch.testing.assert_close(trainer.model_inference(pixels), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_one_step_changes_singular_values_alone(build, tower, clip_file, resnet_file):
    file = {"vit": clip_file, "resnet": resnet_file}[tower]
    trainer = build("CLIPSVD", "MODEL.INIT_WEIGHTS", file, *PIXELS)
    changed = step(trainer)
    assert {name.rpartition(".")[2] for name in changed} == {"sigma"}
    targets = {"vit": 12, "resnet": 4}[tower]  # q, k, v, o of the pool
    assert sum(name.startswith("vision_sigma") for name in changed) == targets
    assert sum(name.startswith("text_sigma") for name in changed) == 12


def test_the_gradient_of_a_value_is_u_dW_v(build, module_of):
    layer = module_of("CLIPSVD").SVDLinear(nn.Linear(5, 3).requires_grad_(False))
    x, weight = torch.randn(4, 5), layer.weight.detach().clone().requires_grad_()
    (layer(x) ** 2).sum().backward()
    (F.linear(x, weight, layer.bias) ** 2).sum().backward()
    u, _, v = torch.linalg.svd(weight.detach(), full_matrices=False)
    expected = torch.stack([u[:, i] @ weight.grad @ v[i] for i in range(3)])
    torch.testing.assert_close(layer.sigma.grad, expected, rtol=1e-4, atol=1e-4)
    assert layer.weight.grad is None


def test_factors_are_worked_out_once(module_of):
    factors, weight = module_of("CLIPSVD").factors, torch.randn(4, 6)
    assert factors(weight)[0] is factors(weight)[0]


def test_what_cannot_work_is_refused(build):
    with pytest.raises(UserError, match=r"TARGETS is \('x',\); take some of q, k"):
        build("CLIPSVD", "TRAINER.CLIPSVD.TARGETS", "('x',)")
