"""Zero-shot CLIP against the formula, written out."""

from __future__ import annotations

import pytest
import torch
from cases import TrainerCase

from dassl.errors import UserError

CASE = (
    TrainerCase("ZeroShotCLIP"),
    TrainerCase("ZeroshotCLIP", second_name_of="ZeroShotCLIP"),
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
