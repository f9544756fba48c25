"""The trainers of upstream's API: loops, log lines, checkpoints, choice of the final model."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dassl.engine import TRAINER_REGISTRY, SimpleNet, TrainerBase, TrainerX, build_trainer
from dassl.errors import UserError
from dassl.utils import load_checkpoint, set_random_seed


def trained(cfg):
    set_random_seed(1)
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer


def weights(trainer, name="model"):
    return {k: v.clone() for k, v in trainer._models[name].state_dict().items()}


def test_a_run_prints_the_lines_that_scripts_look_for(tiny, capsys):
    trainer = trained(tiny(TRAIN__PRINT_FREQ=2))
    out = capsys.readouterr().out
    line = (
        r"^epoch \[1/3\] batch \[2/3\] time \d+\.\d{3} \(\d+\.\d{3}\) data \d+\.\d{3} "
        r"\(\d+\.\d{3}\) loss \d+\.\d{4} \(\d+\.\d{4}\) acc \d+\.\d{4} \(\d+\.\d{4}\) "
        r"lr 1\.0000e-01 eta \d+:\d\d:\d\d$"
    )
    assert len(re.findall(line, out, re.MULTILINE)) == 1
    assert re.findall(r"batch \[(\d)/3\]", out) == ["2"] * 3
    for text in (
        "Loading trainer: PlainX",
        "Building model",
        "# params: 57",
        "No checkpoint found, train from scratch",
        "Initialize tensorboard (log_dir=",
        "Finish training",
        "Deploy the last-epoch model",
        "Evaluate on the *test* set",
        "* accuracy: ",
        "Elapsed: 0:0",
    ):
        assert text in out
    assert sum(p.numel() for p in trainer.model.parameters()) == 57


def test_an_epoch_shorter_than_the_print_frequency_prints_each_batch(tiny, capsys):
    trained(tiny(OPTIM__MAX_EPOCH=1))
    assert re.findall(r"batch \[(\d)/3\]", capsys.readouterr().out) == ["1", "2", "3"]


def test_the_last_line_of_an_epoch_shows_the_learning_rate_after_the_scheduler_stepped(
    tiny, capsys
):
    trained(tiny())
    rates = re.findall(r"batch \[3/3\].* lr (\S+) ", capsys.readouterr().out)
    expected = [0.05 * (1 + math.cos(math.pi * done / 3)) for done in (1, 2, 3)]
    assert rates == [f"{rate:.4e}" for rate in expected]


def test_checkpoints_have_upstreams_layout_and_hold_tensors_only(tiny):
    cfg = tiny(TRAIN__CHECKPOINT_FREQ=2, TEST__FINAL_MODEL="best_val")
    trained(cfg)
    folder = Path(cfg.OUTPUT_DIR) / "model"
    files = {path.name for path in folder.iterdir()}
    assert files == {"checkpoint", "model-best.pth.tar", "model.pth.tar-2", "model.pth.tar-3"}
    assert (folder / "checkpoint").read_text().strip() == "model.pth.tar-3"
    saved = torch.load(folder / "model.pth.tar-2", weights_only=True)
    assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(saved)
    assert saved["epoch"] == 2 and saved["val_result"] is None
    best = load_checkpoint(folder / "model-best.pth.tar")
    assert best["val_result"] == best["best_result"] > 0


def test_without_a_checkpoint_frequency_only_the_last_epoch_is_kept(tiny):
    cfg = tiny()
    trained(cfg)
    names = sorted(path.name for path in (Path(cfg.OUTPUT_DIR) / "model").iterdir())
    assert names == ["checkpoint", "model.pth.tar-3"]


def test_best_val_deploys_the_best_epoch_and_not_the_last(tiny, capsys):
    class Worsening(TRAINER_REGISTRY.get("PlainX")):
        def test(self, split=None):
            super().test(split)
            return {0: 10.0, 1: 90.0, 2: 50.0}[self.epoch] if split == "val" else 0.0

        def after_epoch(self):
            super().after_epoch()
            self.seen = [*getattr(self, "seen", []), weights(self)]

    TRAINER_REGISTRY.register(Worsening)
    trainer = trained(tiny("Worsening", TEST__FINAL_MODEL="best_val"))
    assert "Deploy the model with the best val performance" in capsys.readouterr().out
    assert trainer.best_result == 90.0
    assert trainer._search["epoch"]["tries"] == 3
    assert trainer._search["epoch"]["chosen"] == 2  # counted from 1, as logs do
    final = weights(trainer)
    assert all(torch.equal(final[k], trainer.seen[1][k]) for k in final)
    assert any(not torch.equal(final[k], trainer.seen[2][k]) for k in final)


def test_without_a_val_set_the_test_set_chooses_nothing(tiny, capsys):
    trainer = trained(tiny(DATASET__NUM_SHOTS=1, TEST__FINAL_MODEL="best_val"))
    out = capsys.readouterr().out
    assert trainer.val_loader is None
    assert out.count("there is no val set") == 1 and "Deploy the last-epoch model" in out
    assert out.count("Evaluate on the *test* set") == 1
    assert not trainer.dm.test_read_early


def test_the_test_set_is_not_read_before_training_has_ended(tiny):
    set_random_seed(1)
    trainer = build_trainer(tiny(TEST__FINAL_MODEL="best_val"))
    seen = []
    trainer.before_epoch = lambda: seen.append(trainer.dm.training_ended)
    trainer.train()
    assert seen == [False] * 3
    assert trainer.dm.training_ended and not trainer.dm.test_read_early


def test_reading_the_test_set_early_leaves_a_mark(tiny):
    trainer = build_trainer(tiny())
    assert trainer.test_loader is not None
    assert trainer.dm.test_read_early


def test_test_runs_on_val_where_the_config_says_so(tiny, capsys):
    trainer = trained(tiny(TEST__SPLIT="val"))
    assert "Evaluate on the *val* set" in capsys.readouterr().out
    assert isinstance(trainer.test(split="test"), float)


def test_no_test_neither_selects_nor_tests(tiny, capsys):
    trained(tiny(TEST__NO_TEST=True, TEST__FINAL_MODEL="best_val"))
    out = capsys.readouterr().out
    assert "Evaluate" not in out and "Finish training" in out


def test_a_caller_may_score_the_deployed_model_itself(tiny, capsys):
    set_random_seed(1)
    trainer = build_trainer(tiny())
    trainer.test_after_train = False
    trainer.train()
    out = capsys.readouterr().out
    assert "Deploy the last-epoch model" in out and "Evaluate" not in out


def test_two_runs_with_one_seed_agree_and_another_seed_differs(tiny):
    first, second = weights(trained(tiny(out="a"))), weights(trained(tiny(out="b")))
    assert all(torch.equal(first[k], second[k]) for k in first)
    set_random_seed(2)
    other = build_trainer(tiny(out="c"))
    other.train()
    assert any(not torch.equal(first[k], v) for k, v in weights(other).items())


def test_the_engine_draws_nothing_besides_the_loaders(tiny):
    """Same numbers as the loop written out: upstream's order of draws."""
    trainer = trained(tiny())
    set_random_seed(1)
    bare = build_trainer(tiny(out="bare"))
    for _ in range(3):
        bare.model.train()
        for batch in bare.train_loader_x:
            loss = nn.functional.cross_entropy(bare.model(batch["img"]), batch["label"])
            bare.optim.zero_grad()
            loss.backward()
            bare.optim.step()
        bare.sched.step()
    ours, written_out = weights(trainer), weights(bare)
    assert all(torch.equal(ours[k], written_out[k]) for k in ours)


