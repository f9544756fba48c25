"""DAPD: loss and logits, the transport between prototypes and texts, what becomes CLIP-LoRA."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step

from dassl.errors import UserError

PIXELS = ("INPUT.FEATURE_VIEWS", 0)
CASE = TrainerCase(
    "DAPD",
    ("TRAIN.MAX_ITERS", 3),
    steps={"pixels": PIXELS, "stored": ("INPUT.FEATURE_VIEWS", 2)},
)


@pytest.fixture
def divergence(module_of):
    return module_of("DAPD").sinkhorn_divergence


def unit(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.double), dim=-1)


def plain_transport(x, y, blur):
    """Entropic transport of equal weights by Sinkhorn's own scaling, run until nothing moves."""
    cost = torch.stack([torch.stack([((a - b) ** 2).sum() / 2 for b in y]) for a in x])
    kernel, eps = (-cost / blur**2).exp() / len(x) / len(y), blur**2
    u = torch.ones(len(x), dtype=x.dtype)
    for _ in range(2000):
        v = 1 / (kernel * u[:, None] * len(y)).sum(0)
        u = 1 / (kernel * v[None] * len(x)).sum(1)
    return eps * (u.log().mean() + v.log().mean())


def test_the_divergence_is_that_of_converged_scaling(divergence):
    x, y = unit(4, 6, seed=0), unit(4, 6, seed=1)
    blur = 0.7
    expected = plain_transport(x, y, blur)
    expected -= (plain_transport(x, x, blur) + plain_transport(y, y, blur)) / 2
    torch.testing.assert_close(divergence(x, y, blur, 60), expected, rtol=1e-6, atol=1e-9)


def test_a_small_blur_gives_the_best_matching(divergence):
    x, y = unit(5, 128, seed=2), unit(5, 128, seed=3)
    orders = itertools.permutations(range(5))
    best = min(float((x - y[list(order)]).square().sum(-1).mean() / 2) for order in orders)
    assert float(divergence(x, y, 0.02)) == pytest.approx(best, rel=0.02)


def test_it_is_0_between_equal_clouds_and_its_gradient_points_home(divergence):
    x = unit(5, 16, seed=4)
    assert float(divergence(x, x.flip(0), 0.02)) == pytest.approx(0, abs=2e-3)
    moved = (x + 0.05 * unit(5, 16, seed=5)).requires_grad_()
    divergence(moved, x, 0.02).backward()
    torch.testing.assert_close(moved.grad, (moved.detach() - x) / 5, rtol=1e-3, atol=1e-5)


def test_loss_and_logits_are_the_published_ones(build, divergence):
    trainer = build("DAPD", "TRAINER.DAPD.LORA.DROPOUT", 0.0, *PIXELS)
    for name in ("vision_lora", "text_lora"):
        for parameter in trainer._models[name].parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    pixels, label = first_batch(trainer)
    f = F.normalize(trainer.visual(pixels), dim=-1)
    tokens = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    t, p = F.normalize(trainer.text(tokens), dim=-1), trainer.prototypes.weight
    torch.testing.assert_close(p.norm(dim=-1), torch.ones(3))  # at the start
    p.data *= torch.tensor([[1.0], [2.0], [0.5]])
    text, prototype = 16 * f @ t.t(), 16 * f @ p.t()

    def smoothed(logits):
        wanted = 0.9 * F.one_hot(label, 3) + 0.1 / 3
        return -(wanted * logits.log_softmax(-1)).sum(-1).mean()

    transport = divergence(F.normalize(p, dim=-1), t, 0.02)
    wanted = 0.5 * smoothed(text) + 0.5 * smoothed(prototype) + 0.4 * transport
    loss, logits = trainer.loss_and_logits(pixels, label)
    torch.testing.assert_close(logits, 0.5 * text + 0.5 * prototype, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-3)


def test_texts_alone_are_cliplora_at_that_scale(build):
    names = ("TEXT_WEIGHT", 1.0, "PROTOTYPE_WEIGHT", 0.0, "OT_WEIGHT", 0.0, "SMOOTHING", 0.0)
    names += ("ALPHA", 1.0, "SCALE", 0.0, "LORA.DROPOUT", 0.0, "LORA.ALPHA", 0.5)
    opts = [f"TRAINER.DAPD.{word}" if i % 2 == 0 else word for i, word in enumerate(names)]
    dapd = build("DAPD", *opts, *PIXELS)
    lora = build("CLIPLoRA", *_lora_like("CLIPLORA"), *PIXELS)
    for name in ("vision_lora", "text_lora"):
        pairs = zip(dapd._models[name].parameters(), lora._models[name].parameters(), strict=True)
        for ours, theirs in pairs:
            theirs.data = ours.data = ours.data + 0.02
    pixels, label = first_batch(dapd)
    for ours, theirs in zip(*(t.loss_and_logits(pixels, label) for t in (dapd, lora)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def _lora_like(section):
    """Rank 4 on q, k, v, o, whose scaling alpha / r is DAPD's 0.5 / sqrt(4)."""
    values = {"R": 4, "ALPHA": 1.0, "DROPOUT": 0.0, "TARGETS": "('q','k','v','o')"}
    return [word for key, value in values.items() for word in (f"TRAINER.{section}.{key}", value)]


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_one_step_changes_adapters_and_prototypes_alone(build, tower, clip_file, resnet_file):
    file = {"vit": clip_file, "resnet": resnet_file}[tower]
    changed = step(build("DAPD", "MODEL.INIT_WEIGHTS", file, *PIXELS))
    assert "prototypes.weight" in changed
    assert {name.rpartition(".")[2] for name in changed} == {"lora_A", "lora_B", "weight"}
    assert {name.split(".")[0] for name in changed} == {"vision_lora", "text_lora", "prototypes"}


def test_iterations_are_ten_a_shot(build):
    assert build("DAPD", shots=3).max_iters == 30


@pytest.mark.parametrize("key, value", [("ALPHA", 1.5), ("OT_WEIGHT", -1), ("BLUR", 0)])
def test_values_that_mean_nothing_are_refused(build, key, value):
    with pytest.raises(UserError, match=f"DAPD.{key} is"):
        build("DAPD", f"TRAINER.DAPD.{key}", value)
