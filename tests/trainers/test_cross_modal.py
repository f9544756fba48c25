"""Cross-modal probe: zero-shot before training, texts as shots, and its loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cases import TrainerCase

TWO = ("DATASET.TEMPLATES", "('a photo of {}.','cells, {}.')")
CASE = TrainerCase(
    "CrossModal",
    ("TRAIN.MAX_ITERS", 4),
    steps={"as it is": (), "two templates": TWO},
    stored=("TRAIN.MAX_ITERS", 4),
)


def test_untrained_is_zero_shot(build, assert_is_zero_shot):
    assert_is_zero_shot(build("CrossModal"))


def test_the_loss_is_that_of_images_and_texts_alike(build, test_batch):
    trainer = build("CrossModal", *TWO)
    trainer.head.weight.data += 0.1 * torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    x, labels = test_batch(trainer)[:6], torch.tensor([0, 2, 1, 1, 0, 2])
    shots, owners = trainer.text_shots, [0, 0, 1, 1, 2, 2]
    assert shots.shape == (6, 32)
    total = 0.0
    features = torch.cat([trainer.image_features(x), shots])
    for feature, label in zip(features, [*labels.tolist(), *owners], strict=True):
        logits = torch.stack([trainer.backbone.scale * w @ feature for w in trainer.head.weight])
        total -= F.log_softmax(logits, dim=0)[label]
    loss, _ = trainer.loss_and_logits(x, labels)
    torch.testing.assert_close(loss, total / 12)  # as many texts as images: one mean over both


def test_texts_are_shots_of_their_classes(build):
    trainer = build("CrossModal", *TWO)
    means = [trainer.text_shots[trainer.text_labels == c].mean(0) for c in range(3)]
    torch.testing.assert_close(F.normalize(torch.stack(means), dim=-1), trainer.text_features())


def test_weight_0_is_a_probe_of_images_alone(build, test_batch):
    trainer = build("CrossModal", "TRAINER.CROSSMODAL.TEXT_WEIGHT", 0.0)
    x, labels = test_batch(trainer)[:3], torch.tensor([0, 1, 2])
    loss, logits = trainer.loss_and_logits(x, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_it_learns_for_its_iterations(build):
    trainer = build("CrossModal", "TRAINER.CROSSMODAL.ITERS", 5)
    start = trainer.head.weight.detach().clone()
    trainer.train()
    assert trainer.max_iters == 5 and not torch.equal(trainer.head.weight, start)
