"""Tip-Adapter: its limits and the search on val."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize("name", ["TipAdapter", "TipAdapterF"])
def test_alpha_0_is_zero_shot(name, build):
    section = f"TRAINER.{name.upper()}"
    trainer = build(name, f"{section}.ALPHA", 0.0, f"{section}.SEARCH", False)
    trainer.train()
    zero_shot = build("ZeroShotCLIP", shots=0)
    x = next(iter(trainer.make_loader(trainer.dm.dataset.test)))["img"]
    assert torch.equal(trainer.model_inference(x), zero_shot.model_inference(x))


def test_published_values_stay_without_val(build):
    trainer = build("TipAdapterF", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer.train()
    assert (trainer.head.alpha.item(), trainer.head.beta.item()) == (1.0, 5.5)
    assert "search" not in trainer.extra_results


def test_found_values_are_saved_with_the_keys(build):
    trainer = build("TipAdapterF")
    start = trainer.head.keys.detach().clone()
    trainer.train()
    chosen = trainer.extra_results["search"]["chosen"]
    assert trainer.head.alpha.item() == pytest.approx(chosen["alpha"])
    assert not torch.equal(trainer.head.keys, start)
    fresh = build("TipAdapterF")
    fresh.load_model(trainer.output_dir)
    assert fresh.head.beta.item() == pytest.approx(chosen["beta"])
    assert torch.equal(fresh.head.keys, trainer.head.keys)


def test_with_best_val_the_search_is_on_the_keys_that_are_deployed(build, monkeypatch):
    opts = ("TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", 3)
    trainer = build("TipAdapterF", *opts)
    accuracies = iter([50.0, 70.0, 60.0])  # the second epoch is the best
    monkeypatch.setattr(trainer, "test", lambda split=None: next(accuracies))
    epoch_keys, searched = [], []
    after_epoch, search = trainer.after_epoch, trainer.search

    def keep_keys():
        epoch_keys.append(trainer.head.keys.detach().clone())
        after_epoch()

    def keep_search():
        searched.append(trainer.head.keys.detach().clone())
        search()

    monkeypatch.setattr(trainer, "after_epoch", keep_keys)
    monkeypatch.setattr(trainer, "search", keep_search)
    trainer.test_after_train = False
    trainer.train()
    assert not torch.equal(epoch_keys[1], epoch_keys[2])
    assert len(searched) == 1 and torch.equal(searched[0], epoch_keys[1])
    assert torch.equal(trainer.head.keys, epoch_keys[1])
    chosen = trainer.extra_results["search"]["chosen"]
    assert trainer.head.beta.item() == pytest.approx(chosen["beta"])
    fresh = build("TipAdapterF", *opts)
    fresh.load_model(trainer.output_dir)
    for name, tensor in trainer.head.state_dict().items():
        assert torch.equal(fresh.head.state_dict()[name], tensor), name
    again = build("TipAdapterF", *opts)  # the last checkpoint is still what is gone on from
    assert again.resume_model_if_exist(trainer.output_dir) == 3
