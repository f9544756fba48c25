"""Segmenters: checkpoints rebuild themselves, scores equal their definitions, errors help."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cerviclip.data.roi.segmenters import (
    ARCHITECTURES,
    Segmenter,
    SegmenterSpec,
    dice_loss,
    load_segmenter,
    overlap_scores,
    surface_rows,
)
from dassl.errors import MissingFileError, UserError

pytest.importorskip("segmentation_models_pytorch", reason="needs the extra [segment]")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_checkpoint_rebuilds_the_network_it_was_saved_from(arch, tmp_path):
    model = Segmenter(SegmenterSpec(arch, size=64)).eval()
    model.save(tmp_path / "segmenter.safetensors")
    again = load_segmenter(tmp_path / "segmenter.safetensors")
    image = np.random.default_rng(0).integers(0, 255, (70, 50), dtype=np.uint8)
    assert again.spec == model.spec
    mask = again.masks([image])[0]
    assert mask.shape == image.shape
    assert np.array_equal(mask, model.masks([image])[0])


def test_masks_do_not_depend_on_gain_or_leave_the_model_in_eval_mode():
    model = Segmenter(SegmenterSpec(size=32)).train()
    image = np.random.default_rng(0).integers(0, 120, (32, 32), dtype=np.uint8)
    assert np.array_equal(model.masks([image])[0], model.masks([image * 2])[0])
    assert model.training


def test_dice_loss_and_scores_follow_their_definitions():
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 2:, :] = 1
    assert dice_loss(torch.where(mask > 0, 30.0, -30.0), mask) < 1e-6
    assert dice_loss(torch.where(mask > 0, -30.0, 30.0), mask) > 0.9
    predicted = np.zeros((4, 4), bool)
    predicted[1:, :] = True
    iou, dice = overlap_scores(predicted, mask[0, 0].numpy() > 0)
    assert iou == pytest.approx(8 / 12)
    assert dice == pytest.approx(16 / 20)
    assert overlap_scores(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == (1.0, 1.0)


def test_surface_is_the_first_tissue_row_and_the_height_where_there_is_none():
    mask = np.zeros((5, 3), bool)
    mask[2:, 0] = mask[4:, 1] = True
    assert surface_rows(mask).tolist() == [2, 4, 5]


def test_bad_files_and_names_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.safetensors"):
        load_segmenter(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(UserError, match=r"text\.safetensors"):
        load_segmenter(tmp_path / "text.safetensors")
    with pytest.raises(UserError, match="transunet"):
        Segmenter(SegmenterSpec("transunet"))
    with pytest.raises(UserError, match="multiple of 32"):
        Segmenter(SegmenterSpec(size=100))
    with pytest.raises(UserError, match="resnet19"):
        Segmenter(SegmenterSpec(encoder="resnet19"))
