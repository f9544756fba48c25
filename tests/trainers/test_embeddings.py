"""Methods on a file of foreign features: no pixel is read, no tower is loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cerviclip.features import pixels
from dassl.errors import UserError

PLAIN = ("INPUT.FEATURE_VIEWS", 1)


@pytest.fixture
def features_file(build, image_root, tmp_path):
    """The tiny CLIP's own features of all images, in an order of its own, as an npz."""
    trainer = build("LinearProbe")
    paths = sorted((image_root / "cells").rglob("*.png"), reverse=True)
    table = trainer._open("pooled", 1, [str(path) for path in paths])
    rows = table.gather(torch.arange(len(paths))).numpy()
    names = [path.relative_to(image_root).as_posix() for path in paths]
    np.savez(tmp_path / "features.npz", paths=np.array(names), features=rows)
    return tmp_path / "features.npz"


def test_a_probe_on_a_file_is_the_probe_on_the_tower_that_made_it(
    features_file, run, tmp_path, monkeypatch
):
    folder, results = run("LinearProbe", *PLAIN)
    expected = (folder / "predictions.csv").read_text()
    folder.rename(tmp_path / "by_tower")

    def no_pixels(*args):
        raise AssertionError("an image was read")

    monkeypatch.setattr(pixels.PixelReader, "batches", no_pixels)
    folder, given = run("LinearProbe", *PLAIN, backbone=f"embeddings:{features_file}")
    assert (folder / "predictions.csv").read_text() == expected
    assert given["centers"] == results["centers"]
    digest = given["weights_sha256"]
    assert given["backbone"] == f"embeddings:features-{digest[:8]}"


@pytest.mark.parametrize("trainer", ["ProtoNet"])
def test_other_methods_without_texts_work_too(trainer, features_file, run, capsys):
    _, results = run(trainer, "INPUT.FEATURE_VIEWS", 1, backbone=f"embeddings:{features_file}")
    said = capsys.readouterr().out
    assert "gives the features, and no image is read" in said
    assert "Building transform" not in said
    assert results["centers"]["test"]["accuracy"]["value"] > 50


def test_what_needs_texts_towers_or_views_is_refused_when_the_config_is_checked(
    features_file, cfg_of, flags
):
    name = f"embeddings:{features_file}"
    with pytest.raises(UserError, match="CoOp needs a text encoder and embeddings:"):
        cfg_of(flags("CoOp", backbone=name))
    with pytest.raises(UserError, match="CNNBaseline works on images"):
        cfg_of(flags("CNNBaseline", backbone=name))
    with pytest.raises(UserError, match="FEATURE_VIEWS is 4.*set INPUT.FEATURE_VIEWS 1"):
        cfg_of(flags("LinearProbe", "INPUT.FEATURE_VIEWS", 4, backbone=name))


def test_other_images_cannot_be_named_by_it(features_file, build, image_root):
    trainer = build("LinearProbe", "INPUT.FEATURE_VIEWS", 1, backbone=f"embeddings:{features_file}")
    trainer.train()
    with pytest.raises(UserError, match="features of its own images and no network"):
        trainer.predict_images([str(next((image_root / "cells").rglob("*.png")))])


def test_the_hash_is_the_contents_and_not_the_path(features_file, cfg_of, flags, tmp_path):
    from cerviclip.runs.settings.config_hash import config_hash

    def hash_of(file):
        words = flags("LinearProbe", "INPUT.FEATURE_VIEWS", 1, backbone=f"embeddings:{file}")
        return config_hash(cfg_of(words))

    before = hash_of(features_file)
    moved = tmp_path / "elsewhere" / "features.npz"
    moved.parent.mkdir()
    moved.write_bytes(features_file.read_bytes())
    assert hash_of(moved) == before
    with np.load(features_file) as file:
        np.savez(moved, paths=file["paths"], features=2 * file["features"])
    assert hash_of(moved) != before
