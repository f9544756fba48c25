"""Classification results in upstream's words, which people's scripts parse."""

from __future__ import annotations

import os.path as osp
from collections import OrderedDict, defaultdict
from typing import Any

import torch
from yacs.config import CfgNode

from dassl.errors import UserError
from dassl.evaluation.base import EvaluatorBase
from dassl.evaluation.build import EVALUATOR_REGISTRY
from dassl.utils.distributed import is_main
from dassl.utils.files import atomic_write
from dassl.utils.rng import random_kept

__all__ = ["Classification", "EvaluatorBase"]


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error and macro F1; per class and as a confusion matrix where asked for.

    Args:
        cfg: TEST.PER_CLASS_RESULT, TEST.COMPUTE_CMAT and OUTPUT_DIR are read.
        lab2cname: label -> class name, needed for results per class.
    """

    def __init__(
        self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT needs lab2cname, the names of the classes")
        self._lab2cname = lab2cname
        self._clear()  # not reset(): a subclass's may need what its own __init__ sets later

    def reset(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._correct = 0
        self._total = 0
        self._num_classes = 0  # of the outputs seen
        self._y_true: list[int] = []
        self._y_pred: list[int] = []
        self._per_class_res: defaultdict[int, list[int]] | None = (
            defaultdict(list) if self.cfg.TEST.PER_CLASS_RESULT else None
        )

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Add a batch.

        Args:
            mo: (B, C) model outputs.
            gt: (B,) labels.
        """
        self._num_classes = mo.shape[1]
        pred = mo.max(1)[1]
        matches = pred.eq(gt)
        self._correct += int(matches.sum().item())
        self._total += gt.shape[0]
        labels = gt.tolist()
        self._y_true.extend(labels)
        self._y_pred.extend(pred.tolist())
        if self._per_class_res is not None:
            for label, match in zip(labels, matches.int().tolist(), strict=True):
                self._per_class_res[label].append(match)

    def evaluate(self) -> OrderedDict[str, float]:
        """Print the results and return them; ``trainer.test()`` returns the first value."""
        if self._total == 0:
            raise UserError("there are no images to evaluate: the split is empty")
        accuracy = 100.0 * self._correct / self._total
        error = 100.0 - accuracy
        macro_f1 = 100.0 * self._macro_f1()
        results = OrderedDict(accuracy=accuracy, error_rate=error, macro_f1=macro_f1)
        print(
            "=> result\n"
            f"* total: {self._total:,}\n"
            f"* correct: {self._correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {error:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        if self._per_class_res is not None:
            results["perclass_accuracy"] = self._print_per_class()
        if self.cfg.TEST.COMPUTE_CMAT and is_main():
            self._save_confusion_matrix()
        return results

    def _macro_f1(self) -> float:
        """Mean F1 over the classes that occur among the labels, as upstream."""
        with random_kept():  # a first import draws from Python's generator
            from sklearn.metrics import f1_score  # slow to import, and only needed here

        return float(
            f1_score(
                self._y_true,
                self._y_pred,
                average="macro",
                labels=sorted(set(self._y_true)),
                zero_division=0,
            )
        )

    def _print_per_class(self) -> float:
        print("=> per-class result")
        accuracies = []
        for label, matches in sorted(self._per_class_res.items()):
            accuracy = 100.0 * sum(matches) / len(matches)
            accuracies.append(accuracy)
            print(
                f"* class: {label} ({self._lab2cname[label]})\t"
                f"total: {len(matches):,}\t"
                f"correct: {sum(matches):,}\t"
                f"acc: {accuracy:.1f}%"
            )
        mean = sum(accuracies) / len(accuracies)
        print(f"* average: {mean:.1f}%")
        return mean

    def _save_confusion_matrix(self) -> None:
        """Rows are true classes and sum to 1; a tensor, so that ``torch.load`` reads it."""
        with random_kept():
            from sklearn.metrics import confusion_matrix

        # All classes in label order: one that is neither tested nor predicted has its row too.
        labels = range(self._num_classes) if self._num_classes else None
        matrix = confusion_matrix(self._y_true, self._y_pred, labels=labels, normalize="true")
        path = osp.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        with atomic_write(path, "wb") as handle:
            torch.save(torch.from_numpy(matrix), handle)
        print(f"Confusion matrix is saved to {path}")
