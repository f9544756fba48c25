"""Random states: seeding, saving and restoring all of them; seeds that depend on nothing else."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


@contextmanager
def random_kept() -> Iterator[None]:
    """Python's ``random`` is afterwards as it was before: for imports in the middle of a run.

    Some packages draw from it when they are first imported (rich does, which scikit-learn and
    others import where it is installed).
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def get_rng_state() -> dict[str, Any]:
    """Every global generator's state, in types that ``torch.load(weights_only=True)`` reads."""
    numpy_state: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy_state
    version, internal, gauss_next = random.getstate()
    return {
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss_next],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what ``get_rng_state`` returned; CUDA states only on devices there are."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss_next))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state.get("cuda") and torch.cuda.is_available():
        for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda_state.cpu(), device)


def stable_seed(*parts: Any) -> int:
    """A seed in [0, 2**63) from the parts' reprs: the same on every machine and in every run.

    For draws that must not touch, nor depend on, the global generators.
    """
    text = "\x1f".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
