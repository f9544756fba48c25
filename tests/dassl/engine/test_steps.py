"""Steps, scalars and progress lines: the parts of a loop."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cerviclip.vlm.precision import Precision
from dassl.engine import TrainerBase
from dassl.engine.progress import EpochProgress
from dassl.engine.steps import project_gradients
from dassl.engine.trainer import SummaryWriter, endless


def one_parameter(value, lr=1.0):
    trainer = TrainerBase()
    model = nn.ParameterDict({"w": nn.Parameter(torch.tensor(value))})
    trainer.register_model("model", model, torch.optim.SGD(model.parameters(), lr=lr))
    return trainer, model["w"]


def test_prograd_keeps_a_gradient_that_does_not_oppose():
    trainer, w = one_parameter([0.0, 0.0])
    trainer.prograd_backward_and_update((w * torch.tensor([1.0, 2.0])).sum(), w.sum(), 1.0)
    assert torch.allclose(w.detach(), torch.tensor([-1.0, -2.0]))


def test_prograd_takes_out_what_opposes():
    """a = (1, -2), b = (0, 1): a's part along b is -2, so (1, 0) is left, (1, -1) with half."""
    for strength, expected in ((1.0, [-1.0, 0.0]), (0.5, [-1.0, 1.0])):
        trainer, w = one_parameter([0.0, 0.0])
        a, b = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1.0])
        trainer.prograd_backward_and_update((w * a).sum(), (w * b).sum(), strength)
        assert torch.allclose(w.detach(), torch.tensor(expected))


def test_vertical_grad_takes_out_what_agrees_too():
    """a = (1, 2), b = (0, 1): of a's part 2 along b nothing is left, or half of it."""
    for strength, expected in ((1.0, [-1.0, 0.0]), (0.5, [-1.0, -1.0])):
        trainer, w = one_parameter([0.0, 0.0])
        a, b = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])
        trainer.vertical_grad_backward_and_update((w * a).sum(), (w * b).sum(), strength)
        assert torch.allclose(w.detach(), torch.tensor(expected))


def test_prograd_with_parameters_that_one_loss_does_not_see():
    trainer = TrainerBase()
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1), "c": nn.Linear(1, 1)})
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer.register_model("model", model, torch.optim.SGD(model.parameters(), lr=1.0))
    x = torch.ones(1, 1)
    trainer.prograd_backward_and_update(model["a"](x).sum(), model["b"](x).sum(), lambda_=1)
    after = model.state_dict()
    assert torch.allclose(after["a.bias"], before["a.bias"] - 1)
    assert torch.equal(after["c.weight"], before["c.weight"])
    assert torch.equal(after["b.weight"], before["b.weight"])


def test_projection_against_a_gradient_of_zeros_changes_nothing():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([1.0, -1.0])
    project_gradients([p], [torch.zeros(2)])
    assert torch.equal(p.grad, torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("prec", ["fp32", "amp", "bf16"])
def test_precision_on_a_cpu_steps_like_fp32(prec):
    trainer, w = one_parameter([2.0])
    trainer.precision = Precision(prec, "cpu")
    with trainer.precision.autocast():
        loss = (w * w).sum()
    trainer.model_backward_and_update(loss.float())
    assert torch.allclose(w.detach(), torch.tensor([-2.0]))


def test_a_scaler_scales_the_loss_and_unscales_the_step():
    trainer, w = one_parameter([2.0])
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer.precision = SimpleNamespace(scaler=scaler)
    trainer.model_zero_grad()
    trainer.model_backward((w * w).sum())
    assert w.grad.item() == 4 * 1024
    trainer.model_update()
    assert torch.allclose(w.detach(), torch.tensor([-2.0]))


def test_a_step_that_overflows_under_a_scaler_is_skipped_not_an_error():
    trainer, w = one_parameter([2.0])
    trainer.precision = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=1e38))
    trainer.model_backward_and_update((w * 1e5).sum())
    assert w.item() == 2.0 and trainer.precision.scaler.get_scale() < 1e38


