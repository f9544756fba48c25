"""ProGrad: the gradient of its step, and what happens where the two losses agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step, template_features, text_by_hand

from dassl.errors import UserError

CASE = TrainerCase(
    "ProGrad",
    ("TRAINER.PROGRAD.N_CTX", 4),
    steps={"as it is": (), "pixels": ("INPUT.FEATURE_VIEWS", 0)},
    stored=("TRAINER.PROGRAD.N_CTX", 2),
)
ONE_TEXT = ("DATASET.TEMPLATES", "('a photo of a {}.',)")


def test_an_untrained_context_of_words_is_that_template(build):
    trainer = build("ProGrad", *ONE_TEXT, "TRAINER.PROGRAD.CTX_INIT", "a photo of a")
    with torch.no_grad():
        assert torch.allclose(trainer.class_features(), trainer.hand_written, atol=1e-5)


def test_losses_and_logits_are_the_papers(build):
    trainer = build("ProGrad", *ONE_TEXT, *CASE.opts, "TRAINER.PROGRAD.T", 2.0)
    backbone, learner = trainer.backbone, trainer.prompt_learner
    x, label = first_batch(trainer)
    loss, kl, logits = trainer.losses(x, label)

    f = F.normalize(backbone.encode_image(x), dim=-1)
    w = text_by_hand(backbone, learner()[0], learner.tokens)
    clip = template_features(backbone, trainer.task.classnames, "a photo of a {}.")
    s = backbone.logit_scale.exp()
    expected, teacher = s * f @ w.t(), s * f @ clip.t()
    log_p = (expected / 2).log_softmax(-1)
    wanted = -4 * ((teacher / 2).softmax(-1) * log_p).sum(-1).mean()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-2)  # features are stored in half
    torch.testing.assert_close(loss, F.cross_entropy(expected, label), rtol=0, atol=1e-3)
    torch.testing.assert_close(kl, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_step_takes_out_what_opposes_zero_shot(build, share):
    trainer = build("ProGrad", *CASE.opts, "TRAINER.PROGRAD.LAMBDA", share, "OPTIM.NAME", "sgd")
    ctx = trainer.prompt_learner.ctx
    x, label = first_batch(trainer)
    for wrong in (label, (label + 1) % 3, (label + 2) % 3):  # of some the gradients disagree
        loss, kl, _ = trainer.losses(x, wrong)
        (g,) = torch.autograd.grad(loss, ctx, retain_graph=True)
        (k,) = torch.autograd.grad(kl, ctx)
        dot = (g * k).sum()
        expected = g - share * (dot / k.square().sum()) * k if dot < 0 else g
        trainer.prepare_training()
        trainer.batch_idx, trainer.num_batches = 0, 1000
        before = ctx.detach().clone()
        trainer.forward_backward({"img": x, "label": wrong})
        torch.testing.assert_close(ctx.grad, expected, rtol=1e-3, atol=1e-6)
        assert not torch.equal(ctx, before)
        ctx.data.copy_(before)


def test_a_step_changes_the_context_alone(build):
    assert step(build("ProGrad", *CASE.opts)) == {"prompt_learner.ctx"}


@pytest.mark.parametrize("prec", ["fp16", "amp"])
def test_half_floats_are_refused(build, prec):
    with pytest.raises(UserError, match=f"PROGRAD.PREC is '{prec}'.*take fp32 or bf16"):
        build("ProGrad", "TRAINER.PROGRAD.PREC", prec)


def test_a_temperature_of_0_is_refused(build):
    with pytest.raises(UserError, match="PROGRAD.T is 0.0"):
        build("ProGrad", "TRAINER.PROGRAD.T", 0.0)
