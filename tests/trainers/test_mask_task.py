"""The tissue mask as a second task of SAVLT and CNNBaseline: off by default, learnt where asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dassl.errors import UserError

CNN = ("INPUT.SIZE", "(64,64)", "MODEL.BACKBONE.PRETRAINED", "False")
SQUEEZE = {"backbone": "torchvision:squeezenet1_0"}
WEIGHT = {"CNNBaseline": "TRAINER.CNNBASELINE.MASK.WEIGHT", "SAVLT": "TRAINER.SAVLT.MASK_WEIGHT"}
MASKS = {
    "CNNBaseline": ("TRAINER.CNNBASELINE.MASK.SOURCE", "masks"),
    "SAVLT": ("TRAINER.SAVLT.ROI.SOURCE", "masks", "TRAINER.SAVLT.ROI.KIND", "mask"),
}


@pytest.fixture
def tissue(tmp_path):
    """Images of three colours whose tissue is a bright half, and their masks beside them."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(("red", "green", "blue")):
        for n in range(14):
            mask = np.zeros((64, 64), np.uint8)
            mask[:, : rng.integers(16, 48)] = 255
            pixels = rng.integers(0, 30, (64, 64, 3), dtype=np.uint8)
            pixels[mask > 0] += 100
            pixels[..., c] += np.uint8(80)
            for kind, picture in (("images", pixels), ("masks", mask)):
                folder = tmp_path / "tissue" / kind / name
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(folder / f"P{100 * c + n:07d}_{n}.png")
    return ("DATASET.ROOT", str(tmp_path / "tissue"), "DATASET.FOLDER", "images")


def test_without_a_weight_there_is_no_head(build):
    assert build("CNNBaseline", *CNN, **SQUEEZE).mask_head is None
    assert build("SAVLT").head.mask is None


def test_the_cnn_adds_the_loss_of_its_last_map(build, tissue):
    from cerviclip.data.roi.mask_head import mask_loss

    opts = ("TRAINER.CNNBASELINE.LABEL_SMOOTHING", "0", WEIGHT["CNNBaseline"], "0.5")
    trainer = build("CNNBaseline", *CNN, *tissue, *MASKS["CNNBaseline"], *opts, **SQUEEZE)
    trainer.prepare_training()
    input, label = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    trainer.set_model_mode("eval")  # no dropout
    loss, logits = trainer.loss_and_logits(input, label)
    extra = 0.5 * mask_loss(trainer.mask_logits(input[0])[1], input[1])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, label) + extra)
    loss.backward()
    assert trainer.mask_head.logit.weight.grad.abs().sum() > 0
    assert input[1].shape == (4, 9) and 0 < input[1].float().mean() < 1


@pytest.mark.slow
def test_the_head_of_the_cnn_learns_the_tissue_and_the_run_says_how_well(run, tissue, evaluate):
    folder, results = run(
        *("CNNBaseline", *CNN, *tissue, *MASKS["CNNBaseline"], WEIGHT["CNNBaseline"], "1.0"),
        *("OPTIM.NAME", "adam", "OPTIM.LR", "0.001", "OPTIM.MAX_EPOCH", "80"),
        **SQUEEZE,
    )
    found = results["runtime"]["trainer"]["tissue_mask_on_val"]
    assert found["images"] > 0 and found["dice"] > 0.8, found
    assert evaluate(folder) == (folder / "predictions.csv").read_text()


def test_a_mask_needs_its_file(run, tissue, tmp_path):
    victim = next((tmp_path / "tissue" / "masks" / "red").iterdir())
    for path in victim.parent.iterdir():
        path.unlink()
    import train

    with pytest.raises(UserError, match=r"no mask .*TRAINER\.CNNBASELINE\.MASK\.SOURCE"):
        run("CNNBaseline", *CNN, *tissue, WEIGHT["CNNBaseline"], "1.0", **SQUEEZE)
    assert train  # the command itself turns this into one line


def test_savlt_adds_the_loss_of_the_patches(build, tissue):
    trainer = build(
        *("SAVLT", *tissue, *MASKS["SAVLT"], WEIGHT["SAVLT"], "0.5"),
        *("TRAINER.SAVLT.CONSISTENCY.WEIGHT", "0", "TRAINER.SAVLT.LORA.DROPOUT", "0"),
    )
    trainer.prepare_training()
    input, label = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    loss, logits = trainer.loss_and_logits(input, label)
    patches = trainer.tokens_of(*input)[1]
    from cerviclip.data.roi.mask_head import mask_loss

    extra = 0.5 * mask_loss(trainer.head.mask(patches), input[1])
    alone = trainer.head.loss(*trainer.both_logits(*input), label)
    torch.testing.assert_close(loss, alone + extra)
    loss.backward()
    assert trainer.head.mask.logit.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind, source", [("box", "surface"), ("mask", "none"), ("mask", "full")])
def test_savlt_needs_a_mask_to_learn(build, kind, source):
    roi = ("TRAINER.SAVLT.ROI.KIND", kind, "TRAINER.SAVLT.ROI.SOURCE", source)
    with pytest.raises(UserError, match=r"MASK_WEIGHT > 0 .*ROI\.KIND to mask"):
        build("SAVLT", *roi, WEIGHT["SAVLT"], "1.0")


@pytest.mark.slow
def test_savlt_runs_whole_with_the_head_and_loads_again(run, tissue, evaluate):
    folder, results = run("SAVLT", *tissue, *MASKS["SAVLT"], WEIGHT["SAVLT"], "0.5")
    assert results["status"] == "done"
    assert evaluate(folder) == (folder / "predictions.csv").read_text()
    assert json.loads((folder / "task.json").read_text())
