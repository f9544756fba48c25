"""Accuracy and log-loss, against torch's for each leading index."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cerviclip.vlm.heads.scores import val_scores


def test_scores_equal_torch_for_each_leading_index():
    logits, labels = torch.randn(4, 2, 10, 3), torch.randint(3, (10,))
    accuracy, loss = val_scores(logits, labels)
    assert accuracy.shape == loss.shape == (4, 2)
    for i in range(4):
        for j in range(2):
            hits = (logits[i, j].argmax(-1) == labels).float().mean() * 100
            assert accuracy[i, j].item() == pytest.approx(hits.item())
            assert loss[i, j].item() == pytest.approx(
                F.cross_entropy(logits[i, j], labels).item(), rel=1e-5
            )
