"""A tiny CLIP, a folder of three colours, and a trainer built as train.py builds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import tiny_clip_state_dict, write_images

CLASSES = ("red", "green", "blue")


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("clip") / "tiny_clip.safetensors"
    save_file(tiny_clip_state_dict(vocab_size=49408), path)
    return path


@pytest.fixture(scope="session")
def image_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_images(root / "cells", {name: 20 for name in CLASSES}, patients=10)
    return root


@pytest.fixture
def flags(clip_file, image_root, tmp_path):
    """``flags(trainer, KEY, VALUE, ...)``: the arguments of train.py for a run of seconds."""

    def make(
        trainer: str,
        *opts: object,
        shots: object = 4,
        backbone: str = "CLIP",
        weights: Path | None = None,
        config: Path | None = None,
    ) -> list[str]:
        if config is None:  # the tests' own settings, not those of a shipped yaml
            config = tmp_path / "empty.yaml"
            config.touch()
        weights = clip_file if backbone == "CLIP" else weights
        file = ["--weights", str(weights)] if weights else []
        return [
            *("--trainer", trainer, "--dataset", "FolderDataset", "--root", str(image_root)),
            *(
                "--config-file",
                str(config),
                "--backbone",
                backbone,
                *file,
                "--shots",
                str(shots),
                "--seed",
                "1",
            ),
            *("DATASET.FOLDER", "cells", "DATASET.PATIENT_PATTERN", r"(P\d{7})"),
            *("DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
            *("DATALOADER.TEST.BATCH_SIZE", "16", "OPTIM.MAX_EPOCH", "1", "TRAIN.PRINT_FREQ", "1"),
            *("INPUT.TRANSFORMS", "('random_resized_crop','random_flip','normalize')"),
            *map(str, opts),
        ]

    return make


@pytest.fixture
def cfg_of():
    """``cfg_of(words)``: the configuration that train.py makes of its arguments."""
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.flags import run_request, train_parser

    return lambda words: setup_cfg(run_request(train_parser().parse_args(words)))


@pytest.fixture
def build(flags, cfg_of, tmp_path):
    """``build(trainer, KEY, VALUE, ...)``: the trainer object, untrained."""
    from dassl.engine import build_trainer

    def make(trainer: str, *opts: object, **kwargs: object):
        folder = tmp_path / "built" / trainer  # a second build of it that trains resumes the first
        arguments = ["--output-dir", str(folder), *flags(trainer, *opts, **kwargs)]
        return build_trainer(cfg_of(arguments))

    return make


@pytest.fixture
def run(flags, tmp_path):
    """``run(trainer, KEY, VALUE, ...)``: train.main to the end; its folder and results.json."""
    import train

    def make(trainer: str, *opts: object, **kwargs: object) -> tuple[Path, dict]:
        folder = tmp_path / f"run_{trainer}"
        code = train.main(["--output-dir", str(folder), *flags(trainer, *opts, **kwargs)])
        assert code == 0
        return folder, json.loads((folder / "results.json").read_text())

    return make


@pytest.fixture
def evaluate(tmp_path):
    """``evaluate(run_folder)``: ``--eval-only`` into a folder of its own; its predictions' text."""
    import train

    def make(folder: Path) -> str:
        out = tmp_path / "evaluated"
        code = train.main(["--eval-only", "--model-dir", str(folder), "--output-dir", str(out)])
        assert code == 0
        return (out / "predictions.csv").read_text()

    return make


@pytest.fixture
def module_of():
    """``module_of(trainer)``: the file that registers it, as a module."""
    import sys

    from cerviclip.plugins import ensure_loaded

    return lambda trainer: sys.modules[ensure_loaded("trainer", trainer).__module__]


@pytest.fixture
def test_batch():
    """``test_batch(trainer)``: ``img`` of the first batch of the test set, stored features."""
    return lambda trainer: next(iter(trainer.make_loader(trainer.dm.dataset.test)))["img"]


@pytest.fixture
def assert_is_zero_shot(build, test_batch):
    """``assert_is_zero_shot(trainer)``: its logits of a test batch are those of ZeroShotCLIP."""
    import torch

    def check(trainer, **tolerance: float) -> None:
        zero_shot, x = build("ZeroShotCLIP", shots=0), test_batch(trainer)
        with torch.no_grad():
            expected = zero_shot.model_inference(x)
            torch.testing.assert_close(trainer.model_inference(x), expected, **tolerance)

    return check


@pytest.fixture(scope="session")
def resnet_file(tmp_path_factory) -> Path:
    """A CLIP whose vision tower is a small ResNet."""
    import torch
    from safetensors.torch import save_file

    from cerviclip.vlm.towers.clip_package import import_clip

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = import_clip().model.CLIP(32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 2)
    path = tmp_path_factory.mktemp("clip") / "tiny_resnet.safetensors"
    save_file({key: value.clone() for key, value in model.state_dict().items()}, path)
    return path
