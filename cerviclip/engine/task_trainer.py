"""Trainers whose model is built from a ``Task``: a run of theirs loads without its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cerviclip.engine import inference
from cerviclip.engine.final_model import FinalModel
from cerviclip.engine.task import Task
from cerviclip.parallel.agreement import check_enough_images, share_weights
from cerviclip.parallel.batch_norm import share_batch_norms
from cerviclip.parallel.loaders import (
    check_draw_by,
    drawn_for_each,
    loads_whole_batches,
    own_batches,
    training_batches,
)
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.engine.trainer import TrainerX
from dassl.optim import build_optimizer
from dassl.utils.batch_share import align_generators
from dassl.utils.distributed import gather_rows, world_size


class TaskTrainer(FinalModel, TrainerX):
    """Base of this project's trainers.

    Class attributes:
        saves_all_weights: the checkpoint holds the whole network, so that loading a run needs
            neither the file nor the download that its training started from.
        many_processes: several processes may share a run (torchrun), see ``SupervisedStep``.
    """

    saves_all_weights = False
    many_processes = False
    task: Task  # classes and texts; all that build_model may know of the data
    _learners: tuple[str, ...] = ()
    _fit_prepared = False

    def build_data_loader(self) -> None:
        check_draw_by(self.cfg)
        if not hasattr(self, "tfm_test"):
            self.tfm_test = build_transform(self.cfg, is_train=False)
        super().build_data_loader()
        self.task = Task.of(self.dm.dataset)

    def make_data_manager(self) -> DataManager:
        return DataManager(self.cfg, custom_tfm_test=self.tfm_test)

    def prepare_fit(self) -> None:
        """Hook: what training needs of its images. Runs once, after ``build_model`` and before
        optimisers are made and the state of a resumed run is put back; never where a saved run is
        loaded to predict. ``self.dm`` and the loaders are there."""

    def register_learner(self, name: str, model: nn.Module) -> None:  # type: ignore[override]
        """Register a model that learns by the optimiser and the schedule of ``cfg.OPTIM``.

        Both are made when training begins, after ``prepare_fit``: then the parameters are what they
        will be, and the number of iterations is known.
        """
        self.register_model(name, model)
        self._learners = (*self._learners, name)

    def prepare_training(self) -> None:
        super().prepare_training()
        if self._fit_prepared:
            return
        self.prepare_fit()
        if world_size() > 1:
            self._prepare_sharing()
        for name in self._learners:
            optim = build_optimizer(self._models[name], self.cfg.OPTIM)
            self._optims[name], self._scheds[name] = optim, self.build_schedule(optim)
        self._fit_prepared = True

    # -- several processes -------------------------------------------------------------------------

    def _prepare_sharing(self) -> None:
        part = self.cfg.DATALOADER.TRAIN_X
        check_enough_images(len(self.dm.dataset.train_x), part.BATCH_SIZE)
        share_batch_norms((self._models[name] for name in self._learners), self.device)
        if drawn_for_each(self.train_loader_x) and loads_whole_batches(
            self.train_loader_x, self.cfg.DATALOADER.DRAW_BY == "image"
        ):
            print(
                f"Note: each of the {world_size()} processes loads all images, so that they are "
                "augmented as in one process; DATALOADER.DRAW_BY image shares the loading out"
            )

    def train_batches(self) -> Iterable[Any]:
        """The coming epoch's batches, of several processes this one's part of each."""
        return training_batches(self, super().train_batches())

    def _begin_epoch(self) -> None:
        if world_size() > 1:
            if self.epoch == self.start_epoch:
                share_weights(self._models)
            align_generators(self.cfg.SEED, self.epoch)
        super()._begin_epoch()

    def _calibrate(self, file: str) -> None:
        super()._calibrate(file)
        if type(self).calibrate is not TrainerX.calibrate:
            share_weights(self._models)

    def test_outputs(self, loader: Any) -> Iterator[tuple[Any, Tensor]]:
        """Of several processes each infers its batches, and all get what came of them, in one."""
        if world_size() == 1:
            yield from super().test_outputs(loader)
            return
        found = list(super().test_outputs(own_batches(loader)))
        empty = torch.zeros(0, self.num_classes, device=self.device)
        outputs = [output.float() for output, _ in found] or [empty]
        labels = [label for _, label in found] or [empty[:, 0].long()]
        yield gather_rows(torch.cat(outputs)), gather_rows(torch.cat(labels))

    # -- features ----------------------------------------------------------------------------------

    def inference_with_features(self, input: Any) -> tuple[Tensor, Tensor | None]:
        """Hook: logits (B, C) and the deployed tower's features (B, D); None where there are none.

        A method whose tower learns gives the features that its logits are made of, in one pass.

        Args:
            input: as ``parse_batch_test`` gives it.
        """
        return self.model_inference(input), None

    def image_features_of(self, batch: dict[str, Any]) -> Tensor | None:
        """Features (B, D) of a batch by the deployed tower, not always of unit length;
        None where the method has none."""
        with torch.no_grad():
            return self.inference_with_features(self.parse_batch_test(batch)[0])[1]

    # -- prediction of images that no data set lists -----------------------------------------------

    @property
    def test_batch_size(self) -> int:
        """Images in a batch of a test."""
        return self.cfg.DATALOADER.TEST.BATCH_SIZE

    def sample_of(self, image: Image.Image, path: str = "") -> dict[str, Tensor]:
        """Hook: what a batch holds of one image besides its label; ``img`` are its pixels.

        Args:
            image: 8-bit RGB.
            path: its file, empty for an image in memory.
        """
        return {"img": self.tfm_test(image)}

    def rows_of(self, pixels: Tensor) -> Tensor:
        """Hook: pixels (B, 3, H, W) to what a test loader gives as ``img``."""
        return pixels

    def batch_of(self, pictures: Sequence[inference.Picture]) -> dict[str, Any]:
        """The batch that a test loader would give for these images; nothing goes to the store."""
        return inference.batch_of(self, pictures)

    def predict_images(self, pictures: Sequence[inference.Picture]) -> np.ndarray:
        """Class probabilities (B, C), float64, of image files and PIL images; writes nothing.

        Args:
            pictures: paths and images, in any mixture.
        """
        return inference.predict_images(self, pictures)

    def image_networks(self) -> list[nn.Module]:
        """The networks that images may go through, those that learnt before frozen ones."""
        return list(self._models.values())
