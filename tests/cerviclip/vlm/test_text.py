"""The text tower's shortcuts (short columns, shared contexts, chunks) against the plain way."""

from __future__ import annotations

import copy

import pytest
import torch

from cerviclip.vlm import PromptLearner, encode_class_texts
from cerviclip.vlm.prompts import encode_in_chunks

NAMES = ["cyst", "mild_inflammation", "high-grade_squamous_intraepithelial_lesion", "cancer"]


@torch.no_grad()
def test_columns_behind_the_longest_prompt_change_nothing(vit, references):
    tokens = vit.tokenize(["cyst", "an image of cancer"])
    short = vit.text.longest(tokens)
    assert short < 12
    # 77 columns, as the clip package runs them, with junk behind the end tokens
    embeddings = vit.text.embed(tokens)
    embeddings[:, short:] = 7.0
    whole = vit.text.head(vit.text.run_blocks(vit.text.stem(embeddings)), tokens)
    assert torch.allclose(vit.encode_text(tokens), whole, atol=1e-5)
    assert torch.allclose(references["vit"].encode_text(tokens), whole, atol=1e-5)
    cut = vit.text.encode(embeddings[:, :short], tokens[:, :short])
    assert torch.allclose(cut, whole, atol=1e-5)


def test_longest_follows_a_changed_token_tensor(vit):
    tokens = vit.tokenize(["cyst"])
    assert vit.text.longest(tokens) == int(vit.text.lengths(tokens)) == 4
    tokens.copy_(vit.tokenize(["a cyst in the cervix"]))
    assert vit.text.longest(tokens) == int(vit.text.lengths(tokens)) == 9


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
def test_shared_context_run_once_gives_features_and_gradients_of_the_plain_way(vit, position, csc):
    learner = PromptLearner(vit, NAMES, n_ctx=5, csc=csc, position=position)
    target = torch.randn(len(NAMES), vit.embed_dim)
    plain = vit.text.encode(*learner())
    (plain * target).sum().backward()
    expected, learner.ctx.grad = learner.ctx.grad, None
    fast = learner.features(vit.text)
    (fast * target).sum().backward()
    assert torch.allclose(fast, plain, atol=1e-5)
    assert torch.allclose(learner.ctx.grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    assert learner.shared == (6 if position == "end" and not csc else 1)


def test_shared_context_is_run_once(vit):
    learner = PromptLearner(vit, NAMES, n_ctx=16)
    columns = []
    tower = copy.deepcopy(vit.text)
    hook = tower.blocks[0].ln_1.register_forward_hook(lambda m, i, o: columns.append(o[..., 0]))
    learner.features(tower)
    shared = columns.pop().numel()
    tower.encode(*learner())
    plain = columns.pop().numel()
    hook.remove()
    length = learner.tokens.shape[1]
    assert plain == 4 * length
    assert shared == 17 + 4 * (length - 17)


def test_chunks_give_the_same_features_and_gradients(vit):
    learner = PromptLearner(vit, NAMES * 3, n_ctx=4)
    target = torch.randn(12, vit.embed_dim)
    whole = learner.features(vit.text)
    (whole * target).sum().backward()
    expected, learner.ctx.grad = learner.ctx.grad, None
    rows = []
    hook = vit.text.ln_final.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    chunked = learner.features(vit.text, max_tokens=60)
    (chunked * target).sum().backward()
    hook.remove()
    assert max(rows) < 12 and len(rows) > 2  # run in parts, and again on the way back
    assert torch.allclose(chunked, whole, atol=1e-5)
    assert torch.allclose(learner.ctx.grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


@torch.no_grad()
def test_chunks_without_gradients_run_once(vit):
    tokens = vit.tokenize(["cyst", "cancer", "layers"])
    rows = []
    hook = vit.text.ln_final.register_forward_hook(lambda m, i, o: rows.append(len(o)))
    features = encode_in_chunks(vit.text, vit.text.embed(tokens), tokens, max_tokens=1)
    hook.remove()
    assert rows == [1, 1, 1]
    assert torch.allclose(features, vit.encode_text(tokens), atol=1e-5)


@torch.no_grad()
def test_class_features_are_normalised_means_of_normalised_prompts(vit):
    texts = [["a cyst", "smooth walls with a dark oval area"], ["cancer"], ["a cyst", "cancer"]]
    features = encode_class_texts(vit, texts, chunk=2)
    for row, group in zip(features, texts, strict=True):
        each = torch.nn.functional.normalize(vit.encode_text(vit.tokenize(group)), dim=-1)
        mean = torch.nn.functional.normalize(each.mean(dim=0), dim=0)
        assert torch.allclose(row, mean, atol=1e-6)
    assert features.dtype == torch.float32


def test_only_what_learns_keeps_activations(vit):
    """With frozen embeddings nothing of the text tower is recorded for backward."""
    tokens = vit.tokenize(["cyst"])
    assert not vit.encode_text(tokens).requires_grad
    assert PromptLearner(vit, ["cyst"], n_ctx=2).features(vit.text).requires_grad


@pytest.mark.filterwarnings("ignore:prompt of .* tokens cut")
def test_classes_whose_texts_are_equal_after_the_cut_are_named(vit):
    """Fault 25: their scores are the same to the last digit."""
    long = " ".join(["cell"] * 90)
    texts = [[f"{long} benign"], [f"{long} malignant"], ["a cyst"]]
    with pytest.warns(UserWarning, match="2 classes have the same text after"):
        features = encode_class_texts(vit, texts)
    assert torch.equal(features[0], features[1])
