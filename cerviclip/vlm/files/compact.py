"""Compact storage of a small CLIP: fp16, without the token embeddings that training never touched.

In place of ``token_embedding.weight`` (V, W) stand ``token_embedding.rows`` (ids) and
``token_embedding.values``; the other rows are drawn again from a fixed seed when the file is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROWS, VALUES, FULL = (f"token_embedding.{part}" for part in ("rows", "values", "weight"))
VOCABULARY = "token_embedding.vocabulary"
FILL_SEED = 20260101
FILL_STD = 0.02


def untouched_rows(vocabulary: int, width: int) -> Tensor:
    """Token embeddings (V, W) as before training; numpy's legacy stream is the same everywhere."""
    values = np.random.RandomState(FILL_SEED).standard_normal((vocabulary, width))
    return torch.from_numpy((FILL_STD * values).astype(np.float32))


def is_compact(state: dict[str, Tensor]) -> bool:
    return ROWS in state


def expand_compact(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The full state dict, float32, under OpenAI's names."""
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    rows, values = state.pop(ROWS), state.pop(VALUES)
    full = untouched_rows(int(state.pop(VOCABULARY)), values.shape[1])
    full[rows] = values
    state[FULL] = full
    return state


def save_compact_clip(
    path: str | Path,
    state: dict[str, Tensor],
    used_rows: Iterable[int],
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a CLIP's state dict as safetensors in the compact form, atomically.

    Training should start from ``untouched_rows``, so that what is left out is what it was.

    Args:
        path: the file to write.
        state: full state dict under OpenAI's names.
        used_rows: token ids whose embedding training may have changed (start and end token too).
        metadata: words for the file's header (architecture, generator version, ...).
    """
    from safetensors.torch import save

    from dassl.utils.files import atomic_write

    rows = torch.tensor(sorted(set(used_rows)), dtype=torch.int64)
    embedding = state[FULL]
    small = {
        key: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu()
        for key, value in state.items()
        if key != FULL
    }
    small["logit_scale"] = state["logit_scale"].detach().cpu().float()
    small[ROWS] = rows
    small[VALUES] = embedding.detach().cpu()[rows].half().contiguous()
    small[VOCABULARY] = torch.tensor(embedding.shape[0])
    words = {key: w if isinstance(w, str) else json.dumps(w) for key, w in (metadata or {}).items()}
    with atomic_write(path, "wb") as file:
        file.write(save(small, metadata={"format": "compact-clip-1", **words}))
