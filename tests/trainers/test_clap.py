"""ZS-LP and CLAP: zero-shot before training, the penalty and its multipliers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = (
    TrainerCase("ZSLP", steps={"as it is": ()}, stored=("OPTIM.LR", 0.01)),
    TrainerCase("CLAP", steps={"as it is": ()}, stored=("OPTIM.LR", 0.01)),
)
PLAIN = ("OPTIM.NAME", "sgd", "OPTIM.LR", 0.1, "OPTIM.WEIGHT_DECAY", 0.0)


@pytest.mark.parametrize("name", ["ZSLP", "CLAP"])
def test_untrained_is_zero_shot(name, build, assert_is_zero_shot):
    assert_is_zero_shot(build(name))


def test_weight_0_is_zs_lp(build):
    zs_lp, clap = build("ZSLP", *PLAIN), build("CLAP", *PLAIN, "TRAINER.CLAP.WEIGHT", 0.0)
    start = zs_lp.head.weight.detach().clone()
    for trainer in (zs_lp, clap):
        torch.manual_seed(0)
        trainer.train()
    assert not torch.equal(zs_lp.head.weight, start)
    assert torch.equal(zs_lp.head.weight, clap.head.weight)


def test_a_great_weight_holds_the_texts(build):
    options = ("OPTIM.NAME", "sgd", "OPTIM.LR", 1e-3, "OPTIM.MAX_EPOCH", 5)
    free, held = build("ZSLP", *options), build("CLAP", *options, "TRAINER.CLAP.WEIGHT", 1000.0)
    for trainer in (free, held):
        trainer.train()
    moved = [(t.head.weight - t.classifier).norm() for t in (free, held)]
    assert moved[1] < moved[0] / 2


def test_the_loss_is_that_of_the_paper(build, test_batch):
    trainer = build("CLAP", "TRAINER.CLAP.WEIGHT", 2.0)
    trainer.prepare_training()
    trainer.head.weight.data += 0.1 * torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    views, labels = trainer.split_features("train")
    multipliers = []
    for c in range(3):
        shots = views[labels == c].flatten(0, 1)
        probabilities = [
            (trainer.backbone.scale * f @ trainer.classifier.t()).softmax(-1)[c] for f in shots
        ]
        multipliers.append(sum(probabilities) / len(probabilities))
    x, y = test_batch(trainer)[:4], torch.tensor([0, 1, 2, 0])
    w, t = trainer.head.weight, trainer.classifier
    held = sum(multipliers[c] * ((w[c] - t[c]) ** 2).sum() for c in range(3)) / 3
    cosines = F.cosine_similarity(trainer.image_features(x)[:, None], w[None], dim=-1)
    expected = F.cross_entropy(trainer.backbone.scale * cosines, y) + 2 * held
    loss, logits = trainer.loss_and_logits(x, y)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, trainer.backbone.scale * cosines)


def test_a_class_is_held_the_more_the_better_zero_shot_does_on_it(module_of):
    logits = torch.tensor([[3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = module_of("CLAP").class_multipliers(logits, torch.tensor([0, 0, 1]))
    assert found[0] > found[1]
    torch.testing.assert_close(found[2], found[:2].mean())  # no shots: the mean of the others
