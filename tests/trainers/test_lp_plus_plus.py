"""LP++: its starts and rates, its steps against autograd, and the epoch that val chooses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

CASE = TrainerCase("LPPlusPlus", ("TRAINER.LPPLUSPLUS.EPOCHS", 20))


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(9, 5, generator=generator, dtype=torch.double), dim=-1)
    texts = F.normalize(torch.randn(3, 5, generator=generator, dtype=torch.double), dim=-1)
    return x, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]), texts


def test_before_the_fit_it_is_zero_shot(build, assert_is_zero_shot):
    assert_is_zero_shot(build("LPPlusPlus"), rtol=1e-5, atol=1e-4)


def test_starts_are_those_of_the_code(module_of):
    x, labels, texts = data()
    weight, bias, alpha = module_of("LPPlusPlus").start_weights(x, labels, texts, 250.0)
    of_classes = []
    for c in range(3):
        shots = [x[i] for i in range(9) if labels[i] == c]
        torch.testing.assert_close(weight[c], sum(shots))  # sums, not means
        of_classes.append(250 / 3 * sum(f @ texts[c] for f in shots))
    torch.testing.assert_close(alpha, (sum(of_classes) / 3).expand(3))
    assert not bias.any()


def test_steps_are_those_of_the_paper(module_of):
    """Against autograd, SGD with momentum and the paper's rates."""
    x, labels, texts = data()
    module = module_of("LPPlusPlus")
    start = module.start_weights(x, labels, texts, 10.0)
    w, b, alpha = (t.clone().requires_grad_() for t in start)
    largest = max(torch.linalg.eigvalsh(x.t() @ x))
    optim = torch.optim.SGD([w, b], lr=(4 * 9 / largest).item(), momentum=0.9)
    rate = 9 / (4 * max(sum((f @ t) ** 2 for f in x) for t in texts))
    for epoch, found in enumerate(module.descend(x, labels, texts, start, 7, 3), start=1):
        logits = torch.zeros(9, 3, dtype=torch.double)
        for i in range(9):
            for c in range(3):
                logits[i, c] = x[i] @ (w[c] + alpha[c] * texts[c]) + b[c]
        optim.zero_grad()
        alpha.grad = None
        F.cross_entropy(logits, labels).backward()
        optim.step()
        if epoch % 3 == 0:
            alpha.data -= rate * alpha.grad
        for mine, theirs in zip(found, (w, b, alpha), strict=True):
            torch.testing.assert_close(mine, theirs.detach())


def test_the_best_epoch_on_val_is_kept_and_saved(build):
    trainer = build("LPPlusPlus", *CASE.opts)
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["tried"] == 21  # the start, and each epoch
    fresh = build("LPPlusPlus")
    fresh.load_model(trainer.output_dir)
    for name, tensor in trainer.head.state_dict().items():
        assert torch.equal(fresh.head.state_dict()[name], tensor), name


@pytest.mark.parametrize("epochs", [0, 5])
def test_the_last_epoch_stays_without_val(build, epochs, module_of):
    options = ("TRAINER.LPPLUSPLUS.EPOCHS", epochs, "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer = build("LPPlusPlus", *options)
    trainer.train()
    assert "search" not in trainer.extra_results
    views, labels = trainer.split_features("train")
    module, texts = module_of("LPPlusPlus"), trainer.head.texts
    rows = views.flatten(0, 1), labels.repeat_interleave(views.shape[1])
    start = module.start_weights(*rows, texts, 250.0)
    *_, last = [start, *module.descend(*rows, texts, start, epochs, 10)]
    torch.testing.assert_close(trainer.head.linear.weight, last[0])
