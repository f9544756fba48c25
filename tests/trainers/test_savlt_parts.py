"""SAVLT's towers, adapters, texts, checkpoints and ROIs, each through a trainer."""

from __future__ import annotations

import pytest
import torch

from cerviclip.vlm.learned.lora import lora_layers, lora_parameters, saved_config
from dassl.errors import UserError
from helpers import tiny_clip_state_dict

S = "TRAINER.SAVLT"
SHORT = ("TRAIN.MAX_ITERS", 3)


def save(state, path):
    from safetensors.torch import save_file

    save_file(state, path)
    return path


@pytest.fixture
def resnet_file(tmp_path):
    from cerviclip.vlm.towers.clip_package import import_clip

    model = import_clip().model.CLIP(32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 2)
    return save({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "rn.safetensors")


@pytest.mark.parametrize("roi", ["surface", "none"])
def test_a_resnet_tower_serves_with_and_without_roi(build, resnet_file, roi):
    opts = ("MODEL.INIT_WEIGHTS", resnet_file, f"{S}.ROI.SOURCE", roi, *SHORT)
    trainer = build("SAVLT", *opts)
    assert type(trainer.backbone.visual).__name__ == "ResNetTower"
    assert {name.split(".")[-1] for name, _ in lora_layers(trainer.visual)} == {
        "q_proj", "k_proj", "v_proj", "out_proj",
    }  # fmt: skip
    before = [p.detach().clone() for p in lora_parameters(trainer.visual)]
    trainer.train()
    after = lora_parameters(trainer.visual)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_each_tower_has_adapters_of_its_own_settings(build):
    opts = {
        "LORA.BLOCKS": 1, "LORA.TARGETS": "('q', 'mlp')", "LORA.R": 3, "LORA.ALPHA": 6.0,
        "LORA.DROPOUT": 0.5, "TEXT_LORA.BLOCKS": 2, "TEXT_LORA.TARGETS": "('o',)",
        "TEXT_LORA.R": 5, "TEXT_LORA.ALPHA": 10.0, "TEXT_LORA.DROPOUT": 0.0,
    }  # fmt: skip
    trainer = build("SAVLT", *(word for k, v in opts.items() for word in (f"{S}.{k}", v)))
    vision, text = (
        saved_config(trainer._models[name].state_dict()) for name in ("vision_lora", "text_lora")
    )
    assert (vision.targets, vision.blocks, vision.r) == (("q", "mlp"), 1, 3)
    assert (vision.alpha, vision.dropout) == (6.0, 0.5)
    assert (text.targets, text.blocks, text.r) == (("o",), 2, 5)
    assert (text.alpha, text.dropout) == (10.0, 0.0)
    names = [name for name, _ in lora_layers(trainer.visual)]
    assert all(name.startswith("blocks.1.") for name in names) and len(names) == 3


def test_merged_logits_equal_unmerged_ones(build):
    trainer = build("SAVLT", f"{S}.LORA.DROPOUT", 0.0, f"{S}.TEXT_LORA.BLOCKS", -1, *SHORT)
    trainer.train()
    batch = next(iter(trainer.make_loader(trainer.dm.dataset.test[:4])))
    input, _ = trainer.parse_batch_test(batch)
    trainer.set_model_mode("eval")
    with torch.no_grad():
        merged = trainer.model_inference(input)
        assert any(layer._merged is not None for _, layer in lora_layers(trainer.visual))
        trainer.set_model_mode("train")
        assert all(layer._merged is None for _, layer in lora_layers(trainer.visual))
        unmerged = trainer.model_inference(input)
    scale = float(trainer.backbone.scale)
    assert (merged - unmerged).abs().max() / scale < 1e-5  # of cosines


def test_what_is_saved_is_what_learns_and_fits_its_base_alone(run, build, tmp_path):
    folder, _ = run("SAVLT", f"{S}.CONTEXT.N_CTX", 2, *SHORT)
    files = sorted(folder.rglob("model.pth.tar*"))
    assert {file.parent.name for file in files} == {"head", "vision_lora", "context"}
    names = set()
    for file in files:
        state = torch.load(file, weights_only=True)["state_dict"]
        names |= {name.split(".")[-1] for name in state}
    assert names == {
        "prototypes", "queries", "weight", "bias", "ctx", "lora_A", "lora_B", "config",
        "base_sha256",
    }  # fmt: skip
    other = save(tiny_clip_state_dict(seed=5), tmp_path / "other.safetensors")
    same = build("SAVLT", f"{S}.CONTEXT.N_CTX", 2, *SHORT)
    same.load_model(str(folder))
    trainer = build("SAVLT", f"{S}.CONTEXT.N_CTX", 2, "MODEL.INIT_WEIGHTS", other, *SHORT)
    with pytest.raises(UserError, match="trained on a backbone with weights"):
        trainer.load_model(str(folder))


def test_frozen_texts_are_encoded_before_training_only(build, monkeypatch):
    trainer = build("SAVLT", *SHORT)
    tower = trainer.backbone.text

    def fail(*args, **kwargs):
        raise AssertionError("texts encoded again")

    monkeypatch.setattr(tower, "encode", fail)
    trainer.train()


def test_several_prompts_of_a_class_are_averaged_and_json_serves(build, tmp_path):
    import json

    prompts = {"red": ["warm", "a warm field"], "green": ["moss"], "blue": ["sky", "sea", "ice"]}
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"short": prompts}))
    trainer = build("SAVLT", "DATASET.DESCRIPTIONS", file, f"{S}.PROMPTS", "short", *SHORT)
    backbone = trainer.backbone
    order = trainer.dm.dataset.classnames
    expected = []
    for name in order:
        with torch.no_grad():
            features = backbone.encode_text(backbone.tokenize(prompts[name]))
        unit = torch.nn.functional.normalize(features, dim=-1)
        expected.append(torch.nn.functional.normalize(unit.mean(0), dim=-1))
    torch.testing.assert_close(
        trainer.class_features(), torch.stack(expected), rtol=1e-5, atol=1e-5
    )


