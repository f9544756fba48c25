"""A run that is killed and continued ends with the numbers of one that was not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed


class Killed(Exception):
    pass


def run(cfg, kill_after=None):
    """Train; ``kill_after`` an epoch (from 0) stops it once that epoch's files are written."""
    set_random_seed(7)
    trainer = build_trainer(cfg)
    if kill_after is not None:
        after_epoch = trainer.after_epoch

        def dying():
            after_epoch()
            if trainer.epoch == kill_after:
                raise Killed

        trainer.after_epoch = dying
        with pytest.raises(Killed):
            trainer.train()
    else:
        trainer.train()
    return trainer


def everything(trainer):
    """All numbers that a run leaves, as one flat list of tensors."""
    found = []

    def walk(value):
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                walk(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                walk(item)
        elif isinstance(value, (int, float, torch.Tensor)):
            found.append(torch.as_tensor(value, dtype=torch.float64))

    for name in trainer.get_model_names():
        walk(trainer._models[name].state_dict())
        walk(trainer._optims[name].state_dict() if trainer._optims[name] else {})
        walk(trainer._scheds[name].state_dict() if trainer._scheds[name] else {})
    walk(trainer.history)
    walk(trainer.best_result)
    return found


def assert_same(a, b):
    a, b = everything(a), everything(b)
    assert len(a) == len(b) > 20
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


OPTIONS = {
    "OPTIM__NAME": "adam",
    "OPTIM__LR": 0.01,
    "OPTIM__MAX_EPOCH": 4,
    "OPTIM__WARMUP_EPOCH": 1,
    "OPTIM__WARMUP_TYPE": "constant",
    "TRAIN__CHECKPOINT_FREQ": 1,
    "TEST__FINAL_MODEL": "best_val",
}


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("trainer", ["PlainX", "PlainXU"])
def test_killed_after_any_epoch(tiny, trainer, epoch):
    whole = run(tiny(trainer, out="whole", **OPTIONS))
    run(tiny(trainer, out="killed", **OPTIONS), kill_after=epoch)
    assert_same(run(tiny(trainer, out="killed", **OPTIONS)), whole)


def test_killed_between_two_checkpoints_goes_back_to_the_earlier(tiny, capsys):
    options = {**OPTIONS, "TRAIN__CHECKPOINT_FREQ": 2}
    options["TEST__FINAL_MODEL"] = "last_step"
    whole = run(tiny(out="whole", **options))
    run(tiny(out="killed", **options), kill_after=2)
    capsys.readouterr()
    continued = run(tiny(out="killed", **options))
    out = capsys.readouterr().out
    assert "will resume training" in out and "epoch [3/4]" in out and "epoch [2/4]" not in out
    assert_same(continued, whole)


def test_killed_between_best_and_last_the_last_is_written(tiny):
    """Both hold the same weights; without the last one a folder would differ from a whole one's."""
    cfg = tiny(**OPTIONS)
    whole = run(cfg)
    models = [Path(cfg.OUTPUT_DIR) / name for name in whole.get_model_names()]
    wanted = [torch.load(model / "model.pth.tar-4", weights_only=True) for model in models]
    for model, content in zip(models, wanted, strict=True):
        (model / "model.pth.tar-4").unlink()
        torch.save(content, model / "model-best.pth.tar")  # as if the last epoch were the best
        (model / "checkpoint").write_text("model-best.pth.tar\n")
    run(cfg)
    for model, content in zip(models, wanted, strict=True):
        again = torch.load(model / "model.pth.tar-4", weights_only=True)
        assert again["epoch"] == 4
        for name, value in content["state_dict"].items():
            assert torch.equal(again["state_dict"][name], value)


def test_continued_in_another_folder_the_best_comes_along(tiny):
    class OnlyGetsWorse(TRAINER_REGISTRY.get("PlainX")):
        def test(self, split=None):
            super().test(split)
            return 90.0 - self.epoch

    TRAINER_REGISTRY.register(OnlyGetsWorse)
    whole = run(tiny("OnlyGetsWorse", out="whole", **OPTIONS))
    killed = tiny("OnlyGetsWorse", out="killed", **OPTIONS)
    run(killed, kill_after=1)
    moved = tiny("OnlyGetsWorse", out="moved", RESUME=killed.OUTPUT_DIR, **OPTIONS)
    continued = run(moved)
    assert_same(continued, whole)
    assert continued.best_result == 90.0
    assert (Path(moved.OUTPUT_DIR) / "model" / "model-best.pth.tar").is_file()


class TwoModels:
    """A second model whose file is written after the first one's."""

    def build_model(self):
        super().build_model()
        self.second = nn.Linear(3, 3)
        optim = torch.optim.SGD(self.second.parameters(), lr=0.1)
        self.register_model("second", self.second, optim, None)


def test_killed_between_the_files_of_two_models(tiny, capsys):
    plain = TRAINER_REGISTRY.get("PlainX")
    TRAINER_REGISTRY.register(type("Two", (TwoModels, plain), {}))
    options = {**OPTIONS, "TEST__FINAL_MODEL": "last_step"}
    whole = run(tiny("Two", out="whole", **options))
    killed = tiny("Two", out="killed", **options)
    run(killed, kill_after=1)
    second = Path(killed.OUTPUT_DIR) / "second"
    (second / "model.pth.tar-2").unlink()
    (second / "checkpoint").write_text("model.pth.tar-1\n")
    capsys.readouterr()
    continued = run(killed)
    assert "epoch [2/4]" in capsys.readouterr().out
    assert_same(continued, whole)


def test_a_run_that_was_done_only_tests_again(tiny, capsys):
    cfg = tiny(**OPTIONS)
    first = run(cfg)
    capsys.readouterr()
    second = run(cfg)
    out = capsys.readouterr().out
    assert "epoch [" not in out and "Evaluate on the *test* set" in out
    assert_same(first, second)


def test_what_was_found_before_the_kill_is_still_known(tiny):
    cfg = tiny(**OPTIONS)
    first = build_trainer(cfg)
    first.extra_results = {"search": {"chosen": {"alpha": 2.5}}, "roi": {"images": 3}}
    first.train()
    second = build_trainer(cfg)
    second.extra_results = {"roi": {"images": 4}}  # found again: it stands, the same object
    second.before_train()
    assert second.extra_results == {"search": {"chosen": {"alpha": 2.5}}, "roi": {"images": 4}}


def test_what_a_trainer_of_ones_own_keeps_there_damages_no_checkpoint(tiny):
    cfg = tiny(**OPTIONS)
    first = build_trainer(cfg)
    first.extra_results = {"tower": torch.nn.Linear(1, 1)}
    first.train()
    second = build_trainer(cfg)
    second.before_train()
    assert second.start_epoch == 4 and not hasattr(second, "extra_results")


def test_a_folder_without_checkpoints_is_no_reason_to_stop(tiny, capsys):
    cfg = tiny(**OPTIONS)
    (Path(cfg.OUTPUT_DIR) / "model").mkdir(parents=True)
    run(cfg)
    assert "No checkpoint found, train from scratch" in capsys.readouterr().out


def test_a_checkpoint_of_upstream_continues_too(tiny, capsys):
    """It has no random states and no best result: those stay as they are."""
    cfg = tiny(**OPTIONS)
    run(cfg, kill_after=1)
    path = Path(cfg.OUTPUT_DIR) / "model" / "model.pth.tar-2"
    saved = torch.load(path, weights_only=True)
    keys = ("state_dict", "epoch", "optimizer", "scheduler", "val_result")
    torch.save({key: saved[key] for key in keys}, path)
    trainer = run(cfg)
    assert "epoch [3/4]" in capsys.readouterr().out
    assert [row["epoch"] for row in trainer.history] == [3, 4]


def test_a_truncated_checkpoint_is_named(tiny):
    cfg = tiny(**OPTIONS)
    run(cfg, kill_after=1)
    path = Path(cfg.OUTPUT_DIR) / "model" / "model.pth.tar-2"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="model.pth.tar-2"):
        run(cfg)
    shutil.rmtree(cfg.OUTPUT_DIR)
