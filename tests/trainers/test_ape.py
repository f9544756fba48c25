"""APE: zero-shot at alpha 0, the choice of channels, the weights of the shots, and its logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("APE", ("TRAINER.APE.SEARCH_BETA", "(7.0, 3)"))
PLAIN = ("TRAINER.APE.SEARCH", False)


def test_alpha_0_is_zero_shot(build, assert_is_zero_shot):
    trainer = build("APE", *PLAIN, "TRAINER.APE.ALPHA", 0.0)
    trainer.train()
    assert_is_zero_shot(trainer)


def test_before_the_fit_it_is_zero_shot(build, assert_is_zero_shot):
    assert_is_zero_shot(build("APE"))  # an empty cache


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    keys = F.normalize(torch.randn(6, 5, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(3, 5, generator=generator), dim=-1)
    return texts, keys, torch.tensor([0, 0, 1, 1, 2, 2])


def test_channels_are_scored_as_in_the_paper(module_of):
    texts, keys, labels = data()
    rows, owners = torch.cat([texts, keys]), [0, 1, 2, *labels.tolist()]
    found = module_of("APE").channel_scores(texts, keys, F.one_hot(labels, 3).float(), (0.7, 0.3))
    for d in range(5):
        pairs = [
            rows[i, d] * rows[j, d] for i in range(9) for j in range(9) if owners[i] != owners[j]
        ]
        mean = texts[:, d].mean()
        variance = sum((texts[c, d] - mean) ** 2 for c in range(3)) / 2
        expected = -0.7 * sum(pairs) / len(pairs) + 0.3 * variance
        torch.testing.assert_close(found[d], expected)


def test_logits_are_those_of_the_paper(build, test_batch):
    settings = {"ALPHA": 1.5, "BETA": 2.0, "GAMMA": 0.3, "CHANNELS": 6}
    options = [word for k, v in settings.items() for word in (f"TRAINER.APE.{k}", v)]
    trainer = build("APE", *PLAIN, *options)
    trainer.train()
    views, labels = trainer.split_features("train")
    channels, texts = trainer.head.channels.tolist(), trainer.classifier
    assert len(set(channels)) == 6
    x = test_batch(trainer)[:2]

    def refined(row: torch.Tensor) -> torch.Tensor:
        kept = torch.stack([row[d] for d in channels])
        return kept / kept.norm()

    for i, feature in enumerate(trainer.image_features(x)):
        expected = [trainer.backbone.scale * (feature @ t) for t in texts]
        for view, label in zip(views, labels, strict=True):
            key = refined(F.normalize(view.mean(0), dim=-1))
            said = torch.stack([key @ refined(t) for t in texts]).softmax(0)
            kl = 0.0
            for c in range(3):
                y = float(c == label)
                kl += y * math.log2((y + 1e-6) / (said[c].item() + 1e-6))
            affinity = refined(feature) @ key
            weight = math.exp(0.3 * kl) * torch.exp(-2.0 * (1 - affinity))
            expected[label] = expected[label] + 1.5 * weight
        torch.testing.assert_close(
            trainer.model_inference(x)[i], torch.stack(expected), rtol=1e-4, atol=1e-4
        )


def test_what_val_chooses_is_saved(build):
    trainer = build("APE", *CASE.opts)
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["tried"] == 20 * 3 * 5 and set(search["chosen"]) == {"alpha", "beta", "gamma"}
    fresh = build("APE")
    fresh.load_model(trainer.output_dir)
    assert fresh.head.alpha.item() == pytest.approx(search["chosen"]["alpha"])
    for name, tensor in trainer.head.state_dict().items():
        assert torch.equal(fresh.head.state_dict()[name], tensor), name


def test_the_defaults_stay_without_val(build):
    trainer = build("APE", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer.train()
    assert (trainer.head.alpha.item(), trainer.head.beta.item()) == (2.0, 1.0)
    assert "search" not in trainer.extra_results
