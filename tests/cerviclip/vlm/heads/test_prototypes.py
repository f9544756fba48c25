"""Class sums and vectors compared by cosine."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cerviclip.vlm.heads.prototypes import Prototypes, class_sums


def test_sums_and_counts_are_those_of_a_loop():
    features, labels = torch.randn(7, 4), torch.tensor([0, 2, 2, 0, 0, 2, 0])
    sums, counts = class_sums(features, labels, 4)
    for c in range(4):
        rows = [features[i] for i in range(7) if labels[i] == c]
        expected = torch.stack(rows).sum(0) if rows else torch.zeros(4)
        torch.testing.assert_close(sums[c], expected)
        assert counts[c] == len(rows)


def test_sums_of_nothing_are_zero():
    sums, counts = class_sums(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 3)
    assert sums.shape == (3, 4) and not sums.any() and not counts.any()


def test_logits_are_scaled_cosines_whatever_the_length():
    start, x = torch.randn(3, 4), F.normalize(torch.randn(2, 4), dim=-1)
    head = Prototypes(start)
    expected = 10 * F.cosine_similarity(x[:, None], start[None], dim=-1)
    torch.testing.assert_close(head(x, 10.0), expected)
    head.set(5 * start)
    torch.testing.assert_close(head(x, 10.0), expected)
