"""Zero-shot CLIP against the formula, written out."""

from __future__ import annotations

import pytest
import torch
from cases import TrainerCase

from dassl.errors import UserError

CASE = (
    TrainerCase("ZeroShotCLIP"),
    TrainerCase("ZeroshotCLIP", second_name_of="ZeroShotCLIP"),
    TrainerCase("CalibratedZeroShotCLIP"),
)


def test_logits_are_scaled_cosines_with_the_mean_of_the_templates(build):
    trainer = build(
        "ZeroShotCLIP", "DATASET.TEMPLATES", "('a photo of a {}.','a scan of {}.')", shots=0
    )
    backbone = trainer.backbone
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test[:5])))
    features = torch.stack([f / f.norm() for f in batch["img"].float()])
    rows = []
    for name in trainer.dm.dataset.classnames:
        texts = [f"a photo of a {name}.", f"a scan of {name}."]
        encoded = backbone.encode_text(backbone.tokenize(texts))
        mean = (encoded / encoded.norm(dim=-1, keepdim=True)).mean(0)
        rows.append(mean / mean.norm())
    expected = backbone.scale * features @ torch.stack(rows).t()
    torch.testing.assert_close(trainer.model_inference(batch["img"]), expected)


def test_pixels_and_stored_features_give_the_same_logits(build):
    trainer = build("ZeroShotCLIP", shots=0)
    items = trainer.dm.dataset.test[:3]
    stored = next(iter(trainer.make_loader(items)))["img"]
    from PIL import Image

    pixels = torch.stack([trainer.tfm_test(Image.open(d.impath).convert("RGB")) for d in items])
    assert torch.equal(trainer.model_inference(stored), trainer.model_inference(pixels))


def test_descriptions_take_the_place_of_templates(build, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("short: {red: [warm], green: [plants, moss], blue: [sky]}\n")
    trainer = build(
        "ZeroShotCLIP", "DATASET.DESCRIPTIONS", file, "DATASET.PROMPT_SET", "short", shots=0
    )
    texts = dict(zip(trainer.dm.dataset.classnames, trainer.class_texts(), strict=True))
    assert texts == {"red": ["warm"], "green": ["plants", "moss"], "blue": ["sky"]}


def test_an_unknown_prompt_set_names_those_there_are(build, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("short: {red: [warm], green: [moss], blue: [sky]}\n")
    with pytest.raises(UserError, match="long.*short"):
        build("ZeroShotCLIP", "DATASET.DESCRIPTIONS", file, "DATASET.PROMPT_SET", "long", shots=0)


def test_one_template_is_taken_alone_by_its_number(build, test_batch):
    two = ("DATASET.TEMPLATES", "('a photo of a {}.','a scan of {}.')")
    number = "TRAINER.ZEROSHOTCLIP.TEMPLATE"
    second = build("ZeroShotCLIP", *two, number, 2, shots=0)
    alone = build("ZeroShotCLIP", "DATASET.TEMPLATES", "('a scan of {}.',)", shots=0)
    assert torch.equal(second.classifier, alone.classifier)
    with pytest.raises(UserError, match="TEMPLATE is 3.*1 to 2"):
        build("ZeroShotCLIP", *two, number, 3, shots=0)


def test_class_weights_multiply_the_probabilities(build, test_batch):
    key = "TRAINER.ZEROSHOTCLIP.CLASS_WEIGHTS"
    plain, weighted = build("ZeroShotCLIP", shots=0), build("ZeroShotCLIP", key, (1, 2, 4), shots=0)
    x = test_batch(plain)
    expected = plain.model_inference(x).softmax(-1) * torch.tensor([1.0, 2.0, 4.0])
    found = weighted.model_inference(x).softmax(-1)
    torch.testing.assert_close(found, expected / expected.sum(-1, keepdim=True))
    with pytest.raises(UserError, match="3 numbers above 0, for blue, green, red"):
        build("ZeroShotCLIP", key, (1, 2), shots=0)


def test_calibration_keeps_the_predictions_and_lowers_the_log_loss_of_val(build, test_batch):
    trainer = build("CalibratedZeroShotCLIP")
    trainer.train()
    plain, x = build("ZeroShotCLIP", shots=0), test_batch(trainer)
    logits, temperature = plain.model_inference(x), trainer.head.temperature.item()
    torch.testing.assert_close(trainer.model_inference(x), logits / temperature)
    assert torch.equal(trainer.model_inference(x).argmax(-1), logits.argmax(-1))
    views, labels = trainer.split_features("val")
    of_val = plain.model_inference(views[:, 0])
    loss = torch.nn.functional.cross_entropy
    assert loss(of_val / temperature, labels) < loss(of_val, labels)
    assert trainer.extra_results["search"]["tried"] == 81


def test_the_temperature_is_that_of_the_least_log_loss(build):
    """Against SciPy's minimum, as the calibration of results finds it."""
    from cerviclip.evaluation.measures.probabilities.recalibration import Temperature
    from cerviclip.evaluation.measures.sample import Sample

    trainer = build("CalibratedZeroShotCLIP")
    trainer.train()
    views, labels = trainer.split_features("val")
    probs = trainer.clip_logits(views[:, 0]).double().softmax(-1).numpy()
    names = trainer.dm.dataset.classnames
    sample = Sample.of("val", labels.numpy(), probs, [""] * len(labels), names, [])
    best = min(max(Temperature.fit(sample).value, 0.1), 10.0)
    assert trainer.head.temperature.item() == pytest.approx(best, rel=0.06)
