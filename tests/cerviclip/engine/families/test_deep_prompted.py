"""Deep text prompts: a context of words of which some learn, and what replaces it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from cerviclip.engine.families.deep_prompted import DeepTextPrompts
from cerviclip.vlm import load_backbone
from dassl.errors import UserError
from helpers import tiny_clip_state_dict

NAMES = ["cyst", "mild_inflammation"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(tiny_clip_state_dict(), path)
    return load_backbone("CLIP", path)


@pytest.mark.parametrize("n_ctx", [1, 2, 4])
def test_of_depth_1_it_is_the_template_however_many_words_learn(backbone, n_ctx):
    prompts = DeepTextPrompts(backbone, NAMES, n_ctx, "a photo of a", 1)
    texts = ["a photo of a cyst.", "a photo of a mild inflammation."]
    with torch.no_grad():
        ours = F.normalize(prompts.features(backbone.text), dim=-1)
        template = F.normalize(backbone.encode_text(backbone.tokenize(texts)), dim=-1)
    assert torch.allclose(ours, template, atol=1e-5)
    assert [tuple(p.shape) for p in prompts.layers()] == [(n_ctx, 64)]


def test_without_words_the_context_is_random(backbone):
    prompts = DeepTextPrompts(backbone, NAMES, 3, "", 2)
    assert [tuple(p.shape) for p in prompts.layers()] == [(3, 64), (3, 64)]
    assert all(0.01 < p.std() < 0.03 for p in prompts.layers())


@pytest.mark.parametrize("words, tokens", [("a photo", 2), ("immunohistochemistry photo of a", 7)])
def test_words_that_are_no_single_tokens_or_too_few_are_refused(backbone, words, tokens):
    with pytest.raises(UserError, match=rf"starts with {tokens} tokens and N_CTX is 4"):
        DeepTextPrompts(backbone, NAMES, 4, words, 1)