def test_adapters_train_in_train_mode_after_each_validation(build):
    opts = ("TEST.FINAL_MODEL", "best_val", "TRAIN.MAX_ITERS", 7)
    trainer = build("SAVLT", *opts)
    inner, modes = trainer.loss_and_logits, []

    def watched(input, label):
        modes.append(all(layer.training for _, layer in lora_layers(trainer.visual)))
        return inner(input, label)

    trainer.loss_and_logits = watched
    trainer.train()
    assert modes == [True] * 7


def test_the_roi_follows_crop_and_flip_of_training_images(build, tmp_path):
    import numpy as np
    from PIL import Image

    from helpers import write_images

    root = tmp_path / "oct"
    folder = root / "cells" / "images"
    paths = write_images(folder, {"red": 8, "green": 8, "blue": 8}, patients=8)
    corner = np.zeros((64, 64), np.uint8)
    corner[32:, :32] = 255  # lower left: shows a flip as well as a crop
    for i, path in enumerate(paths):
        mask = root / "cells" / "masks" / path.relative_to(folder)
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(corner).save(mask)
        image = corner.copy()
        image[0, i] = 1  # equal files would count as copies
        Image.fromarray(image).save(path)
    opts = ("DATASET.ROOT", root, "DATASET.FOLDER", "cells/images", f"{S}.ROI.SOURCE", "masks")
    opts = (*opts, f"{S}.ROI.KIND", "mask", "INPUT.RRCROP_SCALE", "(0.4, 1.0)", *SHORT)
    trainer = build("SAVLT", *opts)
    grid, flipped = trainer.backbone.visual.grid, 0
    for batch in trainer.train_loader_x:
        grey = batch["img"][:, :1]
        low, high = grey.amin((1, 2, 3)), grey.amax((1, 2, 3))
        shares = torch.nn.functional.adaptive_avg_pool2d(grey, grid).flatten(1)
        bright = (shares - low[:, None]) / (high - low)[:, None] > 0.5
        assert (bright == batch["roi"]).float().mean() > 0.9
        flipped += int(batch["roi"].view(-1, *grid)[:, -1, -1].sum())
    assert flipped > 0
