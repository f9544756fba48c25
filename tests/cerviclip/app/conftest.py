"""Runs that are seconds old, and pictures that they have not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from helpers import tiny_clip_state_dict, write_images

CLASSES = ("red", "green", "blue")


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("clip") / "tiny_clip.safetensors"
    save_file(tiny_clip_state_dict(vocab_size=49408), path)
    return path


@pytest.fixture(scope="session")
def make_run(clip_weights):
    """``make_run(trainer, data, folder, KEY, VALUE, ...)``: train.main to the end."""

    def make(trainer: str, data: Path, folder: Path, *opts: object, shots="2", seed="1") -> Path:
        folder.parent.mkdir(parents=True, exist_ok=True)
        empty = folder.parent / "empty.yaml"
        empty.touch()
        words = [
            *("--trainer", trainer, "--dataset", "FolderDataset", "--root", str(data.parent)),
            *("--config-file", str(empty), "--backbone", "CLIP", "--weights", str(clip_weights)),
            *("--shots", shots, "--seed", seed, "--output-dir", str(folder)),
            *("DATASET.FOLDER", data.name, "DATASET.PATIENT_PATTERN", r"(P\d{7})"),
            *("DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
            *("OPTIM.MAX_EPOCH", "1", "TRAIN.MAX_ITERS", "3"),
            *map(str, opts),
        ]
        assert train.main(words) == 0
        return folder

    return make


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> Path:
    """A folder of three classes, ten patients each."""
    folder = tmp_path_factory.mktemp("data") / "cells"
    write_images(folder, {name: 20 for name in CLASSES}, patients=10)
    return folder


@pytest.fixture(scope="session")
def probe(make_run, cells, tmp_path_factory) -> Path:
    """A run of LinearProbe with two positive classes."""
    folder = tmp_path_factory.mktemp("runs") / "probe"
    return make_run("LinearProbe", cells, folder, "DATASET.POSITIVE", "('red','blue')")


@pytest.fixture(scope="session")
def predictor(probe):
    from cerviclip import Predictor

    return Predictor.from_run(probe, device="cpu")


@pytest.fixture(scope="session")
def tested_rows():
    """``tested_rows(run)``: path -> probabilities of the test images in predictions.csv."""
    from cerviclip.runs.predictions import read_predictions

    def read(run: Path) -> dict[str, list[float]]:
        (test,) = (part for part in read_predictions(run) if part.center == "test")
        return dict(zip(test.paths, test.probs.tolist(), strict=True))

    return read
