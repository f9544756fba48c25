"""FixMatch on other methods: weight 0 is the method; no label of an unlabelled image is read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

from cerviclip.engine.families.fixmatch import NO_LABEL, fixmatch_loss, outside_the_draw
from dassl.errors import UserError

SMALL = ("INPUT.SIZE", "(32, 32)", "MODEL.BACKBONE.PRETRAINED", False)
CNN = "torchvision:squeezenet1_0"
CASE = (
    TrainerCase("FixMatchCoOp", ("TRAINER.COOP.N_CTX", 4), steps={"pixels": ()}),
    TrainerCase("FixMatchClipAdapter", ("INPUT.FEATURE_VIEWS", 2), steps={"stored": ()}),
    TrainerCase("FixMatchCLIPLoRA", ("TRAIN.MAX_ITERS", 2), steps={"pixels": ()}),
    TrainerCase("FixMatchCNN", SMALL, backbone=CNN, steps={"as it is": ()}),
)


def opts_of(name: str) -> tuple:
    return next(case.opts for case in CASE if case.trainer == name)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("FixMatchCoOp", "CoOp"),
        ("FixMatchClipAdapter", "ClipAdapter"),
        ("FixMatchCLIPLoRA", "CLIPLoRA"),
    ],
)
def test_weight_0_is_the_method_to_the_digit(name, base, run):
    folder, _ = run(base, *opts_of(name))
    expected = (folder / "predictions.csv").read_text()
    section = f"TRAINER.{name.upper()}.WEIGHT_U"
    folder, _ = run(name, *opts_of(name), section, 0.0)
    assert (folder / "predictions.csv").read_text() == expected


def test_the_loss_is_the_papers(build):
    """Equation 4 of the paper, image by image."""
    torch.manual_seed(1)
    weak, strong = 3 * torch.randn(7, 4), torch.randn(7, 4)
    expected, sure = 0.0, 0
    for q, p in zip(weak.softmax(1), strong.log_softmax(1), strict=True):
        if q.max() >= 0.8:
            expected, sure = expected - p[q.argmax()].item() / 7, sure + 1
    loss, share = fixmatch_loss(weak.requires_grad_(), strong.requires_grad_(), 0.8)
    assert 0 < sure < 7 and share.item() == pytest.approx(sure / 7)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert weak.grad is None or not weak.grad.any()  # what teaches learns nothing from it
    assert fixmatch_loss(weak, strong, 1.1)[0] == 0


def test_the_step_adds_it_to_the_methods_own_loss(build):
    trainer = build(
        "FixMatchClipAdapter", *opts_of("FixMatchClipAdapter"),
        "TRAINER.FIXMATCHCLIPADAPTER.WEIGHT_U", 0.5, "TRAINER.FIXMATCHCLIPADAPTER.CONF_THRE", 0.4,
    )  # fmt: skip
    trainer.prepare_training()
    trainer.set_model_mode("train")
    batch = next(iter(trainer.train_loader_x))
    x, labels = trainer.parse_batch_train(batch)
    given = next(iter(trainer.train_loader_u))
    assert set(given) == {"img", "img2"}  # weak and strong views, and no label
    assert not torch.equal(given["img"], given["img2"])
    trainer._batches_u = iter([given])
    loss, logits = trainer.loss_and_logits(x, labels)
    weak, strong = trainer.model_inference(given["img"]), trainer.model_inference(given["img2"])
    expected = F.cross_entropy(trainer.model_inference(x), labels)
    expected = expected + 0.5 * fixmatch_loss(weak, strong, 0.4)[0]
    torch.testing.assert_close(loss, expected)
    assert logits.shape == (len(labels), 3)


def test_unlabelled_images_are_those_outside_the_draw_and_have_no_label(build, image_root):
    trainer = build("FixMatchCoOp", *opts_of("FixMatchCoOp"))
    data = trainer.dm.dataset
    items = outside_the_draw(data)
    drawn = {item.impath for item in data.train_x}
    held = {item.impath for part in (data.val, data.test) for item in part}
    whole = {item.impath for item in data.to_data(data.full_split["train"])}
    assert {item.impath for item in items} == whole - drawn and len(items) > 5
    assert not held & {item.impath for item in items}
    assert {(item.label, item.classname) for item in items} == {(NO_LABEL, "")}
    assert all(item.patient_id for item in items)
    trainer.prepare_training()
    assert all(item.label == NO_LABEL for item in trainer.train_loader_u.dataset.data_source)


@pytest.mark.parametrize("views", [0, 2])
def test_other_labels_of_the_unlabelled_images_change_nothing(views, build, monkeypatch):
    """The hidden labels are permuted: every number of the training stays."""
    from dassl.data.datasets import Datum
    from dassl.utils import set_random_seed

    def losses() -> list[float]:
        set_random_seed(1)
        trainer = build(
            "FixMatchCoOp", "INPUT.FEATURE_VIEWS", views, "TRAINER.FIXMATCHCOOP.CONF_THRE", 0.0,
            "OPTIM.MAX_EPOCH", 2,
        )  # fmt: skip
        if permute:
            data = trainer.dm.dataset
            drawn = {item.impath for item in data.train_x}
            to_data = data.to_data

            def other(items):
                return [
                    d if d.impath in drawn else Datum(d.impath, 2 - d.label, 0, "x", d.patient_id)
                    for d in to_data(items)
                ]

            monkeypatch.setattr(data, "to_data", other)
        trainer.output_dir += f"_{permute}"
        trainer.cfg.defrost()
        trainer.cfg.OUTPUT_DIR = trainer.output_dir
        trainer.cfg.freeze()
        trainer.train()
        assert trainer.history[-1]["sure"] == 100
        return [row["loss"] for row in trainer.history]

    permute = False
    first = losses()
    permute = True
    assert losses() == first and len(first) == 2


def test_without_images_outside_the_draw_it_says_so(build):
    trainer = build("FixMatchCoOp", *opts_of("FixMatchCoOp"), shots="full")
    with pytest.raises(UserError, match="no training images outside the draw.*fewer --shots"):
        trainer.train()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("TRAINER.FIXMATCHCOOP.CONF_THRE", 1.5, "a probability from 0 to 1"),
        ("TRAINER.FIXMATCHCOOP.STRONG_TRANSFORMS", "()", "STRONG_TRANSFORMS is empty"),
        ("INPUT.FEATURE_VIEWS", 1, "set it above 1, or to 0"),
    ],
)
def test_wrong_settings_are_one_line(key, value, said, build):
    with pytest.raises(UserError, match=said):
        build("FixMatchCoOp", key, value)
