"""The adopted trainer itself: its class with what our runs ask of it, built from our run's cfg."""

from __future__ import annotations

import inspect
import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cerviclip.adopt.scripts import keys_of_scripts
from cerviclip.adopt.spec import Adoption
from cerviclip.adopt.texts import Texts
from cerviclip.adopted.failures import adopted_error
from cerviclip.adopted.imports import clip_modules, own_modules
from cerviclip.adopted.inner_tables import InnerTables
from cerviclip.adopted.paths import Paths
from cerviclip.adopted.predictions import Predictor
from cerviclip.adopted.weights import give, readable_by_clip, weights_file
from cerviclip.runs.settings.config_hash import flatten
from dassl.config import CfgNode, get_cfg_default
from dassl.data import data_manager
from dassl.data.datasets import build_dataset
from dassl.engine import SimpleTrainer
from dassl.errors import UserError


def build(
    adoption: Adoption, kind: type, cfg: CfgNode, notes: list[str], tables: InnerTables
) -> Any:
    """A trainer of the repository's class ``kind`` for a run of ours.

    Args:
        adoption: where the class is from.
        kind: the class.
        cfg: the run's configuration.
        notes: what was made for it so far; results.json has them under ``runtime.trainer``.
        tables: those within functions of its, to be filled for our data set.

    Raises:
        UserError, AdoptedCodeError: it cannot be built; the line names the file.
    """
    root = adoption.repository.root
    check_subset(cfg)
    if cfg.ADOPT.SUBSAMPLE_CLASSES != "all":
        build_whole_data_sets(root)
    file = weights_file(cfg)
    readable, backbone = readable_by_clip(file) if file else "", cfg.MODEL.BACKBONE.NAME
    give(clip_modules(root), backbone, readable)
    paths = Paths(root, backbone, readable)
    paths.install()
    texts = _texts_of(cfg)
    texts.fill(list(own_modules(root)), root)
    tables.fill = texts.fill_inner
    paths.text_of = texts.file_for
    try:
        trainer = adapted(kind, adoption, cfg.ADOPT.TRANSFORMS == "ours")(their_cfg(cfg))
        trainer.needs_training = adoption.trainer.learns
    except (Exception, SystemExit) as error:
        hint = empty_keys(kind, cfg) or unset_keys(adoption, cfg)
        raise adopted_error(error, root, hint) from error
    trainer.extra_results = {"adopted": [*notes, *texts.notes, *paths.notes]}
    return trainer


def their_cfg(cfg: CfgNode) -> CfgNode:
    """The configuration as the repository knows it.

    ``MODEL.INIT_WEIGHTS`` means the backbone's file to us, and a learned prompt to them.
    """
    theirs = cfg.clone()
    theirs.defrost()
    theirs.TRAINER.NAME = cfg.ADOPT.TRAINER
    theirs.MODEL.INIT_WEIGHTS = ""
    theirs.DATASET.SUBSAMPLE_CLASSES = cfg.ADOPT.SUBSAMPLE_CLASSES
    theirs.freeze()
    return theirs


def check_subset(cfg: CfgNode) -> None:
    """Refuse training on a part of the classes: split and draw are ours and hold all of them."""
    asked = cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
    if asked != "all":
        raise UserError(
            f"DATASET.SUBSAMPLE_CLASSES is {asked!r}; an adopted trainer has all classes of the "
            "data set: leave it at all (code that trains for 'base' alone is told so by "
            "ADOPT.SUBSAMPLE_CLASSES base)"
        )


def build_whole_data_sets(root: Path) -> None:
    """Whatever their code reads in DATASET.SUBSAMPLE_CLASSES, the data set is ours and whole."""
    original = data_manager.build_dataset

    def whole(cfg: CfgNode) -> Any:
        ours = cfg.clone()
        ours.defrost()
        ours.DATASET.SUBSAMPLE_CLASSES = "all"
        ours.freeze()
        return original(ours)

    for module in (data_manager, *own_modules(root)):
        if getattr(module, "build_dataset", None) is original:
            module.build_dataset = whole  # type: ignore[attr-defined]


