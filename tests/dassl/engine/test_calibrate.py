"""calibrate(): on the deployed weights, saved with them, and out of the test set's reach."""

from __future__ import annotations

import pytest
import torch
from engine_fixtures import tiny

from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import load_checkpoint

__all__ = ["tiny"]


@pytest.fixture
def calibrated(tiny):
    """``calibrated(**overrides)``: a trained trainer whose hook doubles the first weights."""

    def make(peek=False, **overrides):
        plain = TRAINER_REGISTRY.get("PlainX")

        class Calibrated(plain):
            seen = None

            def test(self, split=None):
                accuracies = {0: 10.0, 1: 90.0, 2: 50.0}
                return accuracies[self.epoch] if split == "val" else super().test(split)

            def calibrate(self):
                if peek:
                    _ = self.dm.test_loader
                assert not self.model.training
                self.seen = self.model.classifier.weight.detach().clone()
                with torch.no_grad():
                    self.model.classifier.weight.mul_(2)

        TRAINER_REGISTRY.register(Calibrated, force=True)
        trainer = build_trainer(tiny("Calibrated", TRAIN__CHECKPOINT_FREQ=1, **overrides))
        trainer.train()
        return trainer

    return make


def saved(trainer, file):
    checkpoint = load_checkpoint(f"{trainer.output_dir}/model/{file}")
    return checkpoint["state_dict"]["classifier.weight"], checkpoint


@pytest.mark.parametrize("no_test", [False, True])
def test_the_last_epochs_weights_by_default(calibrated, no_test):
    trainer = calibrated(TEST__NO_TEST=no_test)
    weight, checkpoint = saved(trainer, "model.pth.tar-3")
    assert torch.equal(weight, trainer.seen * 2)
    assert torch.equal(trainer.model.classifier.weight, weight)
    assert checkpoint["epoch"] == 3 and checkpoint["optimizer"]["param_groups"]
    assert not trainer.dm.test_read_early and trainer.dm.training_ended


def test_the_best_on_val_where_that_is_deployed(calibrated):
    trainer = calibrated(TEST__FINAL_MODEL="best_val")
    weight, checkpoint = saved(trainer, "model-best.pth.tar")
    assert checkpoint["epoch"] == 2 and torch.equal(weight, trainer.seen * 2)
    assert torch.equal(trainer.seen, saved(trainer, "model.pth.tar-2")[0])
    assert not torch.equal(trainer.seen, saved(trainer, "model.pth.tar-3")[0])  # goes on from there
    assert torch.equal(trainer.model.classifier.weight, weight)


def test_reading_the_test_set_in_it_leaves_the_mark(calibrated):
    assert calibrated(peek=True).dm.test_read_early
