"""PromptSRC: its four losses, and the average of the epochs' prompts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, image_by_hand, step, template_features, text_by_hand

from dassl.errors import UserError

SHALLOW = ("TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", 2, "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", 2)
CASE = TrainerCase(
    "PromptSRC",
    SHALLOW,
    steps={"as it is": SHALLOW, "stored": (*SHALLOW, "INPUT.FEATURE_VIEWS", 2)},
    stored=SHALLOW,
)
ONE_TEXT = ("DATASET.TEMPLATES", "('a photo of a {}.',)")


def test_weights_of_the_epochs_are_a_gaussian_that_sums_to_1(module_of):
    weights = module_of("PromptSRC").epoch_weights(5, 4.0, 1.5)
    plain = [math.exp(-((e - 4.0) ** 2) / (2 * 1.5**2)) for e in range(1, 6)]
    assert torch.allclose(weights, torch.tensor(plain, dtype=torch.float64) / sum(plain))
    late = module_of("PromptSRC").epoch_weights(2, 300.0, 1.0)  # all are far from the mean
    assert torch.allclose(late, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_loss_and_logits_are_the_papers(build):
    trainer = build("PromptSRC", *SHALLOW, *ONE_TEXT, "INPUT.FEATURE_VIEWS", 0)
    backbone, prompts = trainer.backbone, trainer.prompts
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)

    first, (_, second) = prompts.text.first, prompts.text.layers()
    t = text_by_hand(backbone, first()[0], first.tokens, {1: second})
    f = image_by_hand(backbone, backbone.visual.stem(x), dict(enumerate(prompts.vision)))
    t0 = template_features(backbone, trainer.task.classnames, "a photo of a {}.")
    f0 = F.normalize(backbone.encode_image(x), dim=-1)
    s = backbone.logit_scale.exp()
    expected, frozen = s * f @ t.t(), s * f0 @ t0.t()
    p0 = frozen.softmax(-1)
    divergence = (p0 * (p0.log() - expected.log_softmax(-1))).mean()
    wanted = F.cross_entropy(expected, label) + divergence
    wanted = wanted + 10 * (f - f0).abs().mean() + 25 * (t - t0).abs().mean()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-3)


def test_the_final_prompts_are_the_average_of_the_epochs(build, module_of):
    gaussian = ("TRAINER.PROMPTSRC.GPA_MEAN", 2.0, "TRAINER.PROMPTSRC.GPA_STD", 1.0)
    trainer = build("PromptSRC", *SHALLOW, *gaussian, "OPTIM.MAX_EPOCH", 3, "OPTIM.LR", 0.05)
    epochs = []
    add = trainer.prompts.add
    trainer.prompts.add = lambda weight: (
        epochs.append([p.detach().clone() for p in trainer.prompts.parameters()]),
        add(weight),
    )
    trainer.train()
    weights = module_of("PromptSRC").epoch_weights(3, 2.0, 1.0).float()
    assert len(epochs) == 3
    for i, final in enumerate(trainer.prompts.parameters()):
        mean = sum(w * epoch[i] for w, epoch in zip(weights, epochs, strict=True))
        torch.testing.assert_close(final.detach(), mean, rtol=0, atol=1e-6)
        assert not torch.equal(final.detach(), epochs[-1][i])


def test_a_resumed_run_goes_on_with_the_sums(build, tmp_path):
    def final(folder, *stops):
        for stop in (*stops, None):
            out = ("OUTPUT_DIR", tmp_path / folder, "OPTIM.MAX_EPOCH", 2)
            trainer = build("PromptSRC", *SHALLOW, *out, "TRAIN.CHECKPOINT_FREQ", 1)
            if stop:
                plain = trainer.run_epoch

                def once(plain=plain, trainer=trainer, stop=stop):
                    if trainer.epoch == stop:
                        raise KeyboardInterrupt
                    plain()

                trainer.run_epoch = once
                with pytest.raises(KeyboardInterrupt):
                    trainer.train()
            else:
                trainer.train()
        return [p.detach() for p in trainer.prompts.parameters()]

    for whole, resumed in zip(final("whole"), final("resumed", 1), strict=True):
        assert torch.equal(whole, resumed)


def test_a_step_changes_the_prompts_alone(build):
    changed = step(build("PromptSRC", *SHALLOW, "OPTIM.LR", 0.1))
    text = {"prompts.text.first.ctx", "prompts.text.later.0"}
    assert changed == text | {"prompts.vision.0", "prompts.vision.1"}


def test_a_resnet_is_refused(build, resnet_file):
    with pytest.raises(UserError, match="deep visual prompts need.*choose a ViT"):
        build("PromptSRC", *SHALLOW, "MODEL.INIT_WEIGHTS", resnet_file)


def test_a_deviation_of_0_epochs_is_refused(build):
    with pytest.raises(UserError, match="GPA_STD is 0.0"):
        build("PromptSRC", *SHALLOW, "TRAINER.PROMPTSRC.GPA_STD", 0.0)
