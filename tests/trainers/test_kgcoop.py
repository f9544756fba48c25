"""KgCoOp: with weight 0 it is CoOp; its loss is that of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step, template_features, text_by_hand

CASE = TrainerCase(
    "KgCoOp",
    steps={"as it is": (), "pixels": ("INPUT.FEATURE_VIEWS", 0)},
    stored=("TRAINER.KGCOOP.N_CTX", 4),
)
ONE_TEXT = ("DATASET.TEMPLATES", "('a photo of a {}.',)")


def test_with_weight_0_it_is_coop_to_the_bit(build, tmp_path):
    ctx = {}
    for name, opts in {"CoOp": (), "KgCoOp": ("TRAINER.KGCOOP.W", 0.0)}.items():
        start = (f"TRAINER.{name.upper()}.CTX_INIT", "a photo of a")
        out = ("OUTPUT_DIR", tmp_path / name)  # in one folder the second would resume the first
        trainer = build(name, *start, *opts, "OPTIM.MAX_EPOCH", 2, "OPTIM.LR", 0.1, *out)
        first = trainer.prompt_learner.ctx.detach().clone()
        trainer.train()
        ctx[name] = trainer.prompt_learner.ctx.detach()
        assert not torch.equal(ctx[name], first)
    assert torch.equal(ctx["CoOp"], ctx["KgCoOp"])


def test_an_untrained_context_of_words_is_that_template(build):
    trainer = build("KgCoOp", *ONE_TEXT)
    with torch.no_grad():
        assert torch.allclose(trainer.class_features(), trainer.hand_written, atol=1e-5)


def test_loss_and_logits_are_the_papers(build):
    trainer = build("KgCoOp", *ONE_TEXT, "TRAINER.KGCOOP.W", 3.0)
    backbone, learner = trainer.backbone, trainer.prompt_learner
    with torch.no_grad():
        learner.ctx += 0.1 * torch.randn_like(learner.ctx)
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)

    w = text_by_hand(backbone, learner()[0], learner.tokens)
    clip = template_features(backbone, trainer.task.classnames, "a photo of a {}.")
    f = F.normalize(backbone.encode_image(x), dim=-1)
    expected = backbone.logit_scale.exp() * f @ w.t()
    cosine = sum(w[c] @ clip[c] for c in range(3)) / 3
    wanted = -expected.log_softmax(-1)[range(len(label)), label].mean() + 3.0 * (1 - cosine)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-2)  # features are stored in half
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-3)


def test_a_large_weight_brings_a_context_back_to_the_hand_written_prompts(build):
    trainer = build("KgCoOp", "TRAINER.KGCOOP.W", 1000.0, "OPTIM.LR", 1e-4, "OPTIM.MAX_EPOCH", 5)
    ctx = trainer.prompt_learner.ctx
    with torch.no_grad():
        ctx += 0.05 * torch.randn(ctx.shape, generator=torch.Generator().manual_seed(0))

    def distance():
        with torch.no_grad():
            return 1 - (trainer.class_features() * trainer.hand_written).sum(-1).mean()

    before = distance()
    trainer.train()
    assert distance() < 0.8 * before


def test_a_step_changes_the_context_alone(build):
    assert step(build("KgCoOp", "OPTIM.LR", 0.1)) == {"prompt_learner.ctx"}
