"""BitFit, LNTuning, FullFineTune, FLYP and WiSEFT: what all that train CLIP's own weights share."""

from __future__ import annotations

import shutil

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase
from clip_by_hand import losses_of_adamw, losses_of_trainer, package_clip, zero_shot_logits
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cerviclip.vlm.towers.cnn import torchvision_model
from dassl.errors import UserError
from dassl.utils import set_random_seed

NAMES = ("BitFit", "LNTuning", "FullFineTune", "FLYP", "WiSEFT")


def case(name):
    steps = {"as it is": ()}
    if name != "FLYP":
        steps["text tower, stored"] = (
            *(f"TRAINER.{name.upper()}.ENCODER", "text", "INPUT.FEATURE_VIEWS", 2),
        )
    return TrainerCase(name, ("TRAIN.MAX_ITERS", 3), steps=steps)


CASE = tuple(case(name) for name in NAMES)
ADAMW = ("OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3, "OPTIM.WEIGHT_DECAY", 0.1, "TRAIN.MAX_ITERS", 9)


@pytest.fixture
def files(clip_file, resnet_file):
    return {"vit": clip_file, "resnet": resnet_file}


def batches(trainer, count=3):
    both = [*trainer.train_loader_x, *trainer.train_loader_x]
    return both[:count]


def tokens_of(trainer):
    return trainer.backbone.tokenize([group[0] for group in trainer.class_texts()])


@pytest.mark.parametrize("tower", ["vit", "resnet"])
@pytest.mark.parametrize("name", NAMES)
def test_untrained_is_zero_shot(build, files, name, tower):
    trainer = build(name, "MODEL.INIT_WEIGHTS", files[tower])
    trainer.set_model_mode("eval")
    backbone, x = trainer.backbone, batches(trainer)[0]["img"]
    with torch.no_grad():
        assert torch.equal(trainer.unit_image_features(x), F.normalize(backbone.encode_image(x)))
        plain = package_clip(files[tower])
        expected = zero_shot_logits(plain, x, tokens_of(trainer))
        torch.testing.assert_close(trainer.model_inference(x), expected, rtol=1e-4, atol=1e-4)


def learning(name, plain):
    """The parameters of the package's model that a method trains, by the paper."""
    if name == "BitFit":
        return [p for key, p in plain.named_parameters() if key.endswith("bias")]
    norms = (nn.LayerNorm, _BatchNorm)
    return [p for m in plain.modules() if isinstance(m, norms) for p in m.parameters()]


@pytest.mark.parametrize("tower", ["vit", "resnet"])
@pytest.mark.parametrize("name", ["BitFit", "LNTuning"])
def test_steps_are_those_of_the_equations(build, files, name, tower):
    """Cross-entropy on exp(scale) f . t, of which biases or norms alone learn by AdamW."""
    trainer = build(name, *ADAMW, "MODEL.INIT_WEIGHTS", files[tower])
    plain, tokens, seen = package_clip(files[tower]), tokens_of(trainer), batches(trainer)
    plain.train()
    for parameter in (parameters := learning(name, plain)):
        parameter.requires_grad_(True)
    expected = losses_of_adamw(
        parameters,
        lambda b: F.cross_entropy(zero_shot_logits(plain, b["img"], tokens), b["label"]),
        *(seen, 1e-3, 0.1),
    )
    losses = losses_of_trainer(trainer, seen)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=1e-3, atol=1e-3)
    assert abs(losses[-1] - losses[0]) > 0.01  # something was learnt, else all would agree
    trainer.set_model_mode("eval")
    plain.eval()
    with torch.no_grad():
        x = seen[0]["img"]
        logits = zero_shot_logits(plain, x, tokens)
        torch.testing.assert_close(trainer.model_inference(x), logits, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_where_a_whole_one_does(build, tmp_path, name):
    opts = ("OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.LR", 1e-3)
    opts = (*opts, f"TRAINER.{name.upper()}.ITERS_PER_SHOT", 0)
    set_random_seed(1)
    whole = build(name, *opts)
    whole.test_after_train = False
    whole.train()
    state = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in whole._models.items()}
    shutil.rmtree(tmp_path / "built")  # the next one is to begin anew

    set_random_seed(1)
    killed = build(name, *opts)
    after_epoch = killed.after_epoch

    def die():
        after_epoch()
        raise KeyboardInterrupt

    killed.after_epoch = die
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = build(name, *opts)
    resumed.test_after_train = False
    resumed.train()
    assert resumed.start_epoch == 1
    for n, model in resumed._models.items():
        assert all(torch.equal(v, state[n][k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", ["BitFit", "LNTuning"])
def test_a_checkpoint_holds_what_learns_and_no_more(build, name):
    trainer = build(name)
    sizes = {n: sum(v.numel() for v in m.state_dict().values()) for n, m in trainer._models.items()}
    whole = sum(p.numel() for p in trainer.backbone.parameters())
    assert set(sizes) == {"vision", "text"} and sum(sizes.values()) < whole / 100
    base = {id(p) for p in trainer.backbone.parameters()}
    frozen = [p for t in trainer.towers.values() for p in t.parameters() if not p.requires_grad]
    assert frozen and all(id(p) in base for p in frozen)


@pytest.mark.parametrize("name", ["BitFit", "FullFineTune", "WiSEFT"])
def test_one_tower_alone(build, name):
    key = f"TRAINER.{name.upper()}.ENCODER"
    text = build(name, key, "text", "INPUT.FEATURE_VIEWS", 2)
    assert set(text._models) == {"text"} and text.image_input == "features"
    vision = build(name, key, "vision")
    assert set(vision._models) - {"head"} == {"vision"} and vision.image_input == "images"


@pytest.mark.parametrize(
    "name, opts, message",
    [
        ("BitFit", ("TRAINER.BITFIT.ENCODER", "image"), "BITFIT.ENCODER is 'image'; take one of b"),
        ("LNTuning", ("INPUT.FEATURE_VIEWS", 2), "LNTuning trains the vision tower.*set it to 0"),
        ("FullFineTune", ("TRAINER.FULLFINETUNE.ITERS_PER_SHOT", -1), "is -1; take 0"),
        ("FLYP", ("TRAINER.FLYP.ENCODER", "vision"), "FLYP trains both.*FullFineTune trains one"),
        ("WiSEFT", ("TRAINER.WISEFT.ALPHA", 1.5), "ALPHA is 1.5; it lies between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(build, name, opts, message):
    with pytest.raises(UserError, match=message):
        build(name, *opts)


@pytest.mark.parametrize("name", ["BitFit", "FullFineTune"])
def test_a_backbone_without_texts_is_refused_and_what_works_is_named(build, name, tmp_path):
    weights = tmp_path / "squeezenet.pth"
    torch.save(torchvision_model("squeezenet1_0", "scratch")[0].state_dict(), weights)
    with pytest.raises(UserError, match=f"{name} needs a text encoder.*ViT-B/16"):
        build(name, "MODEL.INIT_WEIGHTS", weights, backbone="torchvision:squeezenet1_0")


def test_iterations_are_so_many_per_shot_or_epochs(build):
    assert build("BitFit", shots=2).max_iters == 600
    assert build("FullFineTune").max_iters == 0
    assert build("FullFineTune", "TRAINER.FULLFINETUNE.ITERS_PER_SHOT", 7, shots=3).max_iters == 21
