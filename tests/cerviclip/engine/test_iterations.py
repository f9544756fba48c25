"""Training for a number of batches: exactly that many, on a schedule over them."""

from __future__ import annotations

import math

import pytest
import torch

from cerviclip.engine.iterations import ByIterations
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.utils import set_random_seed


def by_iterations(count):
    class Counted(ByIterations, TrainerX):
        def build_model(self):
            self.max_iters = count
            super().build_model()
            self.rates = []

        def forward_backward(self, batch):
            self.rates.append(self.get_current_lr())
            input, label, _ = self.parse_batch_train(batch)
            loss = torch.nn.functional.cross_entropy(self.model(input), label)
            self.model_backward_and_update(loss)
            if self.batch_idx + 1 == self.num_batches:
                self.update_lr()
            return {"loss": loss.detach()}

    TRAINER_REGISTRY.register(Counted, force=True)
    return "Counted"


def run(cfg):
    set_random_seed(3)
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer


@pytest.mark.parametrize(("count", "epochs"), [(1, 1), (3, 1), (4, 2), (7, 3), (9, 3)])
def test_stops_after_exactly_so_many_batches(tiny, count, epochs):
    trainer = run(tiny(by_iterations(count)))
    assert len(trainer.rates) == count
    assert trainer.max_epoch == epochs == len(trainer.history)
    expected = [0.05 * (1 + math.cos(math.pi * done / count)) for done in range(count)]
    assert trainer.rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"OPTIM__WARMUP_EPOCH": 1}, "OPTIM.WARMUP_EPOCH 1 counts iterations, not epochs"),
        (
            {
                "OPTIM__WARMUP_EPOCH": 2,
                "OPTIM__LR_SCHEDULER": "multi_step",
                "OPTIM__STEPSIZE": (4,),
            },
            "OPTIM.WARMUP_EPOCH 2 and OPTIM.STEPSIZE (4,) count iterations, not epochs",
        ),
        ({"OPTIM__LR_SCHEDULER": "single_step"}, ""),  # STEPSIZE -1: never
        ({"OPTIM__STEPSIZE": (4,)}, ""),  # cosine has no steps
    ],
)
def test_keys_that_count_iterations_are_named_once(tiny, capsys, keys, said):
    run(tiny(by_iterations(7), **keys))
    out = capsys.readouterr().out
    assert out.count("count iterations") + out.count("counts iterations") == bool(said)
    assert said in out
    run(tiny(by_iterations(0), **keys, out="by_epochs"))
    assert "iterations" not in capsys.readouterr().out


def test_zero_means_by_epochs(tiny):
    trainer = run(tiny(by_iterations(0)))
    assert len(trainer.rates) == 9 and trainer.max_epoch == 3
    assert len({round(rate, 6) for rate in trainer.rates}) == 3


def test_resumes_in_the_middle(tiny):
    whole = run(tiny(by_iterations(7), out="whole"))
    cfg = tiny("Counted", out="killed", TRAIN__CHECKPOINT_FREQ=1)
    set_random_seed(3)
    killed = build_trainer(cfg)
    after_epoch = killed.after_epoch

    def dying():
        after_epoch()
        raise KeyboardInterrupt

    killed.after_epoch = dying
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    continued = run(cfg)
    assert continued.rates == whole.rates[3:]
    for a, b in zip(continued.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)
