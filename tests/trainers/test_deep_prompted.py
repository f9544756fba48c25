"""VPT, IVLP and MaPLe: depth 1 is a shallow prompt, and deep prompts are those of the papers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import (
    first_batch,
    image_by_hand,
    step,
    template_features,
    text_by_hand,
)

from dassl.errors import UserError


def depth(name, vision, text=None):
    section = f"TRAINER.{name.upper()}"
    if name == "MaPLe":
        return (f"{section}.PROMPT_DEPTH", vision)
    opts = (f"{section}.PROMPT_DEPTH_VISION", vision)
    return opts if name == "VPT" else (*opts, f"{section}.PROMPT_DEPTH_TEXT", text or vision)


def case(name):
    return TrainerCase(
        name,
        depth(name, 2),
        steps={"as it is": depth(name, 2), "shallow, stored": (
            *depth(name, 1), "INPUT.FEATURE_VIEWS", 2)},
        stored=depth(name, 2),
    )  # fmt: skip


NAMES = ("VPT", "IVLP", "MaPLe")
CASE = tuple(case(name) for name in NAMES)
PROMPTED_TEXT = ("IVLP", "MaPLe")


def text_layers(trainer):
    return trainer.prompts.text.layers()


@pytest.mark.parametrize("name", PROMPTED_TEXT)
def test_an_untrained_shallow_text_prompt_is_the_template(build, name):
    trainer = build(name, *depth(name, 1))
    clip = template_features(trainer.backbone, trainer.task.classnames, "a photo of a {}.")
    with torch.no_grad():
        assert torch.allclose(trainer.class_features(), clip, atol=1e-5)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_logits_are_the_papers(build, name, blocks):
    trainer = build(name, *depth(name, blocks), "INPUT.FEATURE_VIEWS", 0)
    backbone = trainer.backbone
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)

    if name == "VPT":
        classes, vision = trainer.text_features(), list(trainer.prompts)
    else:
        first, layers = trainer.prompts.text.first, text_layers(trainer)
        replaced = dict(enumerate(layers[1:], start=1))
        classes = text_by_hand(backbone, first()[0], first.tokens, replaced)
        vision = trainer.prompts.vision
        if name == "MaPLe":
            pairs = zip(trainer.prompts.couplings, layers, strict=True)
            vision = [p @ coupling.weight.t() + coupling.bias for coupling, p in pairs]
    assert len(vision) == blocks
    images = image_by_hand(backbone, backbone.visual.stem(x), dict(enumerate(vision)))
    expected = backbone.logit_scale.exp() * images @ classes.t()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, F.cross_entropy(expected, label), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_depth_1_is_a_shallow_prompt(build, name):
    """The tokens are put in once, before the first block, and run on as any token."""
    trainer = build(name, *depth(name, 1), "INPUT.FEATURE_VIEWS", 0)
    x, _ = first_batch(trainer)
    tower = trainer.backbone.visual
    with torch.no_grad():
        h = tower.stem(x)
        (prompt,) = trainer.visual_prompts()
        h = torch.cat([h[:, :1], prompt.expand(len(h), -1, -1), h[:, 1:]], dim=1)
        images = F.normalize(tower.finish(h), dim=-1)
        classes = trainer.class_features()
        if name != "VPT":
            (ctx,) = text_layers(trainer)
            first = trainer.prompts.text.first
            plain = trainer.backbone.text.encode(first.place(ctx), first.tokens)
            assert torch.allclose(classes, F.normalize(plain, dim=-1), atol=1e-6)
        expected = trainer.backbone.scale * images @ classes.t()
        torch.testing.assert_close(trainer.model_inference(x), expected, rtol=0, atol=1e-4)


def test_maple_learns_so_many_words_and_keeps_the_others(build):
    text = build("MaPLe", *depth("MaPLe", 2)).prompts.text
    assert [tuple(layer.shape) for layer in text.layers()] == [(2, 64), (2, 64)]
    four = build("MaPLe", *depth("MaPLe", 2), "TRAINER.MAPLE.N_CTX", 4).prompts.text
    assert torch.equal(text.first.tokens, four.first.tokens)
    torch.testing.assert_close(text.first()[0], four.first()[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_the_prompts_alone(build, name):
    trainer = build(name, *depth(name, 2), "OPTIM.LR", 0.1)
    learned = {f"prompts.{key}" for key in trainer.prompts.state_dict()}
    assert step(trainer) == learned
    assert learned == {
        "VPT": {"prompts.0", "prompts.1"},
        "IVLP": {"prompts.text.first.ctx", "prompts.text.later.0", "prompts.vision.0",
                 "prompts.vision.1"},
        "MaPLe": {"prompts.text.first.ctx", "prompts.text.later.0",
                  *(f"prompts.couplings.{i}.{k}" for i in (0, 1) for k in ("weight", "bias"))},
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_resnet_is_refused_and_what_works_is_named(build, name, resnet_file):
    with pytest.raises(UserError, match="deep visual prompts need.*choose a ViT.*ViT-B/16"):
        build(name, *depth(name, 1), "MODEL.INIT_WEIGHTS", resnet_file)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blocks, message", [(3, "has 2 blocks; lower the depth"), (0, "is 0; ta")])
def test_a_depth_that_the_tower_has_not_is_refused(build, name, blocks, message):
    with pytest.raises(UserError, match=message):
        build(name, *depth(name, blocks, 1))


def test_words_that_are_too_few_are_refused(build):
    with pytest.raises(UserError, match="'a photo' starts with 2 tokens and N_CTX is 4"):
        build("IVLP", *depth("IVLP", 1), "TRAINER.IVLP.CTX_INIT", "a photo")
