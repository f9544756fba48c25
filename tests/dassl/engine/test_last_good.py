"""A loss that is no number stops the run with advice and leaves a state worth having.

A GPU's losses are looked at some batches later; a trainer whose ``_looks_later`` says so does the
same on a CPU.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.engine.loss_watch import MOST_UNSEEN
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


class Late:
    """Mixin: losses are looked at as a GPU's are."""

    def _looks_later(self, loss):
        return True


def late(cfg_of, step, **keys):
    """A trainer of three batches an epoch that prints after the third; ``step`` is called first."""
    plain = TRAINER_REGISTRY.get("PlainX")

    class LateX(Late, plain):
        def forward_backward(self, batch):
            step(self, batch)
            return super().forward_backward(batch)

    TRAINER_REGISTRY.register(LateX, force=True)
    set_random_seed(1)
    cfg = cfg_of("LateX", TRAIN__PRINT_FREQ=3, **keys)
    return build_trainer(cfg), Path(cfg.OUTPUT_DIR) / "model"


def bad_step(epoch, batch_idx, factor=float("nan"), plus=0.0):
    """A step of the loss ``factor * sum + plus``, whose gradients are those of the first part."""

    def step(trainer, batch):
        if (trainer.epoch, trainer.batch_idx) == (epoch, batch_idx):
            trainer.model_backward_and_update(trainer.model(batch["img"]).sum() * factor + plus)

    return step


def test_a_loss_seen_late_names_its_batch_and_the_current_one(tiny, capsys):
    trainer, folder = late(tiny, bad_step(1, 1), TRAIN__CHECKPOINT_FREQ=1)
    place = r"epoch 2, batch 2, seen at batch 3, lr 7\.5000e-02"
    with pytest.raises(FloatingPointError, match=place):
        trainer.train()
    # Neither the line of the third batch nor a checkpoint of the second epoch.
    assert "epoch [2/3]" not in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint", "model.pth.tar-1", "model-last-good.pth.tar"}


def test_no_update_made_with_a_bad_loss_is_kept(tiny):
    """The weights stay finite, and are still those of the epoch's start; so are the moments."""
    starts = []
    step = bad_step(1, 0, factor=0.1, plus=float("inf"))

    def keeping(trainer, batch):
        if trainer.batch_idx == 0:
            starts.append(copy.deepcopy(trainer.model.state_dict()))
        step(trainer, batch)

    trainer, folder = late(tiny, keeping)
    with pytest.raises(FloatingPointError, match="batch 1, seen at batch 3"):
        trainer.train()
    checkpoint = load_checkpoint(folder / "model-last-good.pth.tar")
    torch.testing.assert_close(checkpoint["state_dict"], starts[1], rtol=0, atol=0)
    assert checkpoint["optimizer"]["state"] == {}
    trainer.resume_model_if_exist(trainer.output_dir)


def test_a_teacher_goes_back_with_its_student(tiny):
    """It is a running average of weights that broke, and no optimiser's."""

    class Teaching(Late, TRAINER_REGISTRY.get("MeanTeacher")):
        def forward_backward(self, *batches):
            bad_step(1, 1)(self, batches[0])
            return super().forward_backward(*batches)

    TRAINER_REGISTRY.register(Teaching)
    trainer = build_trainer(tiny("Teaching", TRAIN__PRINT_FREQ=3))
    with pytest.raises(FloatingPointError, match="epoch 2, batch 2, seen at batch 3"):
        trainer.train()
    path = Path(trainer.output_dir) / "teacher" / "model-last-good.pth.tar"
    assert all(value.isfinite().all() for value in load_checkpoint(path)["state_dict"].values())


def test_no_checkpoint_is_written_over_a_bad_loss(tiny):
    bad = bad_step(0, 0)

    def step(trainer, batch):
        bad(trainer, batch)
        if trainer.batch_idx == 1:
            trainer.save_model(0, trainer.output_dir)

    trainer, folder = late(tiny, step)
    with pytest.raises(FloatingPointError, match="epoch 1, batch 1, seen at batch 2"):
        trainer.train()
    assert not (folder / "model.pth.tar-1").exists()


def test_a_loop_that_prints_nothing_is_checked_at_the_end_of_its_epoch(tiny):
    class Own(Late, TRAINER_REGISTRY.get("PlainX")):
        def run_epoch(self):
            self.detect_anomaly(torch.tensor([1.0, float("inf")]))
            self.detect_anomaly(torch.tensor(2.0))

    TRAINER_REGISTRY.register(Own)
    with pytest.raises(FloatingPointError, match=r"\(epoch 1, lr 1"):
        build_trainer(tiny("Own")).train()


def test_losses_wait_only_so_long(tiny):
    """A loop of its own that prints nothing: each so many losses are looked at all the same."""
    noted = []

    class Long(Late, TRAINER_REGISTRY.get("PlainX")):
        def run_epoch(self):
            for self.batch_idx in range(10_000):
                noted.append(self.batch_idx)
                self.detect_anomaly(torch.tensor(float("nan") if self.batch_idx == 3 else 1.0))

    TRAINER_REGISTRY.register(Long)
    with pytest.raises(FloatingPointError, match=f"batch 4, seen at batch {MOST_UNSEEN},"):
        build_trainer(tiny("Long")).train()
    assert len(noted) == MOST_UNSEEN


@pytest.mark.parametrize("kind", ["late", "at once"])
def test_history_goes_up_to_the_batch_before(tiny, kind):
    """Two batches of the epoch were good, and no line was printed."""
    losses = []
    trainer, _ = late(tiny, bad_step(0, 2))
    if kind == "at once":
        trainer._looks_later = lambda loss: False
    plain = trainer.forward_backward

    def watched(batch):
        summary = plain(batch)
        losses.append(summary["loss"])
        return summary

    trainer.forward_backward = watched
    with pytest.raises(FloatingPointError):
        trainer.train()
    row = trainer.history[0]
    assert row["loss"] == pytest.approx(sum(losses[:2]) / 2) and row["lr"] == 0.1


def test_outside_training_a_loss_is_looked_at_at_once(tiny):
    class Late2(Late, TRAINER_REGISTRY.get("PlainX")):
        pass

    TRAINER_REGISTRY.register(Late2)
    trainer = build_trainer(tiny("Late2"))
    with pytest.raises(FloatingPointError):
        trainer.detect_anomaly(torch.tensor(float("nan")))


@pytest.mark.gpu
def test_on_a_gpu_a_loss_is_only_noted(tiny):
    trainer = build_trainer(tiny())
    trainer._begin_epoch()
    loss = torch.tensor(float("nan"), device="cuda")
    trainer.detect_anomaly(loss)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.detect_anomaly(loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(FloatingPointError):
        trainer._check_losses()
