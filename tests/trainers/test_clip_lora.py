"""CLIP-LoRA: the untrained model is zero-shot, and only adapters learn and are saved."""

from __future__ import annotations

import sys

import pytest
import torch
from cases import TrainerCase

from cerviclip.vlm.learned.lora import LoRALinear
from dassl.errors import UserError

CASE = TrainerCase(
    "CLIPLoRA",
    ("TRAIN.MAX_ITERS", 3),
    steps={
        "as it is": (),
        "last block": ("TRAINER.CLIPLORA.BLOCKS", 1),
        "stored": ("INPUT.FEATURE_VIEWS", 2),
    },
    stored=("TRAINER.CLIPLORA.BLOCKS", 1, "TRAINER.CLIPLORA.ITERS_PER_SHOT", 1),
)

SHORT = ("TRAIN.MAX_ITERS", 3)


def pixels(trainer):
    batch = next(iter(trainer.train_loader_x))
    return batch["img"]


@pytest.mark.parametrize("encoder", ["both", "vision", "text"])
def test_untrained_adapters_change_no_bit_of_the_zero_shot_logits(build, encoder):
    lora = build("CLIPLoRA", "TRAINER.CLIPLORA.ENCODER", encoder, *SHORT)
    x = pixels(lora)
    backbone, prompts = lora.backbone, lora.class_texts()
    with torch.no_grad():
        image = torch.nn.functional.normalize(backbone.encode_image(x), dim=-1)
        text = backbone.encode_text(backbone.tokenize([group[0] for group in prompts]))
        text = torch.nn.functional.normalize(text, dim=-1)
        expected = backbone.scale * image @ text.t()
        lora.set_model_mode("eval")
        torch.testing.assert_close(lora.model_inference(x), expected, rtol=0, atol=2e-3)


def test_scales_by_alpha_over_the_rank_and_says_that_the_code_does_not(build):
    """Paper and reference code part here; who wants the code's number sets ALPHA."""
    lora = build("CLIPLoRA", "TRAINER.CLIPLORA.R", 4, "TRAINER.CLIPLORA.ALPHA", 2.0, *SHORT)
    scales = {m.scaling for m in lora.visual.modules() if isinstance(m, LoRALinear)}
    assert scales == {0.5}
    assert "sqrt(R)" in sys.modules[type(lora).__module__].__doc__


@pytest.mark.parametrize("encoder, names", [("both", 2), ("vision", 1), ("text", 1)])
def test_trains_the_asked_towers_for_exactly_so_many_steps(build, encoder, names):
    trainer = build("CLIPLoRA", "TRAINER.CLIPLORA.ENCODER", encoder, *SHORT)
    assert len(trainer.get_model_names()) == names
    start = {n: {k: v.clone() for k, v in trainer._models[n].state_dict().items()}
             for n in trainer.get_model_names()}  # fmt: skip
    steps = []
    step = trainer.forward_backward
    trainer.forward_backward = lambda batch: steps.append(1) or step(batch)
    trainer.train()
    assert len(steps) == 3
    for name, state in start.items():
        now = trainer._models[name].state_dict()
        assert all("lora" in key for key in now)
        assert any(not torch.equal(now[key], value) for key, value in state.items())


def test_iterations_are_so_many_per_shot(build):
    assert build("CLIPLoRA", shots=2).max_iters == 1000
    assert build("CLIPLoRA", "TRAINER.CLIPLORA.ITERS_PER_SHOT", 7, shots=3).max_iters == 21


def test_only_the_last_blocks_are_run_when_only_they_learn(build):
    trainer = build("CLIPLoRA", "TRAINER.CLIPLORA.BLOCKS", 1, "INPUT.FEATURE_VIEWS", 1, *SHORT)
    assert trainer.first_block == 1
    batch = next(iter(trainer.train_loader_x))
    assert batch["img"].shape[1:] == (17, 64)  # stored tokens, not pixels
    trainer.train()


def test_merged_for_inference_equals_unmerged(build):
    trainer = build("CLIPLoRA", "TRAINER.CLIPLORA.DROPOUT", 0.0, *SHORT)
    trainer.train()
    x = pixels(trainer)
    trainer.set_model_mode("train")
    open_logits = trainer.model_inference(x).detach()
    trainer.set_model_mode("eval")
    with torch.no_grad():
        torch.testing.assert_close(trainer.model_inference(x), open_logits, rtol=1e-4, atol=1e-4)


def test_more_blocks_than_the_tower_has_are_refused(build):
    with pytest.raises(UserError, match="last 9 blocks.*has 2"):
        build("CLIPLoRA", "TRAINER.CLIPLORA.BLOCKS", 9)


def test_an_unknown_encoder_is_refused(build):
    with pytest.raises(UserError, match="ENCODER is 'image'"):
        build("CLIPLoRA", "TRAINER.CLIPLORA.ENCODER", "image")


def test_trains_and_scores_in_bf16(run):
    _, results = run("CLIPLoRA", "TRAIN.MAX_ITERS", "2", "TRAINER.CLIPLORA.PREC", "bf16")
    assert results["status"] == "done"
