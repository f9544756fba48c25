"""A hidden layer on frozen features: its logits and its loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("ClipMLP", steps={"as it is": ()}, stored=("TRAINER.CLIPMLP.DROPOUT", 0.0))


def test_logits_are_those_of_two_layers_without_dropout_at_test(build, test_batch):
    trainer = build("ClipMLP", "TRAINER.CLIPMLP.HIDDEN", 4)
    trainer.set_model_mode("eval")
    x, head = test_batch(trainer)[:2], trainer.head
    for i, feature in enumerate(trainer.image_features(x)):
        inside = [
            max(0.0, (32**0.5 * w @ feature + b).item())
            for w, b in zip(head.hidden.weight, head.hidden.bias, strict=True)
        ]
        expected = head.out.weight @ torch.tensor(inside) + head.out.bias
        torch.testing.assert_close(trainer.model_inference(x)[i], expected)


def test_the_loss_smooths_the_labels(build, test_batch):
    trainer = build("ClipMLP", "TRAINER.CLIPMLP.DROPOUT", 0.0)
    x, labels = test_batch(trainer)[:3], torch.tensor([0, 1, 2])
    loss, logits = trainer.loss_and_logits(x, labels)
    target = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    torch.testing.assert_close(loss, -(target * logits.log_softmax(-1)).sum(-1).mean())


def test_dropout_is_on_in_training_alone(module_of):
    head, x = module_of("ClipMLP").FeatureMLP(8, 64, 3, 0.5), F.normalize(torch.randn(2, 8), dim=-1)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


def test_serves_a_cnn_that_has_no_text(build, tmp_path):
    from torchvision.models import squeezenet1_0

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    trainer = build("ClipMLP", backbone="torchvision:squeezenet1_0", weights=file)
    trainer.train()
    assert trainer.head.hidden.weight.shape == (512, 1024)
