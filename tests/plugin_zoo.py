"""A plug-in for tests: a fake dataset with two external centres, and trainers of no cost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from dassl.config import CfgNode
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from helpers import write_images

CLASSES = ["alpha", "beta", "gamma"]


def read_folder(folder: Path) -> list[Datum]:
    """Every image below ``folder/<class>/``, patients by the file name."""
    return [
        Datum(str(path), CLASSES.index(name), 0, name, path.name.split("_")[2])
        for name in CLASSES
        for path in sorted((folder / name).glob("*.png"))
    ]


class _Zoo(DatasetBase):
    positive_classes = ["alpha"]
    templates = ["a photo of a {}."]

    def images(self, cfg: CfgNode, center: str, counts: dict[str, int]) -> list[Datum]:
        folder = Path(cfg.DATASET.ROOT) / "zoo" / center
        if not folder.is_dir():  # whole or not at all: two workers may come here at once
            made = folder.with_name(f".{center}-{os.getpid()}")
            write_images(made, counts, size=8, patients=6, seed=len(center))
            try:
                os.rename(made, folder)
            except OSError:  # the other was quicker
                shutil.rmtree(made)
        self.root = str(folder.parent)
        return read_folder(folder)


@DATASET_REGISTRY.register()
class ZooMain(_Zoo):
    """Coloured squares: train, val and test."""

    def __init__(self, cfg: CfgNode) -> None:
        items = self.images(cfg, "main", dict.fromkeys(CLASSES, 30))
        train, val = items[0::3], items[1::3]
        shots = cfg.DATASET.NUM_SHOTS
        by_class = [[d for d in train if d.label == c] for c in range(3)]
        if shots > 0:
            offset = max(cfg.SEED, 0) % 5
            train = [d for items_c in by_class for d in (items_c[offset:] + items_c)[:shots]]
        self.split_hash, self.draw_hash = "zoo-split", f"zoo-{shots}-{cfg.SEED}"
        super().__init__(train_x=train if shots else [], val=val, test=items[2::3])


@DATASET_REGISTRY.register()
class ZooFar(_Zoo):
    """An external centre where one class is missing."""

    def __init__(self, cfg: CfgNode) -> None:
        items = self.images(cfg, "faraway", {"alpha": 12, "beta": 12})
        super().__init__(train_x=[], test=items)


class _Pixels(torch.nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.mean(dim=(2, 3)))


@TRAINER_REGISTRY.register()
class ZooLinear(TrainerX):
    """Mean colours and a linear layer."""

    def build_model(self) -> None:
        self.model = _Pixels(self.num_classes)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def forward_backward(self, batch: dict) -> dict[str, float]:
        images, labels = self.parse_batch_train(batch)
        loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def parse_batch_train(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        return batch["img"], batch["label"]

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        super().load_model(directory, epoch=epoch or self.cfg.OPTIM.MAX_EPOCH)


@TRAINER_REGISTRY.register()
class ZooConstant(ZooLinear):
    """The same answer for every image; trains nothing."""

    needs_training = False

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.5, 0.2, 0.1]]).repeat(len(input), 1)


@TRAINER_REGISTRY.register()
class ZooBroken(ZooLinear):
    """Fails in its first step, unless the environment says otherwise."""

    def forward_backward(self, batch: dict) -> dict[str, float]:
        import os

        if os.environ.get("ZOO_MENDED"):
            return super().forward_backward(batch)
        raise RuntimeError("the zoo is on fire")


@TRAINER_REGISTRY.register()
class ZooPeeker(ZooLinear):
    """Looks at the test set before training has ended."""

    def before_train(self) -> None:
        super().before_train()
        _ = self.dm.test_loader


def extend_cfg(cfg: CfgNode) -> None:
    cfg.TRAINER.ZOOLINEAR = CfgNode()
    cfg.TRAINER.ZOOLINEAR.DEPTH = 1  # layers


@TRAINER_REGISTRY.register()
class ZooSuicidal(ZooLinear):
    """Kills its process, as the kernel does when memory runs out."""

    def forward_backward(self, batch: dict) -> dict[str, float]:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        return {}


@TRAINER_REGISTRY.register()
class ZooSleeper(ZooLinear):
    """Sleeps in its first step, for tests that stop a sweep there."""

    def forward_backward(self, batch: dict) -> dict[str, float]:
        import os
        import time

        if not os.environ.get("ZOO_AWAKE"):
            (Path(self.output_dir) / "asleep").touch()
            time.sleep(300)
        return super().forward_backward(batch)


@TRAINER_REGISTRY.register()
class ZooQuick(ZooLinear):
    """A run of it is said to take seconds, so that jobs take several."""

    trains_in_seconds = True


@TRAINER_REGISTRY.register()
class ZooGated(ZooLinear):
    """Waits before epoch N (from 1) of seed S while the data folder has ``gates/closed-S-N``, and
    says in ``gates/at-S-N`` which process is there and the signals that it was sent (``PID: SIGUSR1
    SIGUSR2``). Without gates it is ZooLinear."""

    def before_epoch(self) -> None:
        import os
        import time

        from cerviclip.runs.run.process.stop import current_stop

        super().before_epoch()
        gates, name = Path(self.cfg.DATASET.ROOT) / "gates", f"{self.cfg.SEED}-{self.epoch + 1}"
        said = gates / f"at-{name}"
        while (gates / f"closed-{name}").exists():
            stop = current_stop()
            signals = " ".join(stop.signals) if stop is not None else ""
            (new := gates / f"new-{name}").write_text(f"{os.getpid()}: {signals}")
            new.replace(said)
            time.sleep(0.05)


@TRAINER_REGISTRY.register()
class ZooFlaky(ZooLinear):
    """Fails as often as the data folder's file ``failures`` has letters left."""

    def before_train(self) -> None:
        super().before_train()
        left = Path(self.cfg.DATASET.ROOT) / "failures"
        if left.exists() and (text := left.read_text()):
            left.write_text(text[1:])
            raise RuntimeError("the node is out of order")


@TRAINER_REGISTRY.register()
class ZooFragile(ZooLinear):
    """Is killed in its second epoch, the first time that it comes there."""

    def forward_backward(self, batch: dict) -> dict[str, float]:
        import os
        import signal

        place = Path(self.output_dir) / "model"
        begun_here = self.start_epoch == 0 and not os.environ.get("ZOO_MENDED")
        if self.epoch == 1 and begun_here and place.is_dir():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward_backward(batch)
