"""Vanilla and DomainMix: a step by hand, partners from other domains."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dassl.engine import build_trainer
from dassl.engine.dg.domain_mix import other_domain_partners
from dassl.errors import UserError
from dassl.utils import set_random_seed


@pytest.mark.parametrize("name", ["Vanilla", "DomainMix"])
def test_learns_the_colours(tiny, name, capsys):
    set_random_seed(1)
    trainer = build_trainer(tiny(name, OPTIM__MAX_EPOCH=15))
    trainer.train()
    assert trainer.history[-1]["loss"] < trainer.history[0]["loss"]
    assert trainer.test("test") > 60
    assert "* accuracy: " in capsys.readouterr().out


def test_a_step_of_vanilla_is_cross_entropy_on_the_batch(tiny):
    set_random_seed(1)
    trainer = build_trainer(tiny("Vanilla"))
    trainer.set_model_mode("eval")  # no dropout
    trainer.batch_idx, trainer.num_batches = 0, 2
    batch = next(iter(trainer.train_loader_x))
    expected = F.cross_entropy(trainer.model(batch["img"]), batch["label"])
    expected.backward()
    gradient = trainer.model.classifier.weight.grad.clone()
    before = trainer.model.classifier.weight.detach().clone()
    summary = trainer.forward_backward(batch)
    assert torch.equal(summary["loss"], expected.detach()) and 0 <= summary["acc"] <= 100
    settings = trainer.optim.param_groups[0]
    moved = before - settings["lr"] * (gradient + settings["weight_decay"] * before)
    assert torch.allclose(trainer.model.classifier.weight, moved)


@pytest.mark.parametrize("domain", [[0, 0, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 0, 0, 1]])
def test_partners_are_of_another_domain(domain):
    torch.manual_seed(0)
    domain = torch.tensor(domain)
    for _ in range(20):
        partners = other_domain_partners(domain)
        assert (domain[partners] != domain).all()


def test_partners_within_one_domain_are_an_order_of_it():
    assert other_domain_partners(torch.zeros(5)).sort().values.tolist() == [0, 1, 2, 3, 4]


def test_images_and_labels_are_mixed_alike(tiny):
    set_random_seed(1)
    trainer = build_trainer(tiny("DomainMix"))
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    label, domain = torch.arange(4), torch.tensor([0, 0, 1, 1])
    mixed, own, partners, share = trainer.domain_mix(x, label, domain)
    assert torch.equal(own, label) and 0 < share < 1
    assert torch.allclose(mixed[:, 0, 0, 0], share * own + (1 - share) * partners)
    assert (partners[:2] >= 2).all() and (partners[2:] < 2).all()


def test_alpha_zero_mixes_nothing(tiny):
    cfg = tiny("DomainMix", TRAINER__DOMAINMIX__ALPHA=0.0, TRAINER__DOMAINMIX__TYPE="random")
    trainer = build_trainer(cfg)
    x = torch.rand(4, 3, 2, 2)
    mixed, _, _, share = trainer.domain_mix(x, torch.arange(4), torch.zeros(4))
    assert share == 1 and torch.equal(mixed, x)


def test_a_wrong_type_is_told(tiny):
    with pytest.raises(UserError, match="DOMAINMIX.TYPE.*sideways"):
        build_trainer(tiny("DomainMix", TRAINER__DOMAINMIX__TYPE="sideways"))
