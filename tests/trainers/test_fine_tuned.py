"""FullFineTune and WiSEFT: the classifier from the texts, and weights between both ends."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from clip_by_hand import features, losses_of_adamw, losses_of_trainer, package_clip

import train

NAMES = ("FullFineTune", "WiSEFT")
ADAMW = ("OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3, "OPTIM.WEIGHT_DECAY", 0.1, "TRAIN.MAX_ITERS", 9)
SHORT = ("TRAIN.MAX_ITERS", 3, "OPTIM.LR", 1e-2)


@pytest.fixture
def files(clip_file, resnet_file):
    return {"vit": clip_file, "resnet": resnet_file}


@pytest.mark.parametrize("tower", ["vit", "resnet"])
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_the_equations(build, files, name, tower):
    """Cross-entropy on W f + b, from W = exp(scale) t and b = 0; vision tower, W and b learn."""
    trainer = build(name, *ADAMW, "MODEL.INIT_WEIGHTS", files[tower])
    plain, seen = package_clip(files[tower]), list(trainer.train_loader_x)
    tokens = trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])
    with torch.no_grad():
        _, texts = features(plain, seen[0]["img"], tokens)
        weight = (plain.logit_scale.exp() * texts).requires_grad_(True)
    bias = torch.zeros(3, requires_grad=True)
    plain.visual.train().requires_grad_(True)

    def loss_of(batch):
        images = F.normalize(plain.encode_image(batch["img"]), dim=-1)
        return F.cross_entropy(images @ weight.t() + bias, batch["label"])

    learning = [*plain.visual.parameters(), weight, bias]
    expected = losses_of_adamw(learning, loss_of, seen, 1e-3, 0.1)
    losses = losses_of_trainer(trainer, seen)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(trainer.head.weight, weight, rtol=1e-2, atol=3e-3)
    assert bias.detach().abs().max() > 5e-4


@pytest.fixture
def tuned(build, files):
    """``tuned(tower, ENCODER)``: WiSEFT after some steps, in evaluation mode, and pixels."""

    def make(tower="vit", encoder="vision"):
        opts = ("MODEL.INIT_WEIGHTS", files[tower], "TRAINER.WISEFT.ENCODER", encoder)
        trainer = build("WiSEFT", *SHORT, *opts)
        x = next(iter(trainer.train_loader_x))["img"]
        trainer.test_after_train = False
        trainer.train()
        trainer.set_model_mode("eval")
        return trainer, x

    return make


def at(trainer, alpha, x):
    """Logits at another alpha; what was worked out at the last one is forgotten."""
    trainer.cfg.defrost()
    trainer.cfg.TRAINER.WISEFT.ALPHA = alpha
    trainer.set_model_mode("train")
    trainer.set_model_mode("eval")
    if "text" in trainer.learning:
        trainer.class_features = trainer.build_class_features()
    with torch.no_grad():
        return trainer.model_inference(x)


@pytest.mark.parametrize(
    "tower, encoder", [("vit", "vision"), ("vit", "both"), ("resnet", "vision")]
)
def test_at_0_and_1_it_is_its_two_ends(tuned, tower, encoder):
    trainer, x = tuned(tower, encoder)
    with torch.no_grad():
        zero = trainer.backbone.scale * F.normalize(trainer.backbone.encode_image(x), dim=-1)
        zero = zero @ trainer.text_features().t()
        images = F.normalize(trainer.towers["vision"](x), dim=-1)
        if encoder == "both":
            classes = trainer.prompts.features(trainer.towers["text"])
            one = trainer.backbone.scale * images @ classes.t()
        else:
            one = F.linear(images, trainer.head.weight, trainer.head.bias)
    torch.testing.assert_close(at(trainer, 0.0, x), zero, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(at(trainer, 1.0, x), one, rtol=1e-5, atol=1e-5)
    assert (zero - one).abs().max() > 0.1
    assert not torch.allclose(at(trainer, 0.5, x), (zero + one) / 2)  # weights, not logits


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_between_them_each_weight_and_statistic_is_the_mean_by_alpha(tuned, tower):
    trainer, x = tuned(tower)
    at(trainer, 0.3, x)
    merged = trainer.tower("vision").state_dict()
    end, start = trainer.towers["vision"].state_dict(), trainer.backbone.visual.state_dict()
    assert any("running_mean" in key for key in merged) == (tower == "resnet")
    moved = 0
    for key, value in merged.items():
        if value.is_floating_point():
            expected = 0.7 * start[key] + 0.3 * end[key]
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
            moved += not torch.equal(start[key], end[key])
    assert moved > len(merged) / 2


def test_the_third_copy_of_the_weights_is_there_in_evaluation_alone(tuned):
    trainer, x = tuned()
    with torch.no_grad():
        trainer.model_inference(x)
        assert trainer.tower("vision") is trainer.tower("vision") is not trainer.towers["vision"]
    trainer.set_model_mode("train")
    assert not trainer._merged and trainer.tower("vision") is trainer.towers["vision"]


def test_another_alpha_needs_no_training(run, tmp_path):
    """At 0 a saved run's predictions are zero-shot's."""
    folder, _ = run("WiSEFT", *SHORT)
    zero_shot, _ = run("ZeroShotCLIP", shots=0)
    words = ["--eval-only", "--model-dir", str(folder), "--output-dir", str(tmp_path / "at0")]
    assert train.main([*words, "TRAINER.WISEFT.ALPHA", "0.0"]) == 0
    at_zero = (tmp_path / "at0" / "predictions.csv").read_text()
    assert at_zero != (folder / "predictions.csv").read_text()
    ours, theirs = (rows(text) for text in (at_zero, (zero_shot / "predictions.csv").read_text()))
    assert ours.keys() == theirs.keys()
    for path, probabilities in ours.items():
        assert probabilities == pytest.approx(theirs[path], abs=2e-3)


def rows(text):
    import csv

    found = csv.DictReader(text.splitlines())
    return {row["path"]: [float(v) for k, v in row.items() if k[:2] == "p_"] for row in found}
