from __future__ import annotations

import pytest
import torch

from cerviclip.vlm import PromptLearner, class_texts
from cerviclip.vlm.towers.clip_package import import_clip
from dassl.errors import UserError

NAMES = ["cyst", "high-grade_squamous_lesion", "cancer"]


def coop_prompts(model, classnames, ctx, prefix_words, position):
    """Prompt embeddings as the CoOp paper's code puts them together, class by class."""
    clip = import_clip()
    count = ctx.shape[-2]
    names = [name.replace("_", " ") for name in classnames]
    tokens = clip.tokenize([f"{prefix_words} {name}." for name in names])
    embedded = model.token_embedding(tokens)
    rows = []
    for i, name in enumerate(names):
        own = ctx if ctx.dim() == 2 else ctx[i]
        length = len(clip.clip._tokenizer.encode(name))
        start, suffix = embedded[i, :1], embedded[i, 1 + count :]
        words, rest = suffix[:length], suffix[length:]
        half = count // 2
        rows.append(
            {
                "end": torch.cat([start, own, suffix]),
                "middle": torch.cat([start, own[:half], words, own[half:], rest]),
                "front": torch.cat([start, words, own, rest]),
            }[position]
        )
    return torch.stack(rows), tokens


def coop_text_features(model, prompts, tokens):
    x = (prompts + model.positional_embedding).permute(1, 0, 2)
    x = model.ln_final(model.transformer(x).permute(1, 0, 2))
    return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ model.text_projection


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
def test_parity_with_coops_construction(vit, references, position, csc):
    learner = PromptLearner(vit, NAMES, n_ctx=4, csc=csc, position=position)
    assert learner.ctx.shape == ((3, 4, 128) if csc else (4, 128))
    model = references["vit"]
    prompts, tokens = coop_prompts(model, NAMES, learner.ctx, "X X X X", position)
    ours, our_tokens = learner()
    length = ours.shape[1]
    assert torch.equal(our_tokens, tokens[:, :length])
    assert torch.equal(ours, prompts[:, :length])
    expected = coop_text_features(model, prompts, tokens)
    assert torch.allclose(learner.features(vit.text), expected, atol=1e-5)


def test_ctx_init_starts_from_the_words(vit, references):
    learner = PromptLearner(vit, NAMES, n_ctx=16, ctx_init="a_photo of a")
    assert learner.n_ctx == 4
    expected = vit.encode_text(
        vit.tokenize([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    )
    assert torch.allclose(learner.features(vit.text), expected, atol=1e-5)


def test_a_word_of_several_tokens_counts_each_of_them(vit):
    learner = PromptLearner(vit, ["cyst"], ctx_init="a colposcopy image of")
    count = int(vit.text.lengths(vit.tokenize(["a colposcopy image of"]))) - 2
    assert learner.n_ctx == count > 4


def test_csc_with_ctx_init_starts_every_class_from_the_words(vit):
    learner = PromptLearner(vit, NAMES, ctx_init="an image of", csc=True)
    assert learner.ctx.shape == (3, 3, 128)
    assert torch.equal(learner.ctx[0], learner.ctx[2])


def test_a_checkpoint_is_the_context_alone(vit):
    learner = PromptLearner(vit, NAMES, n_ctx=4)
    assert list(learner.state_dict()) == ["ctx"]
    assert [name for name, p in learner.named_parameters() if p.requires_grad] == ["ctx"]


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_other_contexts_are_placed_in_the_prompts_of_chosen_classes(vit, position):
    learner = PromptLearner(vit, NAMES, n_ctx=3, csc=True, position=position)
    classes = torch.tensor([2, 0, 2])
    whole, _ = learner()
    assert torch.equal(learner.place(learner.ctx[classes], classes), whole[classes])


def test_wrong_settings_are_named(vit):
    with pytest.raises(UserError, match="left"):
        PromptLearner(vit, NAMES, position="left")
    with pytest.raises(UserError, match="N_CTX is 0"):
        PromptLearner(vit, NAMES, n_ctx=0)
    with pytest.raises(UserError, match="high-grade_squamous_lesion.*need 81 columns.*has 77"):
        PromptLearner(vit, NAMES, n_ctx=70)


def test_class_texts_from_templates_and_descriptions():
    assert class_texts(["a_b", "c"], ["an {}.", "the {}"]) == [
        ["an a b.", "the a b"],
        ["an c.", "the c"],
    ]
    described = {"a_b": ["layers"], "c": ["dark", "oval"], "unused": ["x"]}
    assert class_texts(["c", "a_b"], descriptions=described) == [["dark", "oval"], ["layers"]]
    with pytest.raises(UserError, match="'d'"):
        class_texts(["c", "d"], descriptions=described)
    with pytest.raises(UserError, match="TEMPLATES"):
        class_texts(["c"], [])
