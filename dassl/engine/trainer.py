"""Upstream's trainer classes: ``SimpleTrainer`` and its two loops, and the network they build."""

from __future__ import annotations

import datetime
import os.path as osp
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dassl.data import DataManager
from dassl.errors import UserError
from dassl.evaluation import build_evaluator
from dassl.modeling import build_backbone, build_head
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    count_num_param,
    load_pretrained_weights,
    mkdir_if_missing,
)
from dassl.utils.checkpoints import replace_weights
from dassl.utils.distributed import choose_device, device_type, is_main, wait_for_all

from .progress import EpochProgress
from .resume import BEST_MODEL
from .summary import SummaryWriter
from .trainer_base import TrainerBase

if TYPE_CHECKING:
    from yacs.config import CfgNode

__all__ = [
    "AverageMeter",
    "MetricMeter",
    "SimpleNet",
    "SimpleTrainer",
    "SummaryWriter",
    "TrainerBase",
    "TrainerX",
    "TrainerXU",
]


class SimpleNet(nn.Module):
    """A backbone, a head if the config names one, and a linear classifier.

    Args:
        cfg: the whole config (``VERBOSE`` is read).
        model_cfg: ``cfg.MODEL`` or a node like it.
        num_classes: 0 leaves the classifier out: the features come back.
        kwargs: handed to backbone and head.
    """

    def __init__(self, cfg: CfgNode, model_cfg: CfgNode, num_classes: int, **kwargs: Any) -> None:
        super().__init__()
        self.backbone = build_backbone(
            model_cfg.BACKBONE.NAME,
            verbose=cfg.VERBOSE,
            pretrained=model_cfg.BACKBONE.PRETRAINED,
            **kwargs,
        )
        width = self.backbone.out_features

        self.head = None
        if model_cfg.HEAD.NAME and model_cfg.HEAD.HIDDEN_LAYERS:
            self.head = build_head(
                model_cfg.HEAD.NAME,
                verbose=cfg.VERBOSE,
                in_features=width,
                hidden_layers=model_cfg.HEAD.HIDDEN_LAYERS,
                activation=model_cfg.HEAD.ACTIVATION,
                bn=model_cfg.HEAD.BN,
                dropout=model_cfg.HEAD.DROPOUT,
                **kwargs,
            )
            width = self.head.out_features

        self.classifier = nn.Linear(width, num_classes) if num_classes > 0 else None
        self._fdim = width

    @property
    def fdim(self) -> int:
        """Width of the features before the classifier."""
        return self._fdim

    def forward(self, x: Tensor, return_feature: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        logits = self.classifier(features)
        return (logits, features) if return_feature else logits


class SimpleTrainer(TrainerBase):
    """Data, model, evaluator, checkpoints and test from a config; subclasses add the loop."""

    needs_training = True  # False for methods that only infer: 0 shots are then allowed
    test_after_train = True  # a caller that scores the deployed model itself sets it to False

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.check_cfg(cfg)

        self.device = choose_device(cfg.USE_CUDA)

        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR

        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = -float("inf")

    def check_cfg(self, cfg: CfgNode) -> None:
        """Hook: refuse configs that the trainer cannot work with."""

    # Data ----------------------------------------------------------------------------------------

    def build_data_loader(self) -> None:
        """Make the data manager and take its loaders; the test loader stays with it until asked."""
        dm = self.make_data_manager()
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u  # None without unlabelled data
        self.val_loader = dm.val_loader  # None without a val set
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def make_data_manager(self) -> DataManager:
        """Hook: the data manager, for trainers with transforms of their own."""
        return DataManager(self.cfg)

    @property
    def test_loader(self) -> Any:
        """The data manager's, which keeps a mark if this is read before training has ended."""
        if "_test_loader" in self.__dict__:
            return self.__dict__["_test_loader"]
        return self.dm.test_loader

    @test_loader.setter
    def test_loader(self, loader: Any) -> None:
        self.__dict__["_test_loader"] = loader

    @property
    def train_loader(self) -> Any:
        """Another name of ``train_loader_x``, which widely used forks added."""
        return self.__dict__.get("_train_loader", self.train_loader_x)

    @train_loader.setter
    def train_loader(self, loader: Any) -> None:
        self.__dict__["_train_loader"] = loader

    # Model ---------------------------------------------------------------------------------------

    def build_model(self) -> None:
        """Build ``SimpleNet`` with its optimiser and scheduler and register it as ``model``."""
        cfg = self.cfg
        print("Building model")
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        print(f"# params: {count_num_param(self.model):,}")
        self.optim, self.sched = self.register_learner("model", self.model)

    def register_learner(self, name: str, model: nn.Module) -> tuple[Optimizer, LRScheduler]:
        """Register a model with the optimiser and the schedule of ``cfg.OPTIM``; returns both."""
        optim = build_optimizer(model, self.cfg.OPTIM)
        sched = self.build_schedule(optim)
        self.register_model(name, model, optim, sched)
        return optim, sched

    def build_schedule(self, optim: Optimizer) -> LRScheduler:
        """Hook: the schedule of an optimiser, over epochs by default."""
        return build_lr_scheduler(optim, self.cfg.OPTIM)

    # Training ------------------------------------------------------------------------------------

    def train(self) -> None:
        super().train(self.start_epoch, self.max_epoch)

    def prepare_training(self) -> None:
        """Hook: once before training, and before the state of a resumed run is put back. Here is
        made what needs the images: counts, tensors of their number, optimisers of those."""

    def before_train(self) -> None:
        """Resume if there is something to resume, open the writer, start the clock."""
        self.prepare_training()
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.cfg.OUTPUT_DIR)
        self._write_what_a_kill_left_out()

        writer_dir = osp.join(self.output_dir, "tensorboard")
        if is_main():
            mkdir_if_missing(writer_dir)
        self.init_writer(writer_dir)

        self.time_start = time.time()

    def after_epoch(self) -> None:
        """Keep the best on val, and the checkpoints that the config asks for."""
        done = self.epoch + 1
        if self._select_on_val():
            result = self.test(split="val")
            better = result > self.best_result
            labels = len(self.dm.dataset.val or ())
            self.note_search("epoch", done, labels, chosen=done if better else None)
            if better:
                self.best_result = result
                self.save_model(
                    self.epoch, self.output_dir, val_result=result, model_name=BEST_MODEL
                )
        if self._checkpoint_is_due(done):
            self.save_model(self.epoch, self.output_dir)

    def _checkpoint_is_due(self, done: int) -> bool:
        """Whether an epoch, counted from 1, has a checkpoint of its own."""
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        return done == self.max_epoch or (frequency > 0 and done % frequency == 0)

    def _write_what_a_kill_left_out(self) -> None:
        """The checkpoint of the epoch that is resumed from, where the run was killed after it had
        saved the same weights as the best on val."""
        done = self.start_epoch
        if done < 1 or not self._checkpoint_is_due(done):
            return
        files = (
            osp.join(self.output_dir, name, f"model.pth.tar-{done}")
            for name in self.get_model_names()
        )
        lacking = not all(map(osp.isfile, files))
        wait_for_all()  # every process has looked before the first one writes
        if lacking:
            self.save_model(done - 1, self.output_dir)

    def _select_on_val(self) -> bool:
        """Whether the final model is the best on val. Upstream takes the test set without one."""
        wanted = self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST
        if wanted and self.val_loader is None and self.epoch == self.start_epoch:
            print("TEST.FINAL_MODEL is best_val, but there is no val set: the last epoch will do")
        return wanted and self.val_loader is not None

    def after_train(self) -> None:
        """Deploy the final model, test it, stop the clock."""
        self._end_training()  # a trainer with a train() of its own comes here without it
        print("Finish training")

        file = f"model.pth.tar-{self.max_epoch}"
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val" and self.val_loader is not None:
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
                file = BEST_MODEL
            else:
                print("Deploy the last-epoch model")
        self._calibrate(file)
        if not self.cfg.TEST.NO_TEST and self.test_after_train:
            self.test()

        elapsed = datetime.timedelta(seconds=round(time.time() - self.time_start))
        print(f"Elapsed: {elapsed}")
        self.close_writer()

    def calibrate(self) -> None:
        """Hook: set on val what the deployed weights still lack, such as a temperature or a weight.

        It runs once after training, in eval mode, on the final model (the last epoch's, or the best
        on val). What it changes in the registered models is saved with them.
        """

    def _calibrate(self, file: str) -> None:
        """Run the hook, where a trainer has one, and put its outcome into the deployed ``file``."""
        if type(self).calibrate is SimpleTrainer.calibrate:
            return
        self.set_model_mode("eval")
        self.dm.training_ended = False  # a choice is made: the test set is still out of reach
        try:
            self.calibrate()
        finally:
            self.dm.training_ended = True
        for name, model in self._models.items() if is_main() else ():
            replace_weights(osp.join(self.output_dir, name, file), model)

    # Test ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on ``val`` or ``test`` (``TEST.SPLIT`` by default; test where there is no val).

        Returns:
            The first of the evaluator's results: accuracy in percent.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()

        if split is None:
            split = self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is not None:
            loader = self.val_loader
        else:
            split, loader = "test", self.test_loader
            if loader is None:
                raise UserError(f'data set "{self.cfg.DATASET.NAME}" has no test images')
        print(f"Evaluate on the *{split}* set")

        for output, label in self.test_outputs(loader):
            self.evaluator.process(output, label)

        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return list(results.values())[0]

    def test_outputs(self, loader: Iterable[Any]) -> Iterator[tuple[Any, Tensor]]:
        """What the model makes of each batch of a test, and its labels."""
        for batch in loader:
            input, label = self.parse_batch_test(batch)
            yield self.model_inference(input), label

    def model_inference(self, input: Tensor) -> Tensor:
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self._to_device(batch["img"]), self._to_device(batch["label"])

    def _to_device(self, tensor: Tensor) -> Tensor:
        if device_type(self.device) == "cuda" and not tensor.is_cuda:
            tensor = tensor.pin_memory()  # out of other memory a copy waits for the device
        return tensor.to(self.device, non_blocking=True)


