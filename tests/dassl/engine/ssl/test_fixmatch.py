"""FixMatch: what is sure enough teaches, by the view that was not used to be sure."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dassl.engine import build_trainer
from dassl.errors import UserError
from dassl.utils import set_random_seed

STRONG = ("random_flip", "randaugment_fixmatch", "normalize")


def make(tiny, **options):
    set_random_seed(1)
    options = {"TRAINER__FIXMATCH__STRONG_TRANSFORMS": STRONG, **options}
    return build_trainer(tiny("FixMatch", **options))


def test_trains_with_a_weak_and_a_strong_view(tiny, capsys):
    trainer = make(tiny, TRAINER__FIXMATCH__CONF_THRE=0.4)
    batch = next(iter(trainer.train_loader_u))
    assert batch["img"].shape == batch["img2"].shape
    assert not torch.equal(batch["img"], batch["img2"])
    trainer.train()
    out = capsys.readouterr().out
    assert "y_u_pred_keep" in out and "* accuracy: " in out
    assert not trainer.dm.test_read_early


def test_without_strong_transforms_it_says_what_to_name(tiny):
    with pytest.raises(UserError, match="STRONG_TRANSFORMS"):
        make(tiny, TRAINER__FIXMATCH__STRONG_TRANSFORMS=())


def step(trainer, threshold):
    trainer.conf_thre = threshold
    trainer.set_model_mode("eval")
    trainer.batch_idx, trainer.num_batches = 0, 2
    torch.manual_seed(3)
    x = {
        "img": torch.rand(4, 3, 8, 8),
        "img2": torch.rand(4, 3, 8, 8),
        "label": torch.arange(4) % 3,
    }
    u = {
        "img": torch.rand(6, 3, 8, 8),
        "img2": torch.rand(6, 3, 8, 8),
        "label": torch.zeros(6).long(),
    }
    weak, strong = torch.cat([x["img"], u["img"]]), torch.cat([x["img2"], u["img2"]])
    with torch.no_grad():
        confidence, pseudo = trainer.model(weak).softmax(1).max(1)
        losses = F.cross_entropy(trainer.model(strong), pseudo, reduction="none")
    return trainer.forward_backward(x, u), confidence, pseudo, losses


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.1])
def test_only_sure_labels_count(tiny, threshold):
    trainer = make(tiny)
    with torch.no_grad():
        trainer.model.classifier.weight.mul_(3)  # confidences on both sides of 0.4
    summary, confidence, pseudo, losses = step(trainer, threshold)
    mask = (confidence >= threshold).float()
    assert torch.allclose(summary["loss_u"], (losses * mask).mean(), atol=1e-6)
    kept, right = mask[4:], (pseudo[4:] == 0).float()
    shares = list(summary)[3:]  # upstream's order in the log, and its shares from 0 to 1
    assert shares == ["y_u_pred_acc_raw", "y_u_pred_acc_thre", "y_u_pred_keep"]
    sure = ((kept * right).sum() / (kept.sum() + 1e-5)).item()
    expected = [right.mean().item(), sure, kept.mean().item()]
    assert [summary[name].item() for name in shares] == pytest.approx(expected, abs=1e-6)
    if threshold > 1:
        assert summary["loss_u"] == 0 and summary["y_u_pred_acc_thre"] == 0
