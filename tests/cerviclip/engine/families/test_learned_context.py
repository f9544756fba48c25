"""The keys of a learned context are CoOp's, whatever method has them."""

from __future__ import annotations

from yacs.config import CfgNode as CN

from cerviclip.engine.families.learned_context import add_context_keys


def test_keys_are_those_of_coop():
    section = CN()
    add_context_keys(section, n_ctx=4, ctx_init="a photo of a")
    assert dict(section) == {
        "PREC": "fp32",
        "N_CTX": 4,
        "CSC": False,
        "CTX_INIT": "a photo of a",
        "CLASS_TOKEN_POSITION": "end",
    }
