"""Accuracy and distances against values worked out here and against torch.cdist."""

from __future__ import annotations

import pytest
import torch

from dassl.metrics import compute_accuracy, compute_distance_matrix

SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
LABELS = torch.tensor([1, 1, 2, 2])


def test_topk():
    first, second, third = compute_accuracy(SCORES, LABELS, topk=(1, 2, 3))
    assert (first.item(), second.item(), third.item()) == (50.0, 75.0, 100.0)
    assert first.shape == (1,)


def test_first_of_several_outputs_counts():
    assert compute_accuracy((SCORES, -SCORES), LABELS)[0].item() == 50.0


def test_distances():
    a, b = torch.randn(4, 3), torch.randn(5, 3)
    squared = compute_distance_matrix(a, b)
    torch.testing.assert_close(squared, torch.cdist(a, b) ** 2, rtol=1e-4, atol=1e-4)
    cosine = compute_distance_matrix(a, b, metric="cosine")
    expected = 1 - torch.cosine_similarity(a[:, None], b[None], dim=-1)
    torch.testing.assert_close(cosine, expected)


@pytest.mark.parametrize(
    ("a", "b", "metric", "said"),
    [
        (torch.ones(3), torch.ones(1, 3), "euclidean", "the 1st has 1 dim"),
        (torch.ones(1, 3), torch.ones(3), "euclidean", "the 2nd has 1 dim"),
        (torch.ones(2, 3), torch.ones(2, 4), "euclidean", "3 and 4"),
        (torch.ones(2, 3), torch.ones(2, 3), "manhattan", "manhattan"),
    ],
)
def test_distance_errors(a, b, metric, said):
    with pytest.raises(ValueError, match=said):
        compute_distance_matrix(a, b, metric)
