"""Linear probe: the choice of C, and what it leaves."""

from __future__ import annotations

import torch
from cases import TrainerCase

CASE = TrainerCase("LinearProbe")


def test_c_is_chosen_on_val_and_recorded(build):
    trainer = build("LinearProbe", "TRAINER.LINEARPROBE.C_GRID", "(1e-5, 1.0)")
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["chosen"] == {"C": 1.0}  # colours are separable: next to no penalty is best
    assert search["tried"] == 2 and search["by"] == "log_loss"


def test_without_val_the_default_is_used(build):
    trainer = build("LinearProbe", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    assert not trainer.dm.dataset.val
    trainer.train()
    assert "search" not in trainer.extra_results
    assert trainer.history[0]["acc"] > 0


def test_inference_gives_log_probabilities(build):
    trainer = build("LinearProbe")
    trainer.train()
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test)))
    total = trainer.model_inference(batch["img"]).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_serves_a_cnn_that_has_no_text(build, tmp_path):
    from torchvision.models import squeezenet1_0

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    trainer = build("LinearProbe", backbone="torchvision:squeezenet1_0", weights=file)
    trainer.train()
    assert trainer.head.weight.shape == (3, 1024)  # mean and maximum of 512 channels
    assert trainer.history[0]["acc"] > 90
