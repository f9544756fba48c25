"""The published way, for the benchmark only: one process a run, everything decoded and encoded
anew.

As in the methods' own repositories: images go through decoder, transform and encoder at every epoch
and every test, and text through all 77 columns at every step. The probe's solver is scikit-learn's,
called for each C anew. Heads, draws and orders are those of our trainers, so that predictions can
be compared. What our runs do beyond a published one is left out: predictions of val for
calibration, and the training images' features for whoever predicts later.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def published(base: type) -> type:
    """A trainer class that does ``base``'s work the published way."""

    class Published(base):
        image_input = "images"
        val_seconds = 0.0  # of encoding val within train(): the same for any number of shots

        def build_model(self) -> None:
            super().build_model()
            self.class_features = self.encode_all_columns

        def image_features(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return F.normalize(self.backbone.encode_image(x.to(self.device)), dim=-1)

        def split_features(self, split: str) -> tuple[Tensor, Tensor]:
            items = {"train": self.dm.dataset.train_x, "val": self.dm.dataset.val}[split]
            started = time.perf_counter()
            batches = list(self.make_loader(items))
            rows = torch.cat([self.image_features(batch["img"]) for batch in batches])
            if split == "val":
                self.val_seconds += time.perf_counter() - started
            return rows[:, None], torch.cat([batch["label"] for batch in batches]).to(self.device)

        def encode_all_columns(self) -> Tensor:
            """CoOp's step: every class through all columns, whatever they share."""
            learner, text = self.prompt_learner, self.backbone.text
            embeddings, tokens = learner()
            missing = text.context_length - tokens.shape[1]
            embeddings = F.pad(embeddings, (0, 0, 0, missing))
            tokens = F.pad(tokens, (0, missing))
            h = text.run_blocks(text.stem(embeddings))
            return F.normalize(text.head(h, tokens).float(), dim=-1)

    Published.__name__ = base.__name__
    return Published


def fit_by_scikit_learn(
    features: Tensor, labels: Tensor, num_classes: int, cs: Sequence[float], max_iter: int, *_: Any
) -> list[tuple[Tensor, Tensor]]:
    """`cerviclip.vlm.heads.logistic.fit_linear` of three classes or more, all of them present."""
    from sklearn.linear_model import LogisticRegression

    x, y = features.double().cpu().numpy(), labels.cpu().numpy()
    mean, std = x.mean(0), x.std(0).clip(min=1e-6)
    layers = []
    for c in cs:
        model = LogisticRegression(C=c, max_iter=max_iter).fit((x - mean) / std, y)
        weight = model.coef_ / std
        bias = model.intercept_ - weight @ mean
        layers.append((torch.from_numpy(weight).float(), torch.from_numpy(bias).float()))
    return layers


def main(argv: Sequence[str]) -> None:
    """``published.py TRAINER OUT.json FLAGS OF train.py``: one run, its parts timed."""
    trainer, out, *flags = argv
    started = time.time()
    import train as command
    from cerviclip.data.images import cache as image_cache
    from cerviclip.plugins import ensure_loaded
    from cerviclip.runs.run import runner
    from cerviclip.runs.run.runner import Run
    from dassl.engine import TRAINER_REGISTRY

    image_cache.enable = lambda *args: image_cache.ImageCache(0)  # used by nobody
    runner.predict_val = lambda trainer: None
    Run.keep_train_features = lambda run: None
    base = ensure_loaded("trainer", trainer)
    if trainer == "LinearProbe":
        sys.modules[base.__module__].fit_linear = fit_by_scikit_learn
    TRAINER_REGISTRY._obj_map[trainer] = published(base)
    imported = time.time()
    seen: dict[str, Any] = {}
    write = Run.write

    def writing(run: Run, *args: Any) -> Any:
        seen.update(run.seconds, images=len(run.trainer.dm.dataset.train_x))
        seen.update(val=run.trainer.val_seconds)
        return write(run, *args)

    Run.write = writing
    status = command.main(["--trainer", trainer, *flags])
    seen.update(imports=imported - started, main=time.time() - imported)
    with open(out, "w") as file:
        json.dump(seen, file)
    raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