def test_history_has_a_row_per_epoch(tiny):
    trainer = trained(tiny(TEST__FINAL_MODEL="best_val"))
    assert [row["epoch"] for row in trainer.history] == [1, 2, 3]
    rates = [0.05 * (1 + math.cos(math.pi * epoch / 3)) for epoch in range(3)]
    assert [row["lr"] for row in trainer.history] == pytest.approx(rates)
    assert all({"loss", "acc", "val_accuracy"} <= set(row) for row in trainer.history)
    assert not any("test" in key for row in trainer.history for key in row)


def test_load_model_takes_the_best_or_the_epoch_asked_for(tiny, capsys):
    cfg = tiny(TRAIN__CHECKPOINT_FREQ=1, TEST__FINAL_MODEL="best_val")
    trained(cfg)
    fresh = build_trainer(tiny(out="fresh"))
    fresh.load_model(cfg.OUTPUT_DIR, epoch=1)
    saved = load_checkpoint(Path(cfg.OUTPUT_DIR) / "model" / "model.pth.tar-1")["state_dict"]
    assert all(torch.equal(v, saved[k]) for k, v in weights(fresh).items())
    fresh.load_model(cfg.OUTPUT_DIR)
    assert re.search(
        r"model-best.pth.tar to model \(epoch=\d, val_result=\d+\.\d\)", capsys.readouterr().out
    )
    fresh.load_model("")
    assert "load_model() is skipped" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="model.pth.tar-9"):
        fresh.load_model(cfg.OUTPUT_DIR, epoch=9)


def test_several_models_step_together_or_by_name(tiny):
    trainer = build_trainer(tiny())
    extra = nn.Linear(2, 1)
    trainer.register_model("extra", extra, torch.optim.SGD(extra.parameters(), lr=1.0), None)
    trainer.register_model("frozen", nn.Linear(1, 1))
    assert trainer.get_model_names() == ["model", "extra", "frozen"]
    before = extra.weight.detach().clone()
    trainer.model_backward_and_update(extra(torch.ones(1, 2)).sum(), names="extra")
    assert torch.allclose(extra.weight, before - 1)
    trainer.set_model_mode("eval", names=["extra"])
    assert not extra.training and trainer.model.training
    with pytest.raises(ValueError, match="extra"):
        trainer.register_model("extra", extra)
    with pytest.raises(ValueError, match="nobody"):
        trainer.get_model_names("nobody")
    with pytest.raises(KeyError):
        trainer.set_model_mode("asleep")


