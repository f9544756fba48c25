"""A loss that is no number stops the run with advice and leaves a state worth having."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import load_checkpoint, set_random_seed


def breaking(kind):
    """A trainer whose second epoch breaks in its second batch."""
    plain = TRAINER_REGISTRY.get("PlainX")

    class Breaking(plain):
        def forward_backward(self, batch):
            if (self.epoch, self.batch_idx) == (1, 1):
                if kind == "weights":
                    with torch.no_grad():
                        self.model.classifier.weight.fill_(float("inf"))
                else:
                    self.model_backward_and_update(self.model(batch["img"]).sum() * float(kind))
            return super().forward_backward(batch)

    TRAINER_REGISTRY.register(Breaking)
    return "Breaking"


@pytest.mark.parametrize("kind", ["nan", "inf", "weights"])
def test_stops_with_place_advice_and_the_last_good_state(tiny, kind):
    cfg = tiny(breaking(kind))
    set_random_seed(1)
    trainer = build_trainer(cfg)
    with pytest.raises(FloatingPointError) as caught:
        trainer.train()
    message = str(caught.value)
    for part in ("infinite or NaN", "epoch 2", "batch 2", "lr 7.5000e-02", "OPTIM.LR", "PREC"):
        assert part in message
    path = Path(cfg.OUTPUT_DIR) / "model" / "model-last-good.pth.tar"
    assert str(path) in message
    state = load_checkpoint(path)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())
    fresh = build_trainer(tiny(out="fresh"))
    fresh.model.load_state_dict(state)


def test_weights_broken_by_the_last_step_of_an_epoch_are_not_saved_as_its_result(tiny):
    plain = TRAINER_REGISTRY.get("PlainX")

    class LastStep(plain):
        def forward_backward(self, batch):
            summary = super().forward_backward(batch)
            if self.batch_idx + 1 == self.num_batches:
                with torch.no_grad():
                    self.model.classifier.bias.fill_(float("nan"))
            return summary

    TRAINER_REGISTRY.register(LastStep)
    cfg = tiny("LastStep")
    with pytest.raises(FloatingPointError, match="Weights are infinite or NaN"):
        build_trainer(cfg).train()
    names = {path.name for path in (Path(cfg.OUTPUT_DIR) / "model").iterdir()}
    assert names == {"checkpoint", "model-last-good.pth.tar"}


def test_a_large_but_finite_weight_is_no_anomaly(tiny):
    trainer = build_trainer(tiny())
    trainer._begin_epoch()
    with torch.no_grad():
        trainer.model.classifier.weight.fill_(3e38)
    trainer._check_weights()


def test_outside_training_the_check_only_raises():
    from dassl.engine import TrainerBase

    with pytest.raises(FloatingPointError, match="infinite or NaN"):
        TrainerBase().detect_anomaly(torch.tensor(float("nan")))
