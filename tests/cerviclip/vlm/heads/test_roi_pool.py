"""The pool over a region's patches: parity with loops, what it starts as, what it cannot see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cerviclip.vlm.heads.roi_pool import RoiAttentionPool
from dassl.errors import UserError


def pool_by_loops(pool, patches, inside):
    """The pool with one softmax for each image, head and query, patches gathered one by one."""
    heads, dim = pool.heads, patches.shape[-1] // pool.heads
    out = []
    for image, mask in zip(patches, inside, strict=True):
        kept = torch.stack([patch for patch, is_in in zip(image, mask, strict=True) if is_in])
        key, value = pool.k(kept), pool.v(kept)
        results = []
        for query in pool.q(pool.queries):
            parts = []
            for h in range(heads):
                part = slice(h * dim, (h + 1) * dim)
                scores = torch.stack([query[part] @ k[part] for k in key]) / dim**0.5
                parts.append(scores.softmax(0) @ value[:, part])
            results.append(torch.cat(parts))
        out.append(pool.out(torch.stack(results).mean(0)))
    return torch.stack(out)


@pytest.mark.parametrize("grid, queries", [(1, 1), (9, 1), (35, 3)])
def test_pool_equals_loops_over_images_heads_and_patches(grid, queries):
    pool = RoiAttentionPool(16, heads=4, queries=queries)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    patches = torch.randn(5, grid, 16)
    inside = torch.rand(5, grid) < 0.5
    inside[:, 0] = True
    torch.testing.assert_close(
        pool(patches, inside), pool_by_loops(pool, patches, inside), rtol=1e-4, atol=1e-5
    )


def test_pool_starts_near_the_mean_over_the_roi():
    pool = RoiAttentionPool(32)
    patches, inside = torch.randn(2, 9, 32), torch.tensor([[True] * 4 + [False] * 5, [True] * 9])
    means = torch.stack([patches[0, :4].mean(0), patches[1].mean(0)])
    assert F.cosine_similarity(pool(patches, inside), means).min() > 0.98


def test_patches_outside_the_roi_have_no_say():
    pool = RoiAttentionPool(16)
    patches, inside = torch.randn(1, 6, 16), torch.tensor([[True, True, False, True, False, False]])
    other = torch.where(inside[..., None], patches, torch.randn(1, 6, 16) * 100)
    assert torch.equal(pool(patches, inside), pool(other, inside))
    weights = pool.attention(patches, inside)
    assert weights[:, :, ~inside[0]].abs().max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4))


def test_a_pool_over_one_patch_is_that_patch_and_has_gradients():
    pool = RoiAttentionPool(16, queries=2)
    patches = torch.randn(2, 6, 16, requires_grad=True)
    inside = F.one_hot(torch.tensor([3, 0]), 6).bool()
    pooled = pool(patches, inside)
    torch.testing.assert_close(pooled, torch.stack([patches[0, 3], patches[1, 0]]))  # identity V
    pooled.square().sum().backward()
    assert torch.isfinite(patches.grad).all() and patches.grad[0, 3].abs().sum() > 0
    assert patches.grad[0, 4].abs().sum() == 0


def test_heads_must_divide_the_features():
    with pytest.raises(UserError, match="HEADS 3 does not divide 16"):
        RoiAttentionPool(16, heads=3)
