"""Curves over severities, with a model whose answers are known."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import train
from cerviclip.data.variants.corruptions import LEVELS
from cerviclip.runs.inspection import robustness_figure as robustness_figure_module
from cerviclip.runs.inspection.robustness import CorruptedImages, measure_robustness
from cerviclip.runs.inspection.robustness_figure import robustness_figure
from cerviclip.runs.predictions import Predictions
from cerviclip.runs.report.figures import new_figure
from cerviclip.tools import robustness
from dassl.errors import cli_main
from helpers import tiny_clip_state_dict, write_images

CLASSES = ("dark", "bright")


class BrightnessModel:
    """Says ``bright`` the likelier the brighter an image is; reads in batches of three."""

    def predict_images(self, pictures):
        means = []
        for start in range(0, len(pictures), 3):
            means += [np.asarray(p, float).mean() / 255 for p in pictures[start : start + 3]]
        bright = np.clip(np.array(means), 0.01, 0.99)
        return np.stack([1 - bright, bright], axis=1)


@pytest.fixture
def center(tmp_path):
    labels = np.arange(16) % 2
    paths = [f"x/{i}.png" for i in range(16)]
    (tmp_path / "x").mkdir()
    for path, label in zip(paths, labels, strict=True):
        Image.new("RGB", (32, 32), (200,) * 3 if label else (40,) * 3).save(tmp_path / path)
    ids = [f"P{i // 2}" for i in range(16)]
    return Predictions("far", paths, ids, labels, np.full((16, 2), 0.5), CLASSES)


RESULTS = {
    "positive_classes": ["bright"],
    "operating_points": {
        "chosen_on": "val", "home": {}, "points": {"youden": {"threshold": 0.5, "centers": {}}},
    },
    "calibration": {"fitted_on": "val", "temperature": {"value": None}, "isotonic": {"x": []}},
    "conformal": {"methods": {}, "centers": {}},
}  # fmt: skip


def test_metrics_fall_as_far_as_the_images_change(center, tmp_path):
    record = measure_robustness(
        BrightnessModel(), [center], RESULTS, str(tmp_path), ["gain", "jpeg"]
    )
    gain = record["centers"]["far"]["gain"]
    values = [cell["value"] for cell in gain["binary.sensitivity"]]
    # 200 of 255 times the factor is above one half with 1, 0.85 and 0.7, and not with 0.55.
    assert values == [100.0, 100.0, 100.0, 0.0, 0.0, 0.0]
    assert [cell["value"] for cell in gain["youden.specificity"]] == [100.0] * 6
    assert all(c["low"] < c["high"] for c in gain["accuracy"])
    assert gain["accuracy"][0] == record["centers"]["far"]["jpeg"]["accuracy"][0]
    assert record["corruptions"]["gain"]["levels"] == list(LEVELS["gain"][1])


def test_the_same_call_gives_the_same_numbers(center, tmp_path):
    of = (BrightnessModel(), [center], RESULTS, str(tmp_path), ["noise"])
    assert measure_robustness(*of) == measure_robustness(*of)


def test_the_figure_has_a_panel_for_each_corruption(center, tmp_path):
    record = measure_robustness(
        BrightnessModel(), [center], RESULTS, str(tmp_path), ["gain", "blur"]
    )
    robustness_figure(record, "accuracy", tmp_path / "out" / "r.png")
    with Image.open(tmp_path / "out" / "r.png") as image:
        assert image.width > image.height > 300
    lines = robustness.lines_of(record, "binary.sensitivity")
    assert lines[0] == "far, gain: binary.sensitivity 100 100 100 0 0 0"


def test_centers_with_equal_scores_do_not_hide_each_other(center, tmp_path, monkeypatch):
    record = measure_robustness(BrightnessModel(), [center], RESULTS, str(tmp_path), ["gain"])
    record["centers"]["near"] = record["centers"]["far"]
    drawn = []
    monkeypatch.setattr(
        robustness_figure_module,
        "new_figure",
        lambda *of, **how: drawn.append(new_figure(*of, **how)) or drawn[-1],
    )
    robustness_figure(record, "accuracy", tmp_path / "r.png")
    far, near = drawn[0].axes[0].lines
    assert list(far.get_ydata()) == list(near.get_ydata())
    assert np.all(np.array(far.get_xdata()) < np.array(near.get_xdata()))


def test_images_are_made_one_by_one(center, tmp_path):
    files = [tmp_path / path for path in center.paths]
    images = CorruptedImages(files, center.paths, "gain", 1)
    assert len(images) == 16 and len(images[3:5]) == 2
    assert np.asarray(images[1]).max() == 170  # 200 x 0.85


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert cli_main(robustness.main, [str(tmp_path)]) == 2
    assert "no run in" in (error := capsys.readouterr().err) and error.count("\n") == 1


@pytest.mark.slow
def test_a_trained_run_is_measured_from_its_folder(tmp_path):
    """Severity 0 is the run's own accuracy."""
    write_images(tmp_path / "cells", {"red": 20, "green": 20, "blue": 20}, patients=10)
    save_file(tiny_clip_state_dict(), tmp_path / "clip.safetensors")
    out = tmp_path / "run"
    words = ["--trainer", "LinearProbe", "--dataset", "FolderDataset", "--root", str(tmp_path)]
    words += ["--backbone", "CLIP", "--weights", str(tmp_path / "clip.safetensors"), "--shots", "2"]
    words += ["--output-dir", str(out), "DATASET.FOLDER", "cells"]
    assert cli_main(train.main, [*words, "DATASET.PATIENT_PATTERN", r"(P\d{7})"]) == 0
    flags = [str(out), "--weights", str(tmp_path / "clip.safetensors"), "--corruptions", "noise"]
    assert cli_main(robustness.main, flags) == 0
    record = json.loads((out / "robustness" / "robustness.json").read_text())
    results = json.loads((out / "results.json").read_text())
    assert set(record["centers"]) == {"test"}
    own = results["centers"]["test"]["accuracy"]["value"]
    assert record["centers"]["test"]["noise"]["accuracy"][0]["value"] == pytest.approx(own)


@pytest.mark.slow
def test_a_trainer_that_predicts_loaders_alone_is_refused(zoo, capsys):
    assert cli_main(train.main, zoo.argv("ZooLinear", "2", "--output-dir", str(zoo.out))) == 0
    capsys.readouterr()
    assert cli_main(robustness.main, [str(zoo.out), "--plugin", zoo.common[1]]) == 2
    assert "ZooLinear predicts the batches of a loader alone" in capsys.readouterr().err
