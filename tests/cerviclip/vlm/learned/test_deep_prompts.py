"""Tokens that learn between the blocks, against the towers' own ways and plain transcriptions."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cerviclip.vlm import PromptLearner, apply_lora, lora_parameters
from cerviclip.vlm.learned.deep_prompts import DeepPrompts, text_prompts, vision_prompts
from cerviclip.vlm.prompts import encode_in_chunks
from dassl.errors import UserError

NAMES = ["cyst", "mild_inflammation", "high-grade_squamous_intraepithelial_lesion", "cancer"]


def same(index, tokens):
    return tokens


def limit_for(per_chunk, length):
    """``max_tokens`` of encode_in_chunks for so many classes a chunk; 0 is all of them."""
    return (1 + per_chunk) * length if per_chunk else 10**6


def prompts(count, n, width):
    return [nn.Parameter(torch.randn(n, width)) for _ in range(count)]


# -- nothing changes where nothing is asked for ---------------------------------------------------


@torch.no_grad()
def test_without_a_callback_the_blocks_are_run_one_after_the_other(vit):
    x, tokens = torch.randn(2, 3, 32, 32), vit.tokenize(NAMES)
    h = vit.visual.stem(x)
    for block in vit.visual.blocks:
        h = block(h)
    assert torch.equal(vit.visual.run_blocks(vit.visual.stem(x)), h)
    text = vit.text
    e = text.stem(text.embed(tokens))
    for block in text.blocks:
        e = block(e)
    assert torch.equal(text.run_blocks(text.stem(text.embed(tokens))), e)
    ends = tokens.argmax(-1)
    expected = text.ln_final(e[torch.arange(len(e)), ends]) @ text.text_projection
    assert torch.equal(text.head(e, tokens), expected)


@torch.no_grad()
def test_the_identity_callback_gives_the_same_bits(vit):
    x, tokens = torch.randn(2, 3, 32, 32), vit.tokenize(NAMES)
    hidden = vit.visual.run_blocks(vit.visual.stem(x), 0, 1)
    assert torch.equal(vit.visual(x, same), vit.visual(x))
    assert torch.equal(vit.visual.finish(hidden, 1, same), vit.visual.finish(hidden, 1))
    whole = vit.visual.run_blocks(vit.visual.stem(x))
    for a, b in zip(
        vit.visual.head(vit.visual.run_blocks(vit.visual.stem(x), before_block=same)),
        vit.visual.head(whole),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert torch.equal(vit.text(tokens, same), vit.text(tokens))


@torch.no_grad()
def test_the_callback_sees_each_block_once_also_over_stored_rows(vit):
    seen = []

    def look(index, tokens):
        seen.append((index, tokens.shape[1]))
        return tokens

    x = torch.randn(2, 3, 32, 32)
    stored = vit.visual.run_blocks(vit.visual.stem(x), 0, 1)
    vit.visual.finish(stored, 1, look)
    assert seen == [(1, 17), (2, 17)]
    seen.clear()
    vit.visual.run_blocks(vit.visual.run_blocks(stored, 1, 2, look), 2, None, look)
    assert seen == [(1, 17), (2, 17)]
    seen.clear()
    vit.text(vit.tokenize(["cyst"]), look)
    assert [index for index, _ in seen] == [0, 1, 2]


# -- vision ---------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_shallow_prompt_is_one_put_in_by_hand_behind_the_class_token(vit):
    tower, x, (p,) = vit.visual, torch.randn(2, 3, 32, 32), prompts(1, 4, 64)
    h = tower.stem(x)
    by_hand = torch.cat([h[:, :1], p.expand(2, -1, -1), h[:, 1:]], dim=1)
    shallow = vision_prompts(tower, [p])
    assert torch.equal(tower.run_blocks(h, before_block=shallow), tower.run_blocks(by_hand))
    assert torch.equal(tower.finish(h, 0, shallow), tower.finish(by_hand))
    pooled, patches = tower.head(tower.run_blocks(h, before_block=shallow))
    assert patches.shape == (2, 16, 32)  # the added tokens are no patches
    assert torch.allclose(pooled, tower.finish(h, 0, shallow), atol=1e-6)


def vpt_deep(model, x, deep):
    """VPT's equations on the clip package's own model: [cls, P_i, patches] = L_i([cls, P_i-1, ...
    with P_i-1 put in anew before each block that has prompts."""
    visual = model.visual
    h = visual.conv1(x).flatten(2).transpose(1, 2)
    h = torch.cat([visual.class_embedding.expand(len(h), 1, -1), h], dim=1)
    h = visual.ln_pre(h + visual.positional_embedding)
    cls, patches = h[:, :1], h[:, 1:]
    n = deep[0].shape[0]
    z = deep[0].expand(len(x), -1, -1)
    for i, block in enumerate(visual.transformer.resblocks):
        if i < len(deep):
            z = deep[i].expand(len(x), -1, -1)
        out = block(torch.cat([cls, z, patches], dim=1).transpose(0, 1)).transpose(0, 1)
        cls, z, patches = out[:, :1], out[:, 1 : 1 + n], out[:, 1 + n :]
    return visual.ln_post(cls[:, 0]) @ visual.proj, visual.ln_post(patches) @ visual.proj


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_vpt_equals_its_equations_and_gradients(vit, references, depth):
    x, deep = torch.randn(2, 3, 32, 32), prompts(depth, 3, 64)
    expected, patches = vpt_deep(references["vit"], x, deep)
    hidden = vit.visual.stem(x)  # what hidden:0 rows hold
    ours = vit.visual.finish(hidden, 0, vision_prompts(vit.visual, deep))
    assert torch.allclose(ours, expected, atol=1e-5)
    whole = vit.visual.run_blocks(hidden, before_block=vision_prompts(vit.visual, deep))
    assert torch.allclose(vit.visual.head(whole)[1], patches, atol=1e-5)
    target = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad((ours * target).sum(), deep),
        torch.autograd.grad((expected * target).sum(), deep),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


# -- text -----------------------------------------------------------------------------------------


def deep_text(model, learner, deep, start=1):
    """IVLP's and MaPLe's text side on the clip package's own model, class by class: the context's
    columns are put in anew before each block that has prompts."""
    embeddings, tokens = learner()
    length, n = embeddings.shape[1], learner.n_ctx
    mask = torch.full((length, length), float("-inf")).triu(1)
    features = []
    for c in range(len(embeddings)):
        x = embeddings[c] + model.positional_embedding[:length]
        for i, block in enumerate(model.transformer.resblocks):
            block.attn_mask = mask
            if 0 <= i - start < len(deep):
                p = deep[i - start]
                x = torch.cat([x[:1], p if p.dim() == 2 else p[c], x[1 + n :]])
            x = block(x.unsqueeze(1)).squeeze(1)
        features.append(model.ln_final(x[tokens[c].argmax()]) @ model.text_projection)
    return torch.stack(features)


@pytest.mark.parametrize("per_chunk", [1, 3, 0])
@pytest.mark.parametrize("kind", ["shared by all classes", "one for each class"])
def test_deep_text_prompts_equal_their_equations_in_chunks(vit, references, kind, per_chunk):
    model = copy.deepcopy(references["vit"])
    learner = PromptLearner(vit, NAMES, n_ctx=2)
    shape = (2, 128) if kind.startswith("shared") else (len(NAMES), 2, 128)
    deep = [nn.Parameter(torch.randn(shape)) for _ in range(2)]
    expected = deep_text(model, learner, deep)
    limit = limit_for(per_chunk, learner.tokens.shape[1])
    ours = learner.features(vit.text, limit, text_prompts(vit.text, deep))
    assert torch.allclose(ours, expected, atol=1e-5)
    learned = [learner.ctx, *deep]
    target = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad((ours * target).sum(), learned),
        torch.autograd.grad((expected * target).sum(), learned),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("per_chunk", [1, 3, 0])
def test_a_prompt_for_each_class_in_the_middle_of_the_tower_as_in_tcp(vit, references, per_chunk):
    model = copy.deepcopy(references["vit"])
    learner, mlp = PromptLearner(vit, NAMES, n_ctx=4), nn.Linear(32, 4 * 128)
    texts = F.normalize(torch.randn(len(NAMES), 32), dim=-1)
    made = mlp(texts).view(-1, 4, 128)
    limit = limit_for(per_chunk, learner.tokens.shape[1])
    ours = learner.features(vit.text, limit, text_prompts(vit.text, [made], start=2))
    assert torch.allclose(ours, deep_text(model, learner, [made], start=2), atol=1e-5)
    ours.square().sum().backward()
    assert mlp.weight.grad.abs().sum() > 0 and learner.ctx.grad.abs().sum() > 0


@pytest.mark.parametrize("per_chunk", [1, 3, 0])
def test_tokens_added_to_a_text_move_its_end_token(vit, per_chunk):
    """Added in the embeddings' own columns by hand, the prompt gives the same features."""
    tower, (p, q) = vit.text, prompts(2, 3, 128)
    tokens = vit.tokenize(NAMES)
    length = tower.longest(tokens)
    added = DeepPrompts([p, q], start=0, at=1, insert=True)
    limit = limit_for(per_chunk, length)
    ours = encode_in_chunks(tower, tower.embed(tokens), tokens, 0, limit, added)
    for c in range(len(NAMES)):
        end = int(tokens[c].argmax())
        h = tower.stem(tower.embed(tokens[c : c + 1, :length]))
        h = torch.cat([h[:, :1], p.unsqueeze(0), h[:, 1:]], dim=1)
        for i, block in enumerate(tower.blocks):
            if i == 1:
                h = torch.cat([h[:, :1], q.unsqueeze(0), h[:, 4:]], dim=1)
            h = block(h)
        expected = tower.ln_final(h[0, end + 3]) @ tower.text_projection
        assert torch.allclose(ours[c], expected, atol=1e-5)
    h = tower.run_blocks(tower.stem(tower.embed(tokens)), before_block=added)
    assert torch.allclose(tower.head(h, tokens), ours, atol=1e-5)  # read in the right place, too


def test_what_was_added_may_be_dropped_again_and_own_tokens_may_not(vit):
    tower, tokens, (p,) = vit.text, vit.tokenize(NAMES), prompts(1, 2, 128)

    def for_one_block(index, h):
        if index == 0:
            return torch.cat([h[:, :1], p.expand(len(h), -1, -1), h[:, 1:]], dim=1)
        return torch.cat([h[:, :1], h[:, 3:]], dim=1) if index == 1 else h

    h = tower.stem(tower.embed(tokens))
    h = torch.cat([h[:, :1], p.expand(len(h), -1, -1), h[:, 1:]], dim=1)
    h = tower.blocks[0](h)
    expected = tower.head(tower.run_blocks(torch.cat([h[:, :1], h[:, 3:]], dim=1), 1), tokens)
    assert torch.allclose(tower(tokens, for_one_block), expected, atol=1e-5)
    with pytest.raises(ValueError, match="own"):
        tower(tokens, lambda i, h: h[:, 1:])


def test_contexts_made_chunk_by_chunk_equal_those_made_at_once(vit):
    """A context for each image and class (CoCoOp), whose embeddings are never there as a whole."""
    learner, shifts = PromptLearner(vit, NAMES, n_ctx=2), torch.randn(3, 1, 2, 128)
    embeddings, tokens = learner()
    tokens = tokens.repeat(3, 1)  # 3 images, 4 classes each
    largest = 0

    def rows(part):
        nonlocal largest
        index = torch.arange(len(tokens))[part]
        largest = max(largest, len(index))
        return learner.place(learner.ctx + shifts[index // 4, 0], index % 4)

    by_hand = [
        torch.cat([embeddings[:, :1], (learner.ctx + s).expand(4, -1, -1), embeddings[:, 3:]], 1)
        for s in shifts[:, 0]
    ]
    whole = vit.text.encode(torch.cat(by_hand), tokens)
    expected = torch.autograd.grad(whole.square().sum(), learner.ctx, retain_graph=True)[0]
    largest = 0
    ours = encode_in_chunks(vit.text, rows, tokens, 0, limit_for(3, tokens.shape[1]))
    assert largest == 3
    assert torch.allclose(ours, whole, atol=1e-5)
    (gradient,) = torch.autograd.grad(ours.square().sum(), learner.ctx)
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


# -- branches beside the blocks (MMA) -------------------------------------------------------------


@pytest.mark.parametrize("side", ["vision", "text"])
def test_a_branch_beside_the_upper_blocks_is_added_behind_them(vit, side):
    tower = vit.text if side == "text" else vit.visual
    down, up = nn.Linear(tower.width, 8), nn.Linear(8, tower.width)

    def mma(index, h):
        return (h, 0.1 * up(down(h).relu())) if index >= 1 else h

    given = vit.tokenize(NAMES) if side == "text" else torch.randn(2, 3, 32, 32)
    h = tower.stem(tower.embed(given)) if side == "text" else tower.stem(given)
    for i, block in enumerate(tower.blocks):
        h = block(h) + (0.1 * up(down(h).relu()) if i >= 1 else 0)
    expected = tower.head(h, given) if side == "text" else tower.head(h)[0]
    ours = tower(given, mma)
    assert torch.allclose(ours, expected, atol=1e-5)
    ours.square().sum().backward()
    assert up.weight.grad.abs().sum() > 0


def test_prompts_and_lora_learn_together(vit):
    tower, deep = apply_lora(vit.visual, r=2).train(), prompts(2, 2, 64)
    features = tower(torch.randn(2, 3, 32, 32), vision_prompts(tower, deep))
    features.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in deep)
    assert lora_parameters(tower)[1].grad.abs().sum() > 0


# -- what cannot work is said in one line ---------------------------------------------------------


def test_a_resnet_refuses_and_names_towers_that_can(resnet):
    tower = resnet.visual
    x = torch.randn(1, 3, *resnet.preprocess.size)
    for call in (
        lambda: vision_prompts(tower, prompts(1, 2, tower.width)),
        lambda: tower(x, same),
        lambda: tower.run_blocks(tower.stem(x), before_block=same),
    ):
        with pytest.raises(UserError, match="ResNetTower.*ViT-B/16.*BiomedCLIP"):
            call()
    assert resnet.text(resnet.tokenize(["a"]), same).shape == (1, resnet.embed_dim)


def test_too_many_layers_of_prompts_are_counted(vit):
    with pytest.raises(UserError, match="4 blocks from block 0.*has 3"):
        vision_prompts(vit.visual, prompts(4, 2, 64))
    with pytest.raises(UserError, match="3 blocks from block 1.*has 3"):
        text_prompts(vit.text, prompts(3, 2, 128))
    with pytest.raises(ValueError, match="n must be one"):
        vision_prompts(vit.visual, [torch.zeros(2, 64), torch.zeros(3, 64)])