def adapted(kind: type, adoption: Adoption, our_transforms: bool) -> type:
    """``kind`` with the predictions that our runs ask for, and errors of one line."""
    root = adoption.repository.root
    has_own_test = kind.test is not SimpleTrainer.test  # type: ignore[attr-defined]

    def adopted_probabilities(self: Any, items: Any) -> np.ndarray:
        try:
            return Predictor(self, has_own_test).probabilities(items)
        except (Exception, SystemExit) as error:
            raise adopted_error(error, root) from error

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = kind.train  # type: ignore[attr-defined]
        if not args:  # as TrainerBase.train, which is called with both
            wanted = inspect.signature(own).parameters
            names = [name for name in ("start_epoch", "max_epoch") if name in wanted]
            kwargs = {name: getattr(self, name) for name in names} | kwargs
        try:
            return own(self, *args, **kwargs)
        except (Exception, SystemExit) as error:
            hint = hint_of(error, kind, self) or unset_keys(adoption, self.cfg)
            raise adopted_error(error, root, hint) from error

    @torch.no_grad()
    def test(self: Any, split: str | None = None) -> float:
        """Dassl's, for batches of more than an image and a label, and models that ask for both."""
        self.set_model_mode("eval")
        self.evaluator.reset()
        on_val = (split or self.cfg.TEST.SPLIT) == "val" and self.val_loader is not None
        for batch in self.val_loader if on_val else self.test_loader:
            probs, label = Predictor(self, False).of_batch(batch)
            self.evaluator.process(probs, label)
        return next(iter(self.evaluator.evaluate().values()))

    def load_model(self: Any, directory: str, epoch: int | None = None) -> None:
        """Theirs where it takes what ours takes, by default the last epoch."""
        if epoch is None and not list(Path(directory).glob("*/model-best.pth.tar")):
            epoch = self.max_epoch
        own = kind.load_model  # type: ignore[attr-defined]
        if "cfg" in inspect.signature(own).parameters:
            own(self, directory, self.cfg, epoch=epoch)
        else:
            own(self, directory, epoch=epoch)

    body: dict[str, Any] = {
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "adopted_probabilities": adopted_probabilities,
        "train": train,
        "load_model": load_model,
    }
    if not has_own_test:
        body["test"] = test
    if our_transforms:
        body["build_data_loader"] = SimpleTrainer.build_data_loader
        body["make_data_manager"] = SimpleTrainer.make_data_manager
    return type(kind.__name__, (kind,), body)


def empty_keys(kind: type, cfg: CfgNode) -> str:
    """Keys at the top of the configuration that the trainer's file reads and that are empty.

    A script takes them from arguments that have no default.
    """
    code = _source_of(kind)
    empty = [
        key for key, value in cfg.items()
        if value in ("", None) and re.search(rf"""cfg(\.|\[["']){key}\b""", code)
        and key not in get_cfg_default()
    ]  # fmt: skip
    if not empty:
        return ""
    return f"its script sets {', '.join(empty)} from arguments; give a value: {empty[0]} VALUE"


def unset_keys(adoption: Adoption, cfg: CfgNode) -> str:
    """Keys that the repository's own scripts set for the trainer, and that are otherwise here."""
    flat = flatten(cfg)
    theirs = keys_of_scripts(adoption.repository.root, adoption.trainer.name)
    other = [
        f"{key} {value}" for key, value in theirs.items()
        if key in flat and str(flat[key]) not in (value, value.strip("[]()"))
        and not (isinstance(flat[key], (int, float)) and _number(value) == flat[key])
    ]  # fmt: skip
    return f"its scripts also set {' '.join(other[:8])}" if other else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def hint_of(error: BaseException, kind: type, trainer: Any) -> str:
    """What a user can do about an error in training; often nothing."""
    if isinstance(error, AssertionError) and "SUBSAMPLE_CLASSES" in _source_of(kind):
        return "its code asks for a part of the classes: try ADOPT.SUBSAMPLE_CLASSES base"
    told = getattr(getattr(getattr(trainer, "dm", None), "dataset", None), "descriptions", None)
    if isinstance(error, FloatingPointError) and not told:
        return (
            "the data set has no descriptions, and templates stand in for them: if the method "
            "compares descriptions of a class, name a file of them in DATASET.DESCRIPTIONS"
        )
    return ""


def _source_of(kind: type) -> str:
    """The code of a class's file; "" where there is none: a hint must not hide an error."""
    try:
        return inspect.getsource(sys.modules[kind.__module__])
    except (KeyError, OSError, TypeError):
        return ""


def _texts_of(cfg: CfgNode) -> Texts:
    with redirect_stdout(io.StringIO()):  # the trainer's own reading of the data prints its table
        return Texts.of(build_dataset(cfg), cfg.DATASET.NAME)
