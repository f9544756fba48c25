"""Feature combination: one backbone is the linear probe; several keep their own preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cases import TrainerCase

from dassl.errors import UserError

CASE = TrainerCase("FeatureCombination")
KEY = "TRAINER.FEATURECOMBINATION."


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    from torchvision.models import squeezenet1_0

    file = tmp_path_factory.mktemp("cnn") / "squeezenet.pth"
    torch.manual_seed(3)
    torch.save(squeezenet1_0().state_dict(), file)
    return f"torchvision:squeezenet1_0={file}"


def test_one_backbone_is_the_linear_probe(run):
    folder, results = run("LinearProbe")
    expected = (folder / "predictions.csv").read_text()
    folder, joined = run("FeatureCombination")
    assert (folder / "predictions.csv").read_text() == expected
    assert joined["search"] == results["search"]
    assert joined["weights_sha256"] == results["weights_sha256"]


@pytest.mark.slow
def test_several_are_standardised_blocks_under_one_logistic_regression(build, squeezenet):
    """Against scikit-learn on what each backbone gives by its own preprocessing."""
    from sklearn.linear_model import LogisticRegression

    weights = (2.0, 0.5)
    trainer = build(
        "FeatureCombination", KEY + "BACKBONES", f"['{squeezenet}']", KEY + "WEIGHTS", weights,
        "TRAINER.LINEARPROBE.C_GRID", "(0.1,)",
    )  # fmt: skip
    trainer.train()
    clip, cnn = trainer.parts
    assert trainer.dims == [32, 1024] and trainer.head.weight.shape == (3, 1056)
    assert clip.tfm_test.transforms[-1].mean != cnn.tfm_test.transforms[-1].mean
    data = trainer.dm.dataset
    blocks = {"train": [], "test": []}
    for name, items in (("train", data.train_x), ("test", data.test)):
        from dassl.utils import read_image

        for part in trainer.parts:
            x = torch.stack([part.tfm_test(read_image(item.impath)) for item in items])
            rows = part.encoder(x).float()
            blocks[name].append(torch.nn.functional.normalize(rows, dim=-1).double().numpy())
    fitted = []
    for block in blocks["train"]:
        fitted.append((block.mean(0), np.maximum(block.std(0), 1e-6 * 2**0.5)))
    joined = {
        name: np.hstack([
            weight * (block - mean) / std
            for weight, block, (mean, std) in zip(weights, of, fitted, strict=True)
        ])
        for name, of in blocks.items()
    }  # fmt: skip
    labels = [item.label for item in data.train_x]
    model = LogisticRegression(C=0.1, max_iter=2000).fit(joined["train"], labels)
    ours = []
    for batch in trainer.make_loader(data.test):
        ours.append(trainer.model_inference(batch["img"]).exp())
    np.testing.assert_allclose(
        torch.cat(ours).detach().numpy(), model.predict_proba(joined["test"]), atol=2e-3
    )


def test_val_chooses_the_subset(build, squeezenet):
    """The random CNN beside a CLIP whose features tell the colours: all subsets are tried."""
    trainer = build(
        "FeatureCombination", KEY + "BACKBONES", f"['{squeezenet}']", KEY + "CHOOSE", "val"
    )
    trainer.train()
    search = trainer.extra_results["search"]
    assert search["tried"] == 3 * 6
    left_out = [i for i, name in enumerate(("CLIP", "torchvision:squeezenet1_0"))
                if not search["chosen"][name]]  # fmt: skip
    blocks = trainer.head.weight.split(trainer.dims, dim=1)
    assert all((blocks[i] == 0).all() == (i in left_out) for i in range(2))


def test_new_images_go_through_every_backbone(run, squeezenet, image_root):
    """As the stored rows of the same files, by the run loaded without its data."""
    import csv

    from cerviclip.runs.run.load import load_run

    folder, results = run("FeatureCombination", KEY + "BACKBONES", f"['{squeezenet}']")
    with open(folder / "predictions.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))[:3]
    names = [key for key in rows[0] if key.startswith("p_")]
    expected = np.array([[float(row[name]) for name in names] for row in rows])
    trainer = load_run(folder).trainer
    probs = trainer.predict_images([str(image_root / row["path"]) for row in rows])
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    assert results["weights_sha256"] == trainer.backbone.weights_sha256


def test_other_weights_of_a_further_backbone_are_another_configuration(
    run, squeezenet, cfg_of, flags, tmp_path
):
    from cerviclip.runs.run.load import load_run
    from cerviclip.runs.settings.config_hash import config_hash

    name, _, file = squeezenet.partition("=")
    moved = tmp_path / "moved.pth"
    moved.write_bytes(Path(file).read_bytes())

    def hash_of(path):
        opts = (KEY + "BACKBONES", f"['{name}={path}']")
        return config_hash(cfg_of(flags("FeatureCombination", *opts)))

    before = hash_of(file)
    assert hash_of(moved) == before
    folder, _ = run("FeatureCombination", KEY + "BACKBONES", f"['{name}={moved}']")
    state = torch.load(moved, weights_only=True)
    torch.save({key: value + 0.01 for key, value in state.items()}, moved)
    assert hash_of(moved) != before
    with pytest.raises(UserError, match="has weights|was trained on a backbone"):
        load_run(folder)


def test_a_file_of_features_may_be_one_of_them(build, image_root, tmp_path):
    paths = sorted((image_root / "cells").rglob("*.png"))
    colours = [["red", "green", "blue"].index(path.parent.name) for path in paths]
    names = [path.relative_to(image_root).as_posix() for path in paths]
    rows = np.eye(3, dtype=np.float32)[colours] + 0.1
    np.savez(tmp_path / "f.npz", paths=names, features=rows)
    trainer = build("FeatureCombination", KEY + "BACKBONES", f"['embeddings:{tmp_path}/f.npz']")
    trainer.train()
    assert trainer.dims == [32, 3] and trainer.history[0]["acc"] == 100
    with pytest.raises(UserError, match="set INPUT.FEATURE_VIEWS 1"):
        build(
            "FeatureCombination", KEY + "BACKBONES", f"['embeddings:{tmp_path}/f.npz']",
            "INPUT.FEATURE_VIEWS", 3,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("CHOOSE", "test", "take all, or val"),
        ("WEIGHTS", "(1.0, 2.0)", "give 1 numbers above 0"),
        ("BACKBONES", "['RN50=']", "NAME or NAME=FILE"),
        ("BACKBONES", str(["RN50"] * 6), "joins 7 backbones; at most 6"),
    ],
)
def test_wrong_settings_are_one_line(key, value, said, build):
    with pytest.raises(UserError, match=said):
        build("FeatureCombination", KEY + key, value)