def test_registering_before_init_says_so():
    class Hasty(TrainerBase):
        def __init__(self):
            self.register_model("model", nn.Linear(1, 1))

    with pytest.raises(AttributeError, match="super"):
        Hasty()


def test_train_loader_is_another_name(tiny):
    trainer = build_trainer(tiny())
    assert trainer.train_loader is trainer.train_loader_x
    trainer.train_loader = [1]
    assert trainer.train_loader == [1] and trainer.train_loader_x != [1]


def test_a_trainer_may_replace_the_data_and_the_test_loader(tiny):
    class Own(TrainerX):
        def build_data_loader(self):
            super().build_data_loader()
            self.test_loader = self.val_loader

    TRAINER_REGISTRY.register(Own)
    trainer = build_trainer(tiny("Own"))
    assert trainer.test_loader is trainer.val_loader


def test_a_trainer_with_its_own_run_epoch_and_test(tiny, capsys):
    """As PromptSRC, KgCoOp and others do it, on upstream's attributes."""

    class Own(TrainerX):
        def run_epoch(self):
            self.set_model_mode("train")
            self.num_batches = len(self.train_loader_x)
            for self.batch_idx, batch in enumerate(self.train_loader_x):  # noqa: B020
                loss = self.model(batch["img"].to(self.device)).square().mean()
                self.model_backward_and_update(loss)
                self.write_scalar("train/loss", loss.item(), self.epoch)
            self.update_lr()

        @torch.no_grad()
        def test(self, split=None):
            self.set_model_mode("eval")
            self.evaluator.reset()
            loader = self.val_loader if split == "val" else self.test_loader
            for batch in loader:
                input, label = self.parse_batch_test(batch)
                self.evaluator.process(self.model_inference(input), label)
            results = self.evaluator.evaluate()
            return list(results.values())[0]

    TRAINER_REGISTRY.register(Own)
    trainer = trained(tiny("Own", TEST__FINAL_MODEL="best_val"))
    assert "* accuracy: " in capsys.readouterr().out
    assert [set(row) for row in trainer.history] == [{"epoch", "loss"}] * 3
    assert trainer.get_current_lr() == pytest.approx(0.0)


@pytest.mark.parametrize(("count", "batches"), [("train_x", 3), ("train_u", 4), ("smaller_one", 3)])
def test_count_iter_says_what_an_epoch_of_two_loaders_is(tiny, count, batches):
    cfg = tiny("PlainXU", TRAIN__COUNT_ITER=count)
    cfg.DATALOADER.TRAIN_U.SAME_AS_X = False
    cfg.DATALOADER.TRAIN_U.BATCH_SIZE = 3
    trainer = trained(cfg)
    assert trainer.num_batches == batches and trainer.batch_idx == batches - 1


def test_count_iter_with_a_typo_is_told(tiny):
    with pytest.raises(UserError, match="train_z"):
        trained(tiny("PlainXU", TRAIN__COUNT_ITER="train_z"))


def test_simple_net_returns_features_and_logits(tiny):
    cfg = tiny()
    cfg.MODEL.HEAD.NAME = "mlp"
    cfg.MODEL.HEAD.HIDDEN_LAYERS = (5, 4)
    net = SimpleNet(cfg, cfg.MODEL, 3).eval()
    logits, features = net(torch.rand(2, 3, 8, 8), return_feature=True)
    assert logits.shape == (2, 3) and features.shape == (2, 4) and net.fdim == 4
    assert SimpleNet(cfg, cfg.MODEL, 0)(torch.rand(2, 3, 8, 8)).shape == (2, 4)


def test_an_unknown_trainer_is_named_with_those_there_are(tiny):
    with pytest.raises(ValueError, match="Vanila.*Vanilla|Vanilla.*Vanila"):
        build_trainer(tiny("Vanila"))


def test_batch_norm_on_one_image_names_the_keys(tiny):
    cfg = tiny("Vanilla", DATALOADER__TRAIN_X__BATCH_SIZE=1)
    cfg.MODEL.HEAD.NAME, cfg.MODEL.HEAD.HIDDEN_LAYERS, cfg.MODEL.HEAD.BN = "mlp", (8,), True
    with pytest.raises(UserError, match="TRAIN_X.BATCH_SIZE to 2.*MODEL.HEAD.BN False"):
        trained(cfg)


def test_other_errors_of_values_come_through_as_they_are(tiny, monkeypatch):
    def broken(self, batch):
        raise ValueError("something of one's own")

    trainer = build_trainer(tiny())
    monkeypatch.setattr(type(trainer), "forward_backward", broken)
    with pytest.raises(ValueError, match="something of one's own") as caught:
        trainer.train()
    assert not isinstance(caught.value, UserError)
