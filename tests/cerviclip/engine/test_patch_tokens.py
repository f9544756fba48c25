"""Patch tokens through the feature store, for a method that asks for them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from vlm_fixtures import Probe, make, toy

from cerviclip.features import store as feature_store
from cerviclip.features.encode import FrozenEncoder
from cerviclip.features.loader import FeatureLoader
from cerviclip.features.source import clear_tables

__all__ = ["toy"]


class BestPatch(Probe):
    """A plug-in method that asks for patch tokens: each class scores its most alike patch."""

    image_input = "patches"

    def patch_features(self, x):
        """Pooled (B, D) and patch features (B, N, D) of pixels or of what a loader gives."""
        if x.dim() == 4:
            x = self._encoder("patches")(x)
        x = F.normalize(x.float(), dim=-1)
        return x[:, 0], x[:, 1:]

    def image_features(self, x):
        pooled, patches = self.patch_features(x)
        like = torch.einsum("bnd,cd->bnc", patches, self.text_features())
        best = like.max(dim=2).values.argmax(dim=1)
        return F.normalize(pooled + patches[torch.arange(len(best)), best], dim=-1)


def test_patch_tokens_come_from_the_store_as_the_backbone_gives_them(toy):
    trainer = make(toy, BestPatch)
    stored = torch.cat([b["img"] for b in trainer.val_loader])
    assert stored.shape == (10, 17, trainer.backbone.embed_dim)
    images = make(toy, type("Pixels", (BestPatch,), {"image_input": "images"}))
    pixels = torch.cat([b["img"] for b in images.make_loader(trainer.dm.dataset.val)])
    with torch.no_grad():
        direct = [F.normalize(t, dim=-1) for t in trainer.backbone.encode_tokens(pixels)]
    for rows, online, expected in zip(
        trainer.patch_features(stored), images.patch_features(pixels), direct, strict=True
    ):
        assert torch.equal(rows, online)
        torch.testing.assert_close(rows, expected, atol=1e-3, rtol=0)  # the store's float16
    assert (direct[1][:, 0] - direct[1][:, 1]).abs().amax(dim=-1).min() > 0.01  # order is seen


def test_a_second_run_reads_patch_tokens_from_disk(toy, monkeypatch):
    first = make(toy, BestPatch, INPUT__FEATURE_VIEWS=1)
    first.train()
    assert (first.store_counts["misses"], first.store_counts["hits"]) == (20, 0)
    clear_tables()
    monkeypatch.setattr(feature_store, "_stores", {})  # as a new process would find it
    monkeypatch.setattr(FrozenEncoder, "__call__", lambda *a: pytest.fail("encoded again"))
    second = make(toy, BestPatch, INPUT__FEATURE_VIEWS=1)
    second.train()
    assert (second.store_counts["misses"], second.store_counts["hits"]) == (0, 20)
    assert second.losses == first.losses and len(set(first.losses)) > 1
    assert second.test("test") == first.test("test")


def test_stored_patch_tokens_train_as_online_without_augmentation(toy):
    stored = make(toy, BestPatch, INPUT__FEATURE_VIEWS=1)
    assert isinstance(stored.train_loader_x, FeatureLoader)
    stored.train()
    online = make(toy, BestPatch, INPUT__FEATURE_VIEWS=0)
    online.train()
    assert stored.losses == online.losses
    assert stored.test("test") == online.test("test")
