"""Linear probe: the fit against scikit-learn's own, and the choice of C."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def probe(module_of):
    return module_of("LinearProbe")


def clouds(classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 12)
    x = rng.normal(size=(len(labels), 6)) * rng.uniform(0.1, 5, 6) + labels[:, None] * 0.7 + 3
    return torch.from_numpy(x).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 4])
def test_layer_gives_the_probabilities_of_a_scikit_learn_pipeline(probe, classes):
    x, y = clouds(classes)
    weight, bias = probe.fit_linear(x, y, classes, c=0.3)
    ours = torch.softmax(x @ weight.t() + bias, dim=-1)
    scaled = StandardScaler().fit_transform(x.double().numpy())
    theirs = LogisticRegression(C=0.3, max_iter=2000).fit(scaled, y.numpy()).predict_proba(scaled)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-4)


def test_a_class_without_images_gets_probability_zero(probe):
    x, y = clouds(3)
    weight, bias = probe.fit_linear(x, y + (y > 0).long(), 4, c=1.0)  # class 1 is absent
    probabilities = torch.softmax(x @ weight.t() + bias, dim=-1)
    assert probabilities[:, 1].max() == 0
    assert (probabilities.argmax(-1) != 1).all()


def test_one_class_alone_is_always_predicted(probe):
    x, _ = clouds(2)
    weight, bias = probe.fit_linear(x, torch.ones(len(x), dtype=torch.long), 3, c=1.0)
    assert torch.softmax(x @ weight.t() + bias, -1)[:, 1].min() == 1


def test_c_is_chosen_on_val_and_recorded(build):
    trainer = build("LinearProbe", "TRAINER.LINEARPROBE.C_GRID", "(1e-5, 1.0)")
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["chosen"] == {"C": 1.0}  # colours are separable: next to no penalty is best
    assert search["tried"] == 2 and search["by"] == "log_loss"


def test_without_val_the_default_is_used(build):
    trainer = build("LinearProbe", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    assert not trainer.dm.dataset.val
    trainer.train()
    assert "search" not in trainer.extra_results
    assert trainer.history[0]["acc"] > 0


def test_inference_gives_log_probabilities(build):
    trainer = build("LinearProbe")
    trainer.train()
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test)))
    total = trainer.model_inference(batch["img"]).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_serves_a_cnn_that_has_no_text(build, tmp_path):
    from torchvision.models import squeezenet1_0

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    trainer = build("LinearProbe", backbone="torchvision:squeezenet1_0", weights=file)
    trainer.train()
    assert trainer.head.weight.shape == (3, 1024)  # mean and maximum of 512 channels
    assert trainer.history[0]["acc"] > 90
