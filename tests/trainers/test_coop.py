"""CoOp: what the context starts as, what learns, and what is kept."""

from __future__ import annotations

import pytest
import torch
from cases import TrainerCase

from dassl.errors import UserError

CASE = TrainerCase(
    "CoOp",
    ("TRAINER.COOP.N_CTX", 4),
    steps={
        "as it is": (),
        "own contexts": ("TRAINER.COOP.CSC", True),
        "pixels": ("INPUT.FEATURE_VIEWS", 0),
    },
    stored=("TRAINER.COOP.N_CTX", 2),
)


def one_batch(trainer):
    return next(iter(trainer.make_loader(trainer.dm.dataset.test)))["img"]


def test_a_context_of_words_equals_zero_shot_with_that_template_before_training(build):
    coop = build("CoOp", "TRAINER.COOP.CTX_INIT", "a photo of a")
    zero_shot = build("ZeroShotCLIP", "DATASET.TEMPLATES", "('a photo of a {}.',)", shots=0)
    x = one_batch(coop)
    with torch.no_grad():
        torch.testing.assert_close(
            coop.model_inference(x), zero_shot.model_inference(x), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
def test_every_form_of_context_learns_and_nothing_else_does(build, position, csc):
    trainer = build(
        *("CoOp", "TRAINER.COOP.N_CTX", 4, "TRAINER.COOP.CSC", csc),
        *("TRAINER.COOP.CLASS_TOKEN_POSITION", position, "OPTIM.LR", 0.01),
    )
    start = trainer.prompt_learner.ctx.detach().clone()
    assert start.shape == ((3, 4, 64) if csc else (4, 64))
    trainer.train()
    assert not torch.equal(trainer.prompt_learner.ctx, start)
    assert list(trainer.prompt_learner.state_dict()) == ["ctx"]


def test_class_features_are_kept_through_a_test_and_made_anew_after_a_step(build):
    trainer = build("CoOp", "TRAINER.COOP.N_CTX", 4)
    calls = []
    compute = trainer.class_features.compute
    trainer.class_features.compute = lambda: calls.append(1) or compute()
    with torch.no_grad():
        first = trainer.class_features()
        assert trainer.class_features() is first and len(calls) == 1
    trainer.train()
    with torch.no_grad():
        assert not torch.equal(trainer.class_features(), first)


def test_an_unknown_position_is_refused(build):
    with pytest.raises(UserError, match="'before'.*end, middle, front"):
        build("CoOp", "TRAINER.COOP.CLASS_TOKEN_POSITION", "before")
