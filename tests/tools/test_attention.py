"""tools/attention.py: overlays for images, a sheet for a folder, and what the weights are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cerviclip.tools import attention
from dassl.errors import cli_main
from helpers import tiny_clip_state_dict


def write_frames(root, per_class=6):
    """Dark water over tissue that begins at row 40 of 96, brighter from class to class."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(("cyst", "cancer")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 8, (96, 96), dtype=np.uint8)
            pixels[40:] += rng.integers(90 + 60 * c, 110 + 60 * c, (56, 96), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"M1_2021_P{c:03d}{i:04d}_f{i}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A trained SAVLT run with its frames, and one of ZeroShotCLIP: (frames, run, other run)."""
    from safetensors.torch import save_file

    import train

    root = tmp_path_factory.mktemp("attention")
    save_file(tiny_clip_state_dict(image_size=48), root / "clip.safetensors")
    write_frames(root / "data" / "frames")
    (root / "empty.yaml").touch()
    for trainer, shots in (("SAVLT", "2"), ("ZeroShotCLIP", "0")):
        words = f"--trainer {trainer} --dataset FolderDataset --root {root / 'data'} --seed 1 "
        words += f"--backbone CLIP --weights {root / 'clip.safetensors'} --shots {shots} "
        words += f"--config-file {root / 'empty.yaml'} --output-dir {root / trainer} "
        words += "DATASET.FOLDER frames DATASET.PATIENT_PATTERN (P[0-9]{7}) TRAIN.MAX_ITERS 2 "
        assert train.main([*words.split(), "DATALOADER.NUM_WORKERS", "0"]) == 0
    return root / "data" / "frames", root / "SAVLT", root / "ZeroShotCLIP"


def cyan(picture) -> np.ndarray:
    """Where a picture has about the colour of the ROI's outline, which no heat map has."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(picture).convert("RGB")).astype(int), 2, 0)
    return (green - red > 40) & (blue - red > 50)


def test_one_picture_an_image_with_the_roi_in_every_panel(made, tmp_path, capsys):
    frames, run, _ = made
    images = sorted((frames / "cyst").glob("*.png"))[:2]
    assert attention.main([str(run), *map(str, images), "--output", str(tmp_path)]) == 0
    written = capsys.readouterr().out
    for image in images:
        target = tmp_path / image.name
        assert str(target) in written
        line = np.flatnonzero(cyan(target).sum(1) > 300)  # a row of pixels through all panels
        assert len(line) and line[-1] - line[0] < 6


def test_a_folder_is_one_contact_sheet(made, tmp_path, capsys, monkeypatch):
    frames, run, _ = made
    assert attention.main([str(run), str(frames), "--sheet", "--output", str(tmp_path)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    assert cyan(tmp_path / "sheet.png").sum() > 1000
    monkeypatch.setattr(attention, "ROWS", 1)
    attention.main([str(run), str(frames), "--sheet", "--output", str(tmp_path / "more")])
    assert sorted(p.name for p in (tmp_path / "more").iterdir()) == ["sheet_1.png", "sheet_2.png"]


def test_weights_and_roi_are_the_models(made):
    frames, run, _ = made
    trainer = attention.open_run(str(run))
    look = attention.look_at(trainer, next(iter(sorted((frames / "cancer").glob("*.png")))))
    assert look.roi.shape == look.picture.shape[:2] == (48, 48)
    top = int(look.roi.argmax(0)[0])
    assert abs(top - 20) <= 2 and look.roi[top:].all()  # 40 of 96 rows
    assert not look.attention[:, ~look.inside].any()
    np.testing.assert_allclose(look.attention.sum((1, 2)), 1, rtol=1e-5)
    assert look.prediction in ("cyst", "cancer")


def test_neither_the_training_data_nor_the_store_is_needed(made, tmp_path, monkeypatch):
    frames, run, _ = made
    image = tmp_path / "one.png"
    image.write_bytes(next((frames / "cyst").iterdir()).read_bytes())
    monkeypatch.setenv("CERVICLIP_CACHE", str(tmp_path / "store"))
    frames.rename(frames.with_name("gone"))
    try:
        assert attention.main([str(run), str(image)]) == 0
    finally:
        frames.with_name("gone").rename(frames)
    assert (run / "attention" / "one.png").is_file() and not (tmp_path / "store").exists()


def test_what_cannot_be_drawn_is_one_line(made, tmp_path, capsys):
    frames, run, other = made
    (tmp_path / "empty").mkdir()
    for words, wanted in [
        ([str(tmp_path), str(frames)], "config.yaml"),
        ([str(run), str(tmp_path / "none.png")], "no image or folder"),
        ([str(run), str(tmp_path / "empty")], "no images"),
        ([str(other), str(frames)], "ZeroShotCLIP without ROI attention"),
    ]:
        capsys.readouterr()
        assert cli_main(attention.main, words) == 2
        error = capsys.readouterr().err.strip()
        assert wanted in error and "\n" not in error


def test_images_are_found_as_the_data_sets_find_them(tmp_path):
    """Fault 56: a ._file stopped the tool, a .webp was left out."""
    for name in ("a.png", "b.webp", "._a.png", "@eaDir/t.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert attention.find_images([str(tmp_path)]) == [tmp_path / "a.png", tmp_path / "b.webp"]
