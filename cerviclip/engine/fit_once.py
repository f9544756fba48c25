"""Methods that are fitted in one go on stored features, and the choice of their settings on val."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FitOnce:
    """Mixin before a trainer class: training is one call of :meth:`fit`, not epochs of batches.

    Checkpoints, the choice of the final model and the test are the engine's own, with one epoch.
    """

    many_processes = False  # nothing to share: a fit is one piece
    trains_in_seconds = True  # a sweep that names no seeds gives it 20 draws

    def build_model(self) -> None:
        self.max_epoch = 1  # fit is the whole training, whatever OPTIM.MAX_EPOCH says

    def fit(self) -> dict[str, float]:
        """Fit on ``self.split_features("train")`` and return the figures to log."""
        raise NotImplementedError

    def run_epoch(self) -> None:
        self.set_model_mode("eval")
        with torch.no_grad():
            figures = self.fit()
        print(" ".join(["fit", *(f"{name} {value:.4f}" for name, value in figures.items())]))
        for name, value in figures.items():
            self.write_scalar(f"train/{name}", value, self.epoch)


def choose_on_val(
    settings: Sequence[dict[str, float]], accuracy: Tensor, log_loss: Tensor, by: str = "accuracy"
) -> tuple[int, dict]:
    """Choose one of ``settings`` by its score on val and print the choice.

    Ties in one score are broken by the other, then by order: a handful of val images leaves many
    settings equal in accuracy, and the log-loss tells the sure from the lucky.

    Args:
        settings: what was tried.
        accuracy: (N,) in percent, one for each setting.
        log_loss: (N,) in nats.
        by: ``accuracy`` or ``log_loss``, the score that decides.

    Returns:
        The index chosen and a record of the search for results.json.
    """
    scores = list(zip(accuracy.tolist(), (-log_loss).tolist(), strict=True))
    if by == "log_loss":
        scores = [(loss, acc) for acc, loss in scores]
    best = max(range(len(settings)), key=lambda i: (scores[i], -i))
    record = {
        "by": by,
        "tried": len(settings),
        "chosen": dict(settings[best]),
        "val_accuracy": float(accuracy[best]),
        "val_log_loss": float(log_loss[best]),
    }
    chosen = ", ".join(f"{key} {value:.4g}" for key, value in settings[best].items())
    print(
        f"search on val: {chosen} is best of {len(settings)} by {by} "
        f"(accuracy {record['val_accuracy']:.2f}%, log-loss {record['val_log_loss']:.4f})"
    )
    return best, record