class TrainerX(SimpleTrainer):
    """Trains on labelled data."""

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        self.num_batches = self.count_batches()
        progress = self._epoch_progress = EpochProgress(self, self.cfg.TRAIN.PRINT_FREQ)
        for self.batch_idx, batch in enumerate(self.train_batches()):  # noqa: B020
            progress.batch_loaded()
            summary = self.forward_backward(batch)
            self.after_batch()
            progress.batch_done(summary)

    def count_batches(self) -> int:
        """Batches of the coming epoch."""
        return len(self.train_loader_x)

    def train_batches(self) -> Iterable[Any]:
        """The coming epoch's batches."""
        return self.train_loader_x

    def after_batch(self) -> None:
        """Hook: after each ``forward_backward``."""

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self._to_device(batch["img"]),
            self._to_device(batch["label"]),
            self._to_device(batch["domain"]),
        )


class TrainerXU(SimpleTrainer):
    """Trains on labelled and unlabelled data side by side.

    In domain adaptation they come from source and target domains, in semi-supervised learning from
    one. ``TRAIN.COUNT_ITER`` says whose length makes an epoch; the other starts over as needed.
    """

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        self.num_batches = self.count_batches()
        batches_x = endless(self.train_loader_x)
        batches_u = endless(self.train_loader_u)
        progress = self._epoch_progress = EpochProgress(self, self.cfg.TRAIN.PRINT_FREQ)
        for self.batch_idx in range(self.num_batches):  # noqa: B020
            batch_x = next(batches_x)
            batch_u = next(batches_u)
            progress.batch_loaded()
            summary = self.forward_backward(batch_x, batch_u)
            progress.batch_done(summary)

    def count_batches(self) -> int:
        """Batches of the coming epoch."""
        if self.train_loader_u is None:
            raise UserError(
                f'data set "{self.cfg.DATASET.NAME}" has no unlabelled images (train_u), which '
                f"{type(self).__name__} trains on: set DATASET.TARGET_DOMAINS or NUM_LABELED"
            )
        labelled, unlabelled = len(self.train_loader_x), len(self.train_loader_u)
        counts = {
            "train_x": labelled,
            "train_u": unlabelled,
            "smaller_one": min(labelled, unlabelled),
        }
        if self.cfg.TRAIN.COUNT_ITER not in counts:
            raise UserError(
                f'TRAIN.COUNT_ITER is "{self.cfg.TRAIN.COUNT_ITER}"; it takes {", ".join(counts)}'
            )
        return counts[self.cfg.TRAIN.COUNT_ITER]

    def forward_backward(self, batch_x: Any, batch_u: Any) -> Any:
        raise NotImplementedError

    def parse_batch_train(
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self._to_device(batch_x["img"]),
            self._to_device(batch_x["label"]),
            self._to_device(batch_u["img"]),
        )


def endless(loader: Iterable[Any]) -> Iterator[Any]:
    """An iterator that begins the loader anew whenever it is exhausted.

    The first pass begins at once, not at the first batch: each pass draws a seed from the global
    generator, and upstream draws those of both loaders before any batch.
    """
    first = iter(loader)

    def batches() -> Iterator[Any]:
        yield from first
        while True:
            yield from loader

    return batches()
