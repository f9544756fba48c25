"""What tests of prompt learners share: the towers written out plainly, and one step observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def first_batch(trainer: Any) -> tuple[Tensor, Tensor]:
    """Input and labels of a training batch."""
    return trainer.parse_batch_train(next(iter(trainer.train_loader_x)))


def text_by_hand(
    backbone: Any, prompts: Tensor, tokens: Tensor, replaced: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Unit features (C, D) of prompt embeddings (C, L, W), block after block.

    Args:
        replaced: block -> (n, W) or (C, n, W) put in place of the context before it.
    """
    tower = backbone.text
    h = tower.stem(prompts)
    for index, block in enumerate(tower.blocks):
        if replaced and index in replaced:
            new = replaced[index].expand(len(h), -1, -1)
            h = torch.cat([h[:, :1], new, h[:, 1 + new.shape[1] :]], dim=1)
        h = block(h)
    ends = h[torch.arange(len(h)), tokens.argmax(dim=-1)]
    return F.normalize(tower.ln_final(ends) @ tower.text_projection, dim=-1)


def image_by_hand(backbone: Any, hidden: Tensor, prompts: Mapping[int, Tensor]) -> Tensor:
    """Unit features (B, D) of tokens (B, T, W) that enter block 0, with prompts (n, W) behind the
    class token: added before the first block, and put in anew before the others."""
    tower = backbone.visual
    cls, patches = hidden[:, :1], hidden[:, 1:]
    added = hidden[:, :0]
    for index, block in enumerate(tower.blocks):
        if index in prompts:
            added = prompts[index].expand(len(hidden), -1, -1)
        out = block(torch.cat([cls, added, patches], dim=1))
        cls, added, patches = out[:, :1], out[:, 1:-16], out[:, -16:]
    return F.normalize(tower.ln_post(cls[:, 0]) @ tower.proj, dim=-1)


def template_features(backbone: Any, classnames: Any, template: str) -> Tensor:
    """Unit features (C, D) of one template, by the backbone's own way."""
    texts = [template.format(name.replace("_", " ")) for name in classnames]
    return F.normalize(backbone.encode_text(backbone.tokenize(texts)), dim=-1)


def step(trainer: Any) -> set[str]:
    """Train for one step; names of the learner's tensors that changed.

    Fails where the step reaches the shared backbone.
    """
    trainer.prepare_training()
    trainer.set_model_mode("train")
    frozen = trainer.backbone.fingerprint()
    models = {name: trainer._models[name] for name in trainer.get_model_names()}
    before = {f"{n}.{k}": v.clone() for n, m in models.items() for k, v in m.state_dict().items()}
    trainer.batch_idx, trainer.num_batches = 0, 1000
    trainer.forward_backward(next(iter(trainer.train_loader_x)))
    assert trainer.backbone.fingerprint() == frozen
    assert not any(p.requires_grad for p in trainer.backbone.parameters())
    after = {f"{n}.{k}": v for n, m in models.items() for k, v in m.state_dict().items()}
    return {key for key, value in after.items() if not torch.equal(value, before[key])}
