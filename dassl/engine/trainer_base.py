"""``TrainerBase``: models under names, steps of their optimisers, checkpoints, the bare loop."""

from __future__ import annotations

import math
import os.path as osp
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dassl.errors import MissingFileError
from dassl.utils import save_checkpoint, tolist_if_not
from dassl.utils.checkpoints import load_fitting, load_training_checkpoint
from dassl.utils.distributed import (
    average_gradients,
    average_numbers,
    is_main,
    wait_for_all,
    world_size,
)

from .batch_norm import lone_images_are_named
from .last_good import LastGoodState, advice
from .loss_watch import LossWatch, Place, on_device
from .progress import EpochProgress
from .resume import BEST_MODEL, resume_training, training_state
from .steps import project_gradients
from .summary import SummaryWriter, is_installed


class TrainerBase:
    """What any trainer has, whatever its data.

    A trainer registers each model with its optimiser and scheduler; training, checkpoints and modes
    then work on all of them, or on those named.
    """

    start_epoch = 0
    epoch = 0
    max_epoch = 0
    batch_idx: int  # of the batch being trained on, from 0
    num_batches: int  # of this epoch
    output_dir = ""
    best_result = -float("inf")
    precision: Any = None  # an object whose gradient ``scaler`` is used where it has one
    # Of this process in the mean of gradients, where a run has several: its images among those of
    # the batch. None: all processes alike.
    gradient_share: float | None = None
    extra_results: dict[str, Any]  # for results.json, besides the scores; not every trainer has any
    _averaged: Sequence[str] = ()  # models that move without an optimiser, after another's weights

    def __init__(self) -> None:
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, Any] = OrderedDict()
        self._scheds: OrderedDict[str, Any] = OrderedDict()
        self._writer: SummaryWriter | None = None
        self._history: list[dict[str, float]] = []
        self._history_row: dict[str, float] | None = None
        self._search: dict[str, dict[str, int]] = {}  # see note_search
        self._last_good: LastGoodState | None = None
        self._loss_watch: LossWatch | None = None  # of the epoch that train() is in
        self._epoch_progress: EpochProgress | None = None

    @property
    def history(self) -> Any:
        """One row per epoch: epoch, learning rate, mean losses, val_* metrics."""
        return self.__dict__.get("_own_history", self._history)

    @history.setter
    def history(self, value: Any) -> None:
        """A trainer written elsewhere may use the name for something else."""
        self.__dict__["_own_history"] = value

    def note_search(self, what: str, tries: int, labels: int, chosen: int | None = None) -> None:
        """Count what a choice by labels that are not trained on has cost, so that results say it.

        A later count of the same choice replaces the earlier one, but for what was chosen.

        Args:
            what: is chosen, such as "settings" or "epoch".
            tries: how many were scored.
            labels: images whose labels the scores are of.
            chosen: the best so far, such as the epoch from 1; None: the earlier one still is.
        """
        best = self._search.get(what, {}).get("chosen") if chosen is None else int(chosen)
        self._search[what] = {"tries": int(tries), "labels": int(labels)}
        if best is not None:
            self._search[what]["chosen"] = best

    # Models --------------------------------------------------------------------------------------

    def register_model(
        self, name: str = "model", model: Any = None, optim: Any = None, sched: Any = None
    ) -> None:
        """Put a model under a name, with what trains it (None for a model that is not trained)."""
        for attribute in ("_models", "_optims", "_scheds"):
            if self.__dict__.get(attribute) is None:
                raise AttributeError("register_model is called before super().__init__()")
        if name in self._models:
            raise ValueError(f'a model named "{name}" is registered already')
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: str | Sequence[str] | None = None) -> list[str]:
        """All registered names, or those asked for once each is known to be registered."""
        known = list(self._models)
        if names is None:
            return known
        asked = tolist_if_not(names)
        for name in asked:
            if name not in known:
                raise ValueError(f'no model named "{name}" is registered; there are: {known}')
        return list(asked)

    def set_model_mode(self, mode: str = "train", names: str | Sequence[str] | None = None) -> None:
        """Put models into ``train`` or ``eval`` (also called ``test``) mode."""
        if mode not in ("train", "eval", "test"):
            raise KeyError(f'mode is "train", "eval" or "test", not "{mode}"')
        for name in self.get_model_names(names):
            # Not train(False): a model of other people's may have an eval() of its own.
            self._models[name].train() if mode == "train" else self._models[name].eval()

    # Checkpoints ---------------------------------------------------------------------------------

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write each model to ``<directory>/<name>/``.

        Besides upstream's keys a checkpoint has what an exact continuation needs: best result,
        history and random states. Of several processes the first one writes; the others wait.

        Args:
            epoch: the epoch just done, from 0.
            directory: the run's folder.
            is_best: also copy to ``model-best.pth.tar``.
            val_result: accuracy on val in percent, if known.
            model_name: file name, ``model.pth.tar-<epoch + 1>`` if empty.
        """
        self._check_losses()
        extra = training_state(self) if is_main() else {}
        for name in self.get_model_names() if is_main() else ():
            optim, sched = self._optims[name], self._scheds[name]
            save_checkpoint(
                {
                    "state_dict": self._models[name].state_dict(),
                    "epoch": epoch + 1,
                    "optimizer": None if optim is None else optim.state_dict(),
                    "scheduler": None if sched is None else sched.state_dict(),
                    "val_result": None if val_result is None else float(val_result),
                    **extra,
                },
                osp.join(directory, name),
                is_best=is_best,
                model_name=model_name,
            )
        wait_for_all()

    def resume_model_if_exist(self, directory: str) -> int:
        """Load the last checkpoint below ``directory`` into all models; return the next epoch."""
        return resume_training(self, directory)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load weights only.

        Args:
            directory: a run's folder.
            epoch: counted from 1; None for the best on val.
        """
        if not directory:
            print(
                "Note that load_model() is skipped as no pretrained model is given "
                "(ignore this if it's done on purpose)"
            )
            return
        file = BEST_MODEL if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = osp.join(directory, name, file)
            if not osp.exists(path):
                raise MissingFileError(
                    f"No model at {path}; give the epoch of a file that is there (--load-epoch)"
                )
            checkpoint = load_training_checkpoint(path)
            result = checkpoint.get("val_result")
            shown = f"{result:.1f}" if isinstance(result, (int, float)) else "none"
            print(f"Load {path} to {name} (epoch={checkpoint.get('epoch')}, val_result={shown})")
            load_fitting(self._models[name], checkpoint["state_dict"], path)

    # The loop ------------------------------------------------------------------------------------

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run epochs ``start_epoch`` to ``max_epoch - 1`` with the hooks around them."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch

        self.before_train()
        for self.epoch in range(self.start_epoch, self.max_epoch):  # noqa: B020
            self._begin_epoch()
            self.before_epoch()
            with lone_images_are_named():
                self.run_epoch()
            self._check_losses()
            self._check_weights()
            self.after_epoch()
        self._end_training()
        self.after_train()

    def _begin_epoch(self) -> None:
        self._history_row = {"epoch": self.epoch + 1}
        self._history.append(self._history_row)
        self._last_good = LastGoodState(self)
        self._loss_watch = LossWatch()
        self._epoch_progress = None

    def _end_training(self) -> None:
        """From here on the test set may be read."""
        self._history_row = None
        self._last_good = self._loss_watch = self._epoch_progress = None
        if (dm := getattr(self, "dm", None)) is not None:
            dm.training_ended = True

    def before_train(self) -> None:
        """Hook."""

    def after_train(self) -> None:
        """Hook."""

    def before_epoch(self) -> None:
        """Hook."""

    def after_epoch(self) -> None:
        """Hook."""

    def run_epoch(self) -> None:
        raise NotImplementedError

    def test(self) -> Any:
        raise NotImplementedError

    def parse_batch_train(self, batch: Any) -> Any:
        raise NotImplementedError

    def parse_batch_test(self, batch: Any) -> Any:
        raise NotImplementedError

    def forward_backward(self, batch: Any) -> Any:
        raise NotImplementedError

    def model_inference(self, input: Any) -> Any:
        raise NotImplementedError

    # Steps ---------------------------------------------------------------------------------------

    def model_zero_grad(self, names: str | Sequence[str] | None = None) -> None:
        for optim in self._chosen_optims(names):
            optim.zero_grad()

    def model_backward(self, loss: Tensor) -> None:
        self.detect_anomaly(loss)
        scaler = getattr(self.precision, "scaler", None)
        (loss if scaler is None else scaler.scale(loss)).backward()

    def model_update(self, names: str | Sequence[str] | None = None) -> None:
        scaler = getattr(self.precision, "scaler", None)
        optims = self._chosen_optims(names)
        if not any(self._optims.values()):  # upstream's is silent, and trains nothing
            warnings.warn(
                f"{type(self).__name__} updates its models, but none was registered with an "
                "optimiser: nothing is trained (register_model's third argument)",
                stacklevel=2,
            )
        if world_size() > 1:
            groups = [group for optim in optims for group in optim.param_groups]
            parameters = [p for group in groups for p in group["params"]]
            average_gradients(parameters, self.gradient_share)
        for optim in optims:
            if scaler is None:
                optim.step()
            else:
                scaler.step(optim)
        if scaler is not None:
            scaler.update()

    def _chosen_optims(self, names: str | Sequence[str] | None) -> list[Any]:
        chosen = self._optims if names is None else self.get_model_names(names)
        return [self._optims[name] for name in chosen if self._optims[name] is not None]

    def model_backward_and_update(
        self, loss: Tensor, names: str | Sequence[str] | None = None
    ) -> None:
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def prograd_backward_and_update(
        self,
        loss_a: Tensor,
        loss_b: Tensor,
        lambda_: float = 1,
        names: str | Sequence[str] | None = None,
    ) -> None:
        """Step along the gradient of ``loss_a``, less what of it opposes ``loss_b``.

        Per parameter, as in ProGrad (Zhu et al., ICCV 2023, eq. 4): where the two gradients point
        apart, ``lambda_`` times the component of a's along b's is taken out.
        """
        self._projected_step(loss_a, loss_b, lambda_, names, opposing_only=True)

    def vertical_grad_backward_and_update(
        self,
        loss_a: Tensor,
        loss_b: Tensor,
        lambda_: float = 1,
        names: str | Sequence[str] | None = None,
    ) -> None:
        """As ``prograd_backward_and_update``, but where the two gradients agree as well."""
        self._projected_step(loss_a, loss_b, lambda_, names, opposing_only=False)

    def _projected_step(
        self,
        loss_a: Tensor,
        loss_b: Tensor,
        lambda_: float,
        names: str | Sequence[str] | None,
        opposing_only: bool,
    ) -> None:
        names = self.get_model_names(names)
        parameters = [p for name in names for p in self._models[name].parameters()]

        self.model_zero_grad(names)
        self.detect_anomaly(loss_b)
        loss_b.backward(retain_graph=True)
        average_gradients(parameters, self.gradient_share)
        gradients_b = [None if p.grad is None else p.grad.clone() for p in parameters]

        self.model_zero_grad(names)
        self.detect_anomaly(loss_a)
        loss_a.backward()
        average_gradients(parameters, self.gradient_share)
        project_gradients(parameters, gradients_b, lambda_, opposing_only)

        for name in names:
            if self._optims[name] is not None:
                self._optims[name].step()

    def update_lr(self, names: str | Sequence[str] | None = None) -> None:
        """Step the schedulers; a trainer calls it in the last batch of an epoch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names: str | Sequence[str] | None = None) -> float:
        """Learning rate of the first model (0 if nothing trains it)."""
        known = self._optims if names is None else self.get_model_names(names)
        optim = self._optims[next(iter(known))] if known else None
        return 0.0 if optim is None else optim.param_groups[0]["lr"]

    def detect_anomaly(self, loss: Tensor) -> None:
        """Stop at an infinite or NaN loss, after writing the last good state to disk.

        Within ``train`` a loss on a GPU is only noted, as a look would wait for the device. What is
        noted is looked at when a line is printed, before a checkpoint and at the end of the epoch.

        Raises:
            FloatingPointError: with epoch, batch, learning rate and what to try.
        """
        if world_size() > 1:  # one for all, so that all stop at the same batch
            loss = average_numbers({"loss": loss.detach().mean()}, self.gradient_share)["loss"]
        if self._loss_watch is not None and self._looks_later(loss):
            place = Place(getattr(self, "batch_idx", None), self.get_current_lr())
            self._loss_watch.note(place, loss)
            if self._loss_watch.full:
                self._check_losses()
            return
        # On a number, item() is thirty times as fast as torch's isfinite, and waits no longer.
        finite = math.isfinite(loss.item()) if loss.numel() == 1 else torch.isfinite(loss).all()
        if not finite:
            self._stop_training("Loss is infinite or NaN!")

    def _looks_later(self, loss: Tensor) -> bool:
        """Whether ``detect_anomaly`` puts the look at a loss off."""
        return on_device(loss)

    def _check_losses(self) -> None:
        """Look at the losses that ``detect_anomaly`` has only noted.

        Raises:
            FloatingPointError: as ``detect_anomaly``, with the batch at fault and the current one.
        """
        bad = None if self._loss_watch is None else self._loss_watch.first_bad()
        if bad is not None:
            self._stop_training("Loss is infinite or NaN!", bad)

    def _check_weights(self) -> None:
        """A trainer with steps of its own may never ask ``detect_anomaly``: look once an epoch."""
        if self._last_good is not None and not self._last_good.weights_finite():
            self._stop_training("Weights are infinite or NaN!")

    def _stop_training(self, what: str, since: Place | None = None) -> None:
        """Raise; updates ``since`` an earlier batch of the epoch were made with a bad loss."""
        if self._epoch_progress is not None:
            self._epoch_progress.flush(None if since is None else since.batch_idx)
        saved = "" if self._last_good is None else self._last_good.save(go_back=since is not None)
        raise FloatingPointError(f"{what} {advice(self, saved, since)}")

    # Scalars -------------------------------------------------------------------------------------

    def init_writer(self, log_dir: str) -> None:
        if is_main() and self.__dict__.get("_writer") is None:
            absent = "" if is_installed() else ": it is not installed, no event files are written"
            print(f"Initialize tensorboard (log_dir={log_dir}){absent}")
            self._writer = SummaryWriter(log_dir=log_dir)

    def close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Log a value; during training ``train/x`` and ``val/x`` also go to the epoch's history.

        What an evaluator of other people's returns besides numbers (lists, texts) is not kept.
        """
        row = self._history_row
        if row is not None and (type(scalar_value) is float or _is_number(scalar_value)):
            split, _, name = tag.partition("/")
            if split == "train":
                # Within the last batch the scheduler steps: an epoch's rate is that of its start.
                if name != "lr" or "lr" not in row:
                    row[name] = float(scalar_value)
            elif split == "val":
                row[f"val_{name}"] = float(scalar_value)
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several
        return False
    return True
