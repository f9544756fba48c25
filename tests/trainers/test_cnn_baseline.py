"""CNN baseline: the right network, head, weights and schedule."""

from __future__ import annotations

import pytest
import torch
from cases import TrainerCase
from torch import nn

from dassl.errors import UserError

SMALL = ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False")
CASE = TrainerCase(
    "CNNBaseline", SMALL, backbone="torchvision:squeezenet1_0", steps={"as it is": ()}
)


@pytest.mark.parametrize(
    "arch", ["squeezenet1_0", "resnet18", "efficientnet_b0", "shufflenet_v2_x0_5", "densenet121"]
)
def test_every_kind_of_head_is_replaced(module_of, arch):
    model = module_of("CNNBaseline").build_classifier(arch, 3, "", pretrained=False).eval()
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_weights_from_nothing_follow_the_seed(module_of):
    make = module_of("CNNBaseline").build_classifier
    first = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        first.append(next(make("torchvision:squeezenet1_0", 3, "", False).parameters()).detach())
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_a_file_in_half_precision_fills_all_but_the_head(module_of, tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_0

    source = squeezenet1_0()
    file = tmp_path / "squeezenet.safetensors"
    save_file({k: v.half() for k, v in source.state_dict().items()}, file)
    model = module_of("CNNBaseline").build_classifier("squeezenet1_0", 3, str(file), True)
    filled = model.features[0].weight
    torch.testing.assert_close(filled, source.features[0].weight.half().float())
    assert model.classifier[1].weight.shape[0] == 3


def test_label_smoothing_is_in_the_loss(build):
    trainer = build(
        *("CNNBaseline", *SMALL, "TRAINER.CNNBASELINE.LABEL_SMOOTHING", 0.3),
        backbone="torchvision:squeezenet1_0",
    )
    trainer.set_model_mode("eval")
    x, label = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    loss, logits = trainer.loss_and_logits(x, label)
    assert loss.item() == pytest.approx(
        nn.CrossEntropyLoss(label_smoothing=0.3)(logits, label).item()
    )


@pytest.mark.parametrize(
    "optim, sched", [("adam", "single_step"), ("sgd", "cosine"), ("adamw", "cosine")]
)
def test_trains_with_any_optimiser_and_schedule(build, optim, sched):
    trainer = build(
        *("CNNBaseline", *SMALL, "OPTIM.NAME", optim, "OPTIM.LR_SCHEDULER", sched),
        backbone="torchvision:squeezenet1_0",
    )
    trainer.train()
    assert trainer.history[0]["loss"] > 0


def test_a_clip_backbone_is_refused(build):
    with pytest.raises(UserError, match="torchvision:<arch>.*open_clip:ViT-B-32"):
        build("CNNBaseline", backbone="open_clip:ViT-B-32")


def test_few_shots_train_for_at_least_the_iterations_asked_for(build):
    trainer = build(
        *("CNNBaseline", *SMALL, "TRAINER.CNNBASELINE.MIN_ITERS", 5),
        backbone="torchvision:squeezenet1_0",
    )
    assert trainer.max_iters == 5 > trainer.cfg.OPTIM.MAX_EPOCH * len(trainer.train_loader_x)
    trainer.train()
    assert trainer._scheds["model"].last_epoch == 5


@pytest.mark.parametrize("arch", ["squeezenet1_0", "resnet18"])
def test_a_probed_head_starts_as_a_logistic_regression_on_the_shots(build, arch):
    """Fine-tuning that does not move (rate 0) must give a linear probe's predictions."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from cerviclip.data.images.cache import build_image_loader
    from dassl.data.transforms import build_transform

    trainer = build(
        *("CNNBaseline", *SMALL, "TRAINER.CNNBASELINE.HEAD", "probe", "OPTIM.LR", 0.0),
        backbone=f"torchvision:{arch}",
    )
    trainer.start_head()
    transform = build_transform(trainer.cfg, is_train=False)
    items = trainer.dm.dataset.train_x
    batches = list(build_image_loader(trainer.cfg, items, transform))
    image = torch.cat([b["img"] for b in batches])
    label = torch.cat([b["label"] for b in batches])
    with torch.no_grad():
        logits = trainer.model_inference(image)
        head = trainer.model.classifier if arch.startswith("squeeze") else None
        if head is not None:
            features = trainer.model.features(image).mean((2, 3))
        else:
            trainer.model.fc = nn.Identity()
            features = trainer.model(image)
    scaled = StandardScaler().fit_transform(features.double().numpy())
    probe = LogisticRegression(C=0.01, max_iter=2000).fit(scaled, label.numpy())
    torch.testing.assert_close(
        logits.softmax(-1), torch.tensor(probe.predict_proba(scaled)).float(), atol=1e-3, rtol=0
    )


def test_squeezenets_scores_may_be_negative(module_of):
    model = module_of("CNNBaseline").build_classifier("squeezenet1_0", 3, "", False).eval()
    with torch.no_grad():
        model.classifier[1].bias.fill_(-100.0)
        assert model(torch.rand(2, 3, 64, 64)).max() < 0


def test_an_unknown_head_is_refused(build):
    with pytest.raises(UserError, match="CNNBASELINE.HEAD is 'zero'; take random or probe"):
        build(
            *("CNNBaseline", *SMALL, "TRAINER.CNNBASELINE.HEAD", "zero"),
            backbone="torchvision:squeezenet1_0",
        )
