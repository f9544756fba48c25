"""FLYP: the contrastive loss of images and their classes' prompts, on every weight of CLIP."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from clip_by_hand import features, losses_of_adamw, losses_of_trainer, package_clip

ONE = ("DATASET.TEMPLATES", "['a photo of a {}.']")
TWO = ("DATASET.TEMPLATES", "['a photo of a {}.','cells that look {}.']")
ADAMW = ("OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3, "OPTIM.WEIGHT_DECAY", 0.1, "TRAIN.MAX_ITERS", 9)


def test_steps_are_those_of_the_equations(build, clip_file):
    """CE over rows and over columns of exp(scale) F T^t with a prompt for each image, halved;
    every weight and the scale learn by AdamW."""
    trainer = build("FLYP", *ADAMW, *ONE)
    plain = package_clip(clip_file).requires_grad_(True)
    prompts = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    seen = list(trainer.train_loader_x)

    def loss_of(batch):
        images, texts = features(plain, batch["img"], prompts[batch["label"]])
        logits, pairs = plain.logit_scale.exp() * images @ texts.t(), torch.arange(len(images))
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)) / 2

    expected = losses_of_adamw(plain.parameters(), loss_of, seen, 1e-3, 0.1)
    losses = losses_of_trainer(trainer, seen)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=1e-3, atol=1e-3)
    assert len(seen) == 3 and abs(expected[0] - expected[2]) > 0.01
    assert trainer.scale.logit_scale != trainer.backbone.logit_scale
    torch.testing.assert_close(trainer.scale.logit_scale, plain.logit_scale, rtol=1e-5, atol=1e-6)


def test_each_image_gets_a_prompt_of_its_class_and_each_prompt_its_turn(build):
    trainer = build("FLYP", *TWO)
    label = torch.tensor([0, 1, 2]).repeat(40)
    chosen = trainer.draw_prompts(label)
    assert torch.equal(chosen // 2, label)  # two prompts for each class, in their order
    assert chosen.unique().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [3, 9])  # fewer images than the six prompts, and more
def test_a_prompts_features_are_its_own_however_many_are_encoded(build, count):
    trainer = build("FLYP", *TWO)
    chosen = torch.arange(count) % 6
    texts = [text for group in trainer.class_texts() for text in group]
    with torch.no_grad():
        ours = trainer.prompt_features(chosen)
        plain = trainer.backbone.encode_text(trainer.backbone.tokenize(texts))
    torch.testing.assert_close(ours, F.normalize(plain, dim=-1)[chosen], rtol=1e-5, atol=1e-5)


def test_the_accuracy_while_training_is_of_the_likeliest_prompt_in_the_batch(build):
    trainer = build("FLYP", *ONE)
    x, label = torch.randn(4, 3, 32, 32), torch.tensor([0, 0, 2, 2])
    with torch.no_grad():
        loss, logits = trainer.loss_and_logits(x, label)
        zero_shot = trainer.model_inference(x)
    torch.testing.assert_close(logits[:, [0, 2]], zero_shot[:, [0, 2]], rtol=1e-4, atol=1e-4)
    assert torch.isinf(logits[:, 1]).all() and torch.isfinite(loss)


def test_the_model_that_is_tested_uses_the_tuned_towers_and_scale(build):
    trainer = build("FLYP", "TRAIN.MAX_ITERS", 3, "OPTIM.LR", 1e-2)
    trainer.test_after_train = False
    trainer.train()
    trainer.set_model_mode("eval")
    x = next(iter(trainer.train_loader_x))["img"]
    texts = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    with torch.no_grad():
        images = F.normalize(trainer.towers["vision"](x), dim=-1)
        classes = F.normalize(trainer.towers["text"](texts), dim=-1)
        expected = trainer.scale.logit_scale.exp() * images @ classes.t()
        torch.testing.assert_close(trainer.model_inference(x), expected, rtol=1e-4, atol=1e-4)
