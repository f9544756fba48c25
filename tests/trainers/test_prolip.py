"""ProLIP: untouched it is zero-shot; its loss; the projection alone learns (ViT and ResNet)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step

from dassl.errors import UserError

STORED = ("INPUT.FEATURE_VIEWS", 1)
CASE = TrainerCase(
    "ProLIP",
    ("OPTIM.LR", 0.01),
    steps={"stored": STORED, "pixels": ("INPUT.FEATURE_VIEWS", 0)},
    stored=("OPTIM.LR", 0.01),
)


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_untouched_it_is_zero_shot(build, tower, clip_file, resnet_file, test_batch):
    file = {"vit": clip_file, "resnet": resnet_file}[tower]
    trainer = build("ProLIP", "MODEL.INIT_WEIGHTS", file)
    zero_shot = build("ZeroShotCLIP", "MODEL.INIT_WEIGHTS", file, shots=0)
    with torch.no_grad():
        ours, theirs = (t.model_inference(test_batch(t)) for t in (trainer, zero_shot))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2)  # x and W x rounded to 16 bit


@pytest.mark.parametrize("power, weight", [(1, 3 / 4), (2, 3 / 16), (0, 3)])
def test_loss_and_logits_are_those_of_the_paper(build, power, weight):
    trainer = build("ProLIP", "TRAINER.PROLIP.WEIGHT", 3, "TRAINER.PROLIP.POWER", power, *STORED)
    trainer.prepare_training()
    visual, before = trainer.backbone.visual, trainer.backbone.visual.proj
    with torch.no_grad():
        trainer.visual.proj.add_(0.05 * torch.randn(64, 32))
    after = trainer.visual.proj
    x, label = first_batch(trainer)
    assert x.shape[1:] == (64,)
    expected = torch.zeros(len(x), 3)
    for i, row in enumerate(x.float()):
        f = sum(row[w] * after[w] for w in range(64))
        for c, text in enumerate(trainer.classifier):
            expected[i, c] = trainer.backbone.scale * (f @ text) / f.norm()
    loss, logits = trainer.loss_and_logits(x, label)
    wanted = F.cross_entropy(expected, label) + weight * ((after - before) ** 2).sum()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(loss, wanted)
    assert visual.proj is before and not before.requires_grad


def test_x_is_what_enters_the_projection(build):
    trainer = build("ProLIP", "INPUT.FEATURE_VIEWS", 0)
    pixels, _ = first_batch(trainer)
    visual = trainer.backbone.visual
    with torch.no_grad():
        token = visual.ln_post(visual.run_blocks(visual.stem(pixels))[:, 0])
        torch.testing.assert_close(
            trainer.rows_of(pixels), token.half().float(), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_one_step_changes_the_projection_alone(build, tower, clip_file, resnet_file):
    name = {"vit": "proj", "resnet": "blocks.0.attn.out_proj.weight"}[tower]
    file = {"vit": clip_file, "resnet": resnet_file}[tower]
    trainer = build("ProLIP", "MODEL.INIT_WEIGHTS", file)
    assert step(trainer) == {f"projection.{name}"}
    assert sum(p.numel() for p in trainer.projection.parameters()) == trainer.start[0].numel()


def test_a_negative_weight_is_refused(build):
    with pytest.raises(UserError, match="PROLIP.WEIGHT is -1"):
        build("ProLIP", "TRAINER.PROLIP.WEIGHT", -1)
