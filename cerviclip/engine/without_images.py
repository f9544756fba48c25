"""What stands in for a data manager where a model is built from its task alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from dassl.data.datasets.base_dataset import DatasetBase
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from cerviclip.engine.task import Task


class DatasetWithoutImages(DatasetBase):
    """A data set that knows its classes and texts and says so where images are asked for."""

    def __init__(self, task: Task, trainer: str) -> None:
        super().__init__()
        self.task, self.trainer = task, trainer
        self._num_classes = task.num_classes
        self._classnames = list(task.classnames)
        self._lab2cname = dict(enumerate(task.classnames))
        self.all_class_names = list(task.all_classnames or task.classnames)
        self.templates = list(task.templates)
        self.positive_classes = list(task.positive)
        self.descriptions = {
            name: {classname: list(texts) for classname, texts in of_class.items()}
            for name, of_class in task.descriptions.items()
        }

    def _refuse(self) -> NoReturn:
        raise UserError(
            f"{self.trainer} asks for images of {self.task.dataset}, and its model was loaded "
            "without them; train and evaluate it by train.py"
        )

    # Each of the four parts is as absent as the others.
    train_x = train_u = val = test = property(_refuse)  # type: ignore[assignment]


class ManagerWithoutImages:
    """``DataManager``'s attributes, its loaders all None."""

    train_loader_x = train_loader_u = val_loader = test_loader = None
    training_ended = True
    test_read_early = False

    def __init__(self, cfg: CfgNode, task: Task) -> None:
        self.dataset = DatasetWithoutImages(task, cfg.TRAINER.NAME)
        self.num_classes = task.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = self.dataset.lab2cname

    def note_reading(self, items: Iterable[Any]) -> None:
        """No test set is here to be read too early."""
