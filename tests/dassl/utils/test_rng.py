"""Seeding, and restoring every generator."""

from __future__ import annotations

import io
import random

import numpy as np
import torch

from dassl.utils import (
    get_rng_state,
    random_kept,
    set_random_seed,
    set_rng_state,
    stable_seed,
)


def draw():
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(1)),
        float(torch.randn(3)[1]),
    )


def test_seed_fixes_all_three():
    set_random_seed(3)
    first = draw()
    set_random_seed(3)
    assert draw() == first
    set_random_seed(4)
    assert draw() != first


def test_state_goes_through_a_weights_only_file():
    set_random_seed(3)
    draw()  # leaves half a pair of normal draws in Python's and NumPy's state
    buffer = io.BytesIO()
    torch.save(get_rng_state(), buffer)
    expected = [draw() for _ in range(3)]
    buffer.seek(0)
    set_random_seed(99)
    set_rng_state(torch.load(buffer, weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_stable_seed_depends_on_the_parts_alone():
    # Worked out once with hashlib.sha256 over the reprs; must never change: draws depend on it.
    assert stable_seed("PhantomOCT", "abc", 4, 1) == stable_seed("PhantomOCT", "abc", 4, 1)
    assert stable_seed("a", "bc") != stable_seed("ab", "c")
    assert stable_seed(1) != stable_seed("1")
    set_random_seed(0)
    before = draw()
    set_random_seed(0)
    stable_seed("x")
    assert draw() == before
    assert 0 <= stable_seed("x") < 2**63
    import hashlib

    digest = hashlib.sha256(b"'x'\x1f7").digest()
    assert stable_seed("x", 7) == int.from_bytes(digest[:8], "big") // 2


def test_random_kept_undoes_the_draws_of_an_import_even_one_that_fails():
    set_random_seed(3)
    expected = draw()
    set_random_seed(3)
    for error in (None, ImportError):
        try:
            with random_kept():
                random.random()
                if error is not None:
                    raise error
        except ImportError:
            pass
    assert draw() == expected
