"""The published way, for the benchmark only: one process a run, everything decoded and encoded
anew.

As in the methods' own repositories: images go through decoder, transform and encoder at every epoch
and every test, and text through all 77 columns at every step. Heads, draws and orders are those of
our trainers, so that predictions can be compared.
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


def main(argv: Sequence[str]) -> None:
    """``published.py TRAINER OUT.json FLAGS OF train.py``: one run, its parts timed."""
    trainer, out, *flags = argv
    started = time.time()
    import train as command
    from cerviclip.data.images import cache as image_cache
    from cerviclip.plugins import ensure_loaded
    from cerviclip.runs.run.runner import Run
    from dassl.engine import TRAINER_REGISTRY

    image_cache.enable = lambda *args: image_cache.ImageCache(0)  # used by nobody
    base = ensure_loaded("trainer", trainer)
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
