"""The segmenter's tool: folds by patient, a checkpoint that finds tissue, errors in one line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("segmentation_models_pytorch", reason="needs the extra [segment]")

from cerviclip.tools import train_segmenter
from dassl.errors import UserError


def _center(root, name, patients, seed=0):
    """Frames whose lower part is bright tissue, three to a patient."""
    rng = np.random.default_rng(seed)
    for p in range(patients):
        for k in range(3):
            surface = int(rng.integers(12, 40))
            image = rng.integers(0, 30, (64, 64), dtype=np.uint8)
            image[surface:] += 120
            mask = np.zeros((64, 64), np.uint8)
            mask[surface:] = 255
            for folder, pixels in (("images", image), ("masks", mask)):
                path = root / name / folder / "cyst" / f"M1_2021_P{p:07d}_f{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root / name


@pytest.mark.slow
def test_trains_by_patient_and_finds_the_surface(tmp_path, capsys):
    data, other = _center(tmp_path, "a", 6), _center(tmp_path, "b", 2, seed=1)
    out = tmp_path / "out"
    status = train_segmenter.main(
        f"--data {data} --held-out {other} --folds 2 --epochs 8 --batch-size 6 --size 32 "
        f"--output {out}".split()
    )
    assert status == 0
    result, classical = json.loads((out / "results.json").read_text())
    assert len(result["folds"]) == 2
    assert result["held_out"]["b"]["dice"] > 0.9
    assert (out / "unet" / "segmenter.safetensors").is_file()
    assert classical["arch"] == "classical" and classical["held_out"]["b"]["dice"] > 0.9
    assert "unet" in capsys.readouterr().out


def test_folds_never_part_a_patient(tmp_path, monkeypatch):
    frames = train_segmenter.find_frames(_center(tmp_path, "a", 6), r"_(P\d{7})_", 0)
    seen = []
    monkeypatch.setattr(train_segmenter, "fit", lambda *args: SimpleNamespace(masks=None))
    monkeypatch.setattr(
        train_segmenter, "evaluate", lambda masks_of, test: seen.append(test) or {"dice": 0.0}
    )
    args = train_segmenter.parse(["--folds", "3"])
    from cerviclip.data.roi.segmenters import SegmenterSpec

    train_segmenter.cross_validate(SegmenterSpec(size=32), frames, args)
    held = [{frame.patient for frame in fold} for fold in seen]
    assert len(held) == 3
    assert set.union(*held) == {frame.patient for frame in frames}
    assert sum(len(patients) for patients in held) == 6


def test_user_errors_are_one_line_and_status_2(tmp_path, capsys):
    from dassl.errors import cli_main

    data = _center(tmp_path, "a", 2)
    Image.fromarray(np.zeros((64, 32), np.uint8)).save(
        next((data / "masks" / "cyst").glob("*f0.png"))
    )
    for words, wanted in [
        (["--data", str(tmp_path / "none")], "images"),
        (["--data", str(data), "--folds", "9"], "--folds 9"),
        (["--data", str(data), "--patient-pattern", "(Q[0-9]+)"], "patient pattern"),
        (["--data", str(data), "--folds", "2", "--size", "32"], "32x64"),
    ]:
        assert cli_main(train_segmenter.main, words) == 2
        error = capsys.readouterr().err
        assert wanted in error and error.count("\n") == 1


def test_jitter_moves_image_and_mask_alike_and_keeps_tissue_below():
    import torch

    masks = torch.zeros(16, 1, 64, 48)
    masks[:, :, 30:] = 1
    masks[:, :, 24:30, :20] = 1
    moved, moved_masks = train_segmenter.jitter(masks, masks, torch.Generator().manual_seed(0))
    assert ((moved > 0.5) == (moved_masks > 0.5)).float().mean() > 0.98
    assert set(moved_masks.unique().tolist()) == {0.0, 1.0}
    depth = moved_masks.mean((1, 2, 3))
    assert depth.max() - depth.min() > 0.1  # shifted and stretched
    assert (moved_masks[:, :, 1:] >= moved_masks[:, :, :-1]).all()  # no water below tissue


def test_restyle_stays_in_range_and_moves_nothing():
    import torch

    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(8, 1, 32, 32)
    masks[:, :, 16:] = 1
    images = 0.1 + 0.4 * masks
    styled = train_segmenter.restyle(images, masks, generator)
    assert styled.min() >= 0 and styled.max() <= 1
    brighter = styled[:, :, 16:].mean((1, 2, 3)) > styled[:, :, :16].mean((1, 2, 3))
    assert brighter.float().mean() > 0.8
    assert not torch.equal(styled[0], styled[1])


def test_draws_checkpoints_over_frames_without_masks(tmp_path, capsys):
    from cerviclip.data.roi.segmenters import Segmenter, SegmenterSpec
    from dassl.errors import cli_main

    frames = _center(tmp_path, "a", 1) / "images"
    checkpoint = tmp_path / "unet" / "segmenter.safetensors"
    Segmenter(SegmenterSpec(size=32)).save(checkpoint)
    words = ["--draw", str(frames), "--checkpoint", str(checkpoint), "--output", str(tmp_path)]
    assert train_segmenter.main(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "surfaces.png")
    with Image.open(tmp_path / "surfaces.png") as sheet:
        assert sheet.width < sheet.height  # two columns, three frames
        colours = np.asarray(sheet.convert("RGB")).astype(int)
    assert (colours[..., 0] - colours[..., 2] > 150).sum() > 500  # the lines
    for bad in (["--checkpoint", str(checkpoint)], ["--draw", str(tmp_path / "none")]):
        assert cli_main(train_segmenter.main, bad) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("values", "word"), [((0, 0), "empty"), ((1, 2), "full")])
def test_masks_that_say_nothing_are_refused(tmp_path, values, word):
    """Fault 24: all empty gave Dice 0, labels 1 and 2 made all tissue."""
    data = _center(tmp_path, "a", 2)
    for file in (data / "masks").rglob("*.png"):
        mask = np.full((64, 64), values[0], np.uint8)
        mask[20:] = values[1]
        Image.fromarray(mask).save(file)
    frames = train_segmenter.find_frames(data, r"_(P\d{7})_", 0)
    with pytest.raises(UserError, match=f"every mask is {word}.*values"):
        train_segmenter.check_masks(frames)


def test_masks_are_described_and_odd_values_pointed_out(tmp_path):
    data = _center(tmp_path, "a", 2)
    frames = train_segmenter.find_frames(data, r"_(P\d{7})_", 0)
    assert train_segmenter.check_masks(frames).endswith("in 6 masks, values 0, 255")
    file = frames[0].mask
    Image.fromarray(np.clip(np.asarray(Image.open(file)), 3, 255)).save(file)
    assert "more than two values" in train_segmenter.check_masks(frames)


def test_frames_are_found_as_the_data_sets_find_them(tmp_path):
    """Fault 56: a ._file stopped the tool, a .webp was left out."""
    data = _center(tmp_path, "a", 2)
    first = train_segmenter.find_frames(data, r"_(P\d{7})_", 0)[0].image
    Image.open(first).save(first.with_suffix(".webp"), lossless=True)
    first.unlink()
    for part in ("images", "masks"):
        (data / part / "cyst/._x.png").write_bytes(b"junk")
    frames = train_segmenter.find_frames(data, r"_(P\d{7})_", 0)
    assert len(frames) == 6 and frames[0].image.suffix == ".webp"
