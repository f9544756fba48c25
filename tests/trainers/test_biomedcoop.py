"""BiomedCoOp: which descriptions a batch keeps, its losses, and what it needs of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from prompt_equations import first_batch, step, text_by_hand

from dassl.errors import UserError

DESCRIBED = ("DATASET.DESCRIPTIONS", str(Path(__file__).with_name("colours.yaml")))
CASE = TrainerCase(
    "BiomedCoOp",
    DESCRIBED,
    steps={"as it is": DESCRIBED, "pixels": (*DESCRIBED, "INPUT.FEATURE_VIEWS", 0)},
    stored=DESCRIBED,
)


def test_descriptions_far_from_the_median_are_left_out(module_of):
    kept_prompts = module_of("BiomedCoOp").kept_prompts
    scores = torch.tensor([1.0, 1.1, 0.9, 1.2, 5.0])  # median 1.1, median deviation 0.1
    assert kept_prompts(scores, 1.5).tolist() == [1, 1, 0, 1, 0]
    assert kept_prompts(scores, 100.0).tolist() == [1, 1, 1, 1, 1]
    assert kept_prompts(torch.tensor([2.0, 2.0]), 1.5).tolist() == [1, 1]


def test_loss_and_logits_are_the_papers(build):
    weights = ("TRAINER.BIOMEDCOOP.SCCM", 2.0, "TRAINER.BIOMEDCOOP.KDSP", 3.0)
    trainer = build("BiomedCoOp", *DESCRIBED, "DATASET.PROMPT_SET", "looks", *weights)
    backbone, learner = trainer.backbone, trainer.prompt_learner
    x, label = first_batch(trainer)
    loss, logits = trainer.loss_and_logits(x, label)

    f = trainer.image_features(x)
    w = text_by_hand(backbone, learner()[0], learner.tokens)
    texts = trainer.descriptions()
    t = torch.stack([F.normalize(backbone.encode_text(backbone.tokenize(g)), dim=-1)
                     for g in texts])  # fmt: skip
    s = backbone.logit_scale.exp()
    scores = np.array([(s * f @ t[:, p].t()).max(dim=1).values.mean().item() for p in range(3)])
    away = np.abs(scores - np.median(scores))
    kept = [p for p in range(3) if away[p] <= 1.5 * np.median(away)]
    zero_shot = (s * f @ F.normalize(t[:, kept].mean(1), dim=-1).t()).softmax(-1)
    expected = s * f @ w.t()
    sccm = (w - F.normalize(t.mean(1), dim=-1)).square().mean()
    kdsp = (zero_shot * (zero_shot.log() - expected.log_softmax(-1))).mean()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
    wanted = F.cross_entropy(expected, label) + 2 * sccm + 3 * kdsp
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-3)


def test_all_sets_are_joined_and_short_lists_repeated(build):
    trainer = build("BiomedCoOp", *DESCRIBED)
    of = dict(zip(trainer.task.classnames, trainer.descriptions(), strict=True))
    assert len(of["blue"]) == 5 and len(of["red"]) == 4
    assert trainer.prompts.shape == (3, 5, 32)
    red = trainer.prompts[trainer.task.classnames.index("red")]
    assert torch.equal(red[4], red[0]) and not torch.equal(red[3], red[0])


def test_without_weights_it_is_coop_to_the_bit(build, tmp_path):
    ctx = {}
    off = (*DESCRIBED, "TRAINER.BIOMEDCOOP.SCCM", 0.0, "TRAINER.BIOMEDCOOP.KDSP", 0.0)
    for name, opts in {
        "CoOp": ("TRAINER.COOP.CTX_INIT", "a photo of a"),
        "BiomedCoOp": off,
    }.items():
        trainer = build(name, *opts, "OPTIM.LR", 0.1, "OUTPUT_DIR", tmp_path / name)
        trainer.train()
        ctx[name] = trainer.prompt_learner.ctx.detach()
    assert torch.equal(ctx["CoOp"], ctx["BiomedCoOp"])


def test_a_data_set_without_descriptions_is_refused_and_a_class_named(build):
    with pytest.raises(UserError, match="no description of class 'blue'.*DATASET.DESCRIPTIONS"):
        build("BiomedCoOp")


def test_a_class_without_descriptions_is_named(build, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text("looks:\n  red: red\n  blue: blue\n")
    with pytest.raises(UserError, match="green"):
        build("BiomedCoOp", "DATASET.DESCRIPTIONS", file)


def test_a_step_changes_the_context_alone(build):
    assert step(build("BiomedCoOp", *DESCRIBED, "OPTIM.LR", 0.1)) == {"prompt_learner.ctx"}