def test_summary_writer_without_tensorboard_does_nothing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    writer = SummaryWriter(log_dir=str(tmp_path))
    writer.add_scalar("train/loss", 1.0, 0)
    writer.add_image("x", None)
    writer.flush()
    writer.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(AttributeError):
        _ = writer.nonsense


def test_summary_writer_hands_on_to_tensorboard_where_it_is(monkeypatch, tmp_path):
    calls = []

    class Real:
        def __init__(self, log_dir):
            calls.append(log_dir)

        def add_scalar(self, *args):
            calls.append(args)

        def add_text(self, *args):
            calls.append(args)

        def close(self):
            calls.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Real))
    writer = SummaryWriter(log_dir=str(tmp_path))
    assert calls == []
    writer.add_scalar("a", 1.0, 2)
    writer.add_text("b", "c")
    writer.close()
    assert calls == [str(tmp_path), ("a", 1.0, 2), ("b", "c"), "closed"]


def test_endless_starts_a_loader_over():
    batches = endless([1, 2])
    assert [next(batches) for _ in range(5)] == [1, 2, 1, 2, 1]


def test_endless_draws_the_first_passs_seed_at_once():
    """Upstream calls iter() on both loaders before the first batch."""
    started = []

    class Loader:
        def __iter__(self):
            started.append(True)
            return iter([1])

    batches = endless(Loader())
    assert len(started) == 1
    assert [next(batches) for _ in range(3)] == [1, 1, 1] and len(started) == 3


def test_progress_averages_tensors_and_numbers_alike(capsys):
    written = []
    trainer = SimpleNamespace(
        num_batches=3,
        max_epoch=2,
        epoch=0,
        batch_idx=0,
        get_current_lr=lambda: 0.25,
        write_scalar=lambda *args: written.append(args),
        _check_losses=lambda: None,
    )
    progress = EpochProgress(trainer, print_freq=2)
    for trainer.batch_idx, loss in enumerate((1.0, torch.tensor(3.0), torch.tensor([5.0]))):
        progress.batch_loaded()
        progress.batch_done({"loss": loss})
    assert progress.losses.meters["loss"].avg == 3.0
    assert written == [
        ("train/loss", 1.0, 0),
        ("train/lr", 0.25, 0),
        ("train/loss", 2.0, 1),
        ("train/lr", 0.25, 1),
        ("train/loss", 3.0, 2),
        ("train/lr", 0.25, 2),
    ]
    out = capsys.readouterr().out
    assert out.startswith("epoch [1/2] batch [2/3] ") and "loss 3.0000 (2.0000) lr 2.5" in out


def test_a_trainer_may_return_nothing(capsys):
    trainer = SimpleNamespace(
        num_batches=1,
        max_epoch=1,
        epoch=0,
        batch_idx=0,
        get_current_lr=lambda: 0.0,
        write_scalar=lambda *args: None,
        _check_losses=lambda: None,
    )
    progress = EpochProgress(trainer, print_freq=10)
    progress.batch_loaded()
    progress.batch_done(None)
    assert "epoch [1/1] batch [1/1]" in capsys.readouterr().out


def test_what_is_no_number_stays_out_of_the_history():
    trainer = TrainerBase()
    trainer._history_row = {}
    odd = {"topk": [1.0, 2.0], "lines": "acc: 3%", "grid": torch.ones(2), "none": None}
    for name, value in {"acc": 50, "f1": torch.tensor([2.0]), **odd}.items():
        trainer.write_scalar(f"val/{name}", value, 0)
    assert trainer._history_row == {"val_acc": 50.0, "val_f1": 2.0}


def test_an_update_with_nothing_to_update_is_told():
    trainer = TrainerBase()
    model = nn.Linear(1, 1)
    trainer.register_model("model", model)
    with pytest.warns(UserWarning, match="TrainerBase .* nothing is trained"):
        trainer.model_backward_and_update(model(torch.ones(1, 1)).sum())
