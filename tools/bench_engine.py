"""What the engine itself costs: an epoch against a bare loop, and the way to the first batch.

Goal
    Two ratios measured in one run on one machine, so that they mean something anywhere. An epoch
    through TrainerX is to cost at most 1.1 times a bare PyTorch loop over the same loader with the
    same steps (a model of one small layer); the first batch is to come at most 1 s after
    ``import torch, torchvision``, the model's own construction aside.

Usage
    python tools/bench_engine.py
    python tools/bench_engine.py --json bench.json --repeats 15

Example output
    epoch through TrainerX / bare loop   1.03  (200 batches of 32, median of 9 pairs)
    start-up to first batch beyond torch 0.54 s (median of 5 processes)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dassl.errors import cli_main

IMAGES, BATCH, CLASSES = 6400, 32, 2


def epoch_over_bare_loop(repeats: int, images: int = IMAGES) -> float:
    """Median ratio of ``repeats`` pairs of epochs, measured turn by turn."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from dassl.config import get_cfg_default
    from dassl.engine import TrainerX

    class InMemory(Dataset):
        """Batches with upstream's keys that cost as little as a loader can."""

        pixels = torch.rand(images, 3, 8, 8)

        def __len__(self) -> int:
            return images

        def __getitem__(self, index: int) -> dict:
            label = index % CLASSES
            return {"img": self.pixels[index], "label": label, "domain": 0, "index": index}

    class OneLayer(TrainerX):
        """Nothing but the loop."""

        def build_data_loader(self) -> None:
            self.train_loader_x = DataLoader(InMemory(), batch_size=BATCH, shuffle=True)
            self.val_loader, self.lab2cname = None, {0: "a", 1: "b"}

        def build_model(self) -> None:
            self.model = torch.nn.Linear(3, CLASSES)
            self.optim = torch.optim.SGD(self.model.parameters(), lr=0.01)
            self.register_model("model", self.model, self.optim)

        def logits(self, input: torch.Tensor) -> torch.Tensor:
            return self.model(input[:, :, 0, 0])

        def forward_backward(self, batch: dict) -> dict:
            input, label, _ = self.parse_batch_train(batch)
            loss = torch.nn.functional.cross_entropy(self.logits(input), label)
            self.model_backward_and_update(loss)
            return {"loss": loss.item()}

    def bare_loop(trainer: OneLayer) -> None:
        trainer.model.train()
        losses = []
        for batch in trainer.train_loader_x:
            input, label = batch["img"].to(trainer.device), batch["label"].to(trainer.device)
            loss = torch.nn.functional.cross_entropy(trainer.logits(input), label)
            trainer.optim.zero_grad()
            loss.backward()
            trainer.optim.step()
            losses.append(loss.item())

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg = get_cfg_default()
        cfg.OUTPUT_DIR, cfg.USE_CUDA = folder, False
        trainer = OneLayer(cfg)
        trainer.max_epoch = 1

        def through_trainer() -> None:
            trainer._begin_epoch()  # what train() does around each epoch is part of the price
            trainer.run_epoch()
            trainer._check_weights()

        pairs = []
        for i in range(repeats + 1):
            arms = [lambda: bare_loop(trainer), through_trainer]
            seconds = {k: _seconds(arms[k]) for k in ((0, 1) if i % 2 else (1, 0))}
            pairs.append(seconds[1] / seconds[0])
    return statistics.median(pairs[1:])  # the first pair warms up


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def startup_seconds_beyond_torch(repeats: int) -> float:
    """Median over fresh processes of the time from torch's import to the first batch."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_startup_once(Path(folder), i) for i in range(repeats + 1)]
    return statistics.median(runs[1:])  # the first process fills the disk cache


def _startup_once(folder: Path, number: int) -> float:
    command = [sys.executable, __file__, "--startup-child", str(folder / str(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def startup_child(folder: Path) -> float:
    """In a fresh process: images on disk, Vanilla on ResNet-18, until the first batch is loaded."""
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    start = time.perf_counter()
    from dassl.config import get_cfg_default
    from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
    from dassl.engine import TRAINER_REGISTRY, build_trainer
    from dassl.engine.dg import Vanilla
    from dassl.modeling import build_backbone
    from dassl.utils import set_random_seed

    class FirstBatch(Exception):
        """The first batch has come."""

    class Stopped(Vanilla):
        def forward_backward(self, batch: dict) -> dict:
            raise FirstBatch

    def images() -> list[Datum]:
        return [Datum(str(p), i % 2, 0, "ab"[i % 2]) for i, p in enumerate(_write_images(folder))]

    class Written(DatasetBase):
        def __init__(self, cfg: object) -> None:
            nonlocal writing
            writing = time.perf_counter()
            items = images()
            writing = time.perf_counter() - writing
            super().__init__(train_x=items, test=items)

    writing = 0.0
    DATASET_REGISTRY.register(Written)
    TRAINER_REGISTRY.register(Stopped)
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR, cfg.USE_CUDA = str(folder), False
    cfg.DATASET.NAME, cfg.TRAINER.NAME = "Written", "Stopped"
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED = "resnet18", False
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.DATALOADER.NUM_WORKERS = 0
    set_random_seed(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(FirstBatch):
        build_trainer(cfg).train()
    total = time.perf_counter() - start
    model = _seconds(lambda: build_backbone("resnet18", verbose=False, pretrained=False))
    return total - model - writing


def _write_images(folder: Path) -> list[Path]:
    from PIL import Image

    folder.mkdir(parents=True)
    paths = [folder / f"{i:02d}.png" for i in range(BATCH)]
    for i, path in enumerate(paths):
        Image.new("RGB", (224, 224), (i, 2 * i, 3 * i)).save(path)
    return paths


def run(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE", help="also write both figures to FILE")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of epochs (default 9)")
    parser.add_argument("--processes", type=int, default=5, help="start-ups (default 5)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    parser.add_argument("--startup-child", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.startup_child:
        print(startup_child(Path(args.startup_child)))
        return 0

    ratio = epoch_over_bare_loop(args.repeats)
    batches = IMAGES // BATCH
    print(
        f"epoch through TrainerX / bare loop   {ratio:.3f}  ({batches} batches of {BATCH}, median "
        f"of {args.repeats} pairs)"
    )
    startup = startup_seconds_beyond_torch(args.processes)
    median = f"median of {args.processes} processes"
    print(f"start-up to first batch beyond torch {startup:.2f} s ({median})")
    if args.json:
        figures = {
            "epoch_over_bare_loop": round(ratio, 4),
            "startup_seconds_beyond_torch": round(startup, 3),
        }
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return cli_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
