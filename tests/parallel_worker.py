"""One of two processes: small steps on its part of a batch, or an end of a certain kind.

``python -m parallel_worker parts`` prints the JSON of `parts`; the other words are in `ENDS`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command does, before torch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from cerviclip.parallel.batch_norm import share_batch_norms
from cerviclip.parallel.loaders import OwnParts, own_batches, training_batches
from dassl.config import get_cfg_default
from dassl.engine.trainer_base import TrainerBase
from dassl.errors import UserError
from dassl.utils import distributed
from dassl.utils.batch_share import (
    Share,
    align_generators,
    draw_rows,
    own_rows,
    step_of,
    sum_over_batch,
    whole_batch,
)
from dassl.utils.rng import set_random_seed

BATCH = 5  # three images for one process, two for the other


def images(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64)


def gradients_of(model: nn.Module, loss_of) -> list[float]:
    """Of one step on this process's images, averaged over the processes."""
    share = Share.of(BATCH)
    with step_of(share):
        loss_of(slice(share.rows.start, share.rows.stop)).backward()
    distributed.average_gradients(model.parameters(), share.weight)
    return [value for p in model.parameters() for value in p.grad.flatten().tolist()]


def contrastive() -> list[float]:
    """Each image against all prompts of the batch, and a factor that learns beside the features."""
    torch.manual_seed(1)
    model = nn.ModuleList([nn.Linear(4, 3), nn.Linear(6, 3), nn.Linear(1, 1)]).double()
    x, t = images(4), images(6)

    def loss(rows: slice) -> Tensor:
        features = whole_batch(F.normalize(model[0](x[rows]), dim=-1))
        texts = whole_batch(F.normalize(model[1](t[rows]), dim=-1))
        scale = model[2](torch.ones(1, dtype=torch.float64)).exp()
        return F.cross_entropy(scale * features @ texts.t(), torch.arange(BATCH))

    return gradients_of(model, loss)


def batch_norms() -> dict:
    """Two norms of another kind each, one without weights; a later one sees the first's output."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, momentum=None),
        nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3, affine=False),
    ).double()  # fmt: skip
    if distributed.world_size() > 1:
        share_batch_norms([model], torch.device("cpu"))
    x, y = images(3, 4, 4), torch.tensor([0, 1, 2, 0, 1])
    grads = gradients_of(model, lambda rows: F.cross_entropy(model(x[rows]), y[rows]))
    model.eval()
    buffers = [value for b in model.buffers() for value in b.flatten().double().tolist()]
    return {"gradients": grads, "buffers": buffers, "eval": model(x).tolist()}


class Numbers(Dataset):
    """Items that draw from each generator as they are loaded."""

    transform = staticmethod(lambda item: item)

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict:
        drawn = torch.rand(1).item() + random.random()
        return {"label": number, "img": torch.tensor([drawn]), "impath": f"{number}.png"}


class Loads(TrainerBase):
    """What training batches ask of a trainer."""

    def __init__(self, draw_by: str) -> None:
        super().__init__()
        self.cfg = get_cfg_default()
        self.cfg.DATALOADER.DRAW_BY = draw_by


def loaded(draw_by: str) -> list:
    """Two epochs with draws within the steps: numbers, what was drawn, paths; all processes'."""
    set_random_seed(4)
    source, trainer = Numbers(12), Loads(draw_by)
    loader = DataLoader(source, BATCH, sampler=RandomSampler(source), drop_last=True)
    seen = []
    for epoch in range(2):
        align_generators(epoch)
        for batch in training_batches(trainer, loader):
            count = len(batch["label"])
            F.dropout(torch.ones(100 * count))  # another amount here and there
            drawn = draw_rows(count, torch.rand)
            rows = [batch["label"], batch["img"][:, 0], drawn]
            rows = [distributed.gather_rows(part).tolist() for part in rows]
            paths = sum(distributed.gather_objects(batch["impath"]), [])
            seen.append([*rows, paths])
        seen.append(torch.rand(1).item())  # the common generator
    return seen


def tested() -> list:
    """The images of a test in their order, of fewer and fewer images."""
    found = []
    for count in (9, 3, 1):
        loader = DataLoader(Numbers(count), 2)
        batches = [batch["label"] for batch in own_batches(loader)] or [torch.zeros(0).long()]
        found.append(distributed.gather_rows(torch.cat(batches)).tolist())
    return found


def parts() -> dict:
    share = Share.of(BATCH)
    with step_of(share):
        rows = own_rows(len(share.rows))
        total = sum_over_batch(images(2)[rows].sum(0)).tolist()
    return {
        "contrastive": contrastive(),
        "norms": batch_norms(),
        "by image": loaded("image"),
        "by batch": loaded("batch"),
        "tested": tested(),
        "sum": total,
        "length": len(OwnParts(DataLoader(Numbers(7), 3), by_image=False)),
    }


# Ends --------------------------------------------------------------------------------------------


def a_users_error() -> None:
    if distributed.rank() == 1:
        raise UserError("no such folder; give another one")
    distributed.broadcast_object(None, source=1)


def an_error_while_all_wait() -> None:
    if distributed.rank() == 1:
        raise OSError("disk on fire")
    distributed.wait_for_all()


def the_first_ones_error() -> None:
    if distributed.rank() == 0:
        raise UserError("the first one cannot")
    distributed.wait_for_all()


def killed() -> None:
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.gather_objects(1)


def killed_while_all_wait() -> None:
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.wait_for_all()


def asleep() -> None:
    if distributed.rank() == 1:
        time.sleep(600)
    distributed.gather_objects(1)


def nan_of_one() -> None:
    trainer = TrainerBase()
    model = nn.Linear(2, 1)
    trainer.register_model("model", model, torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.batch_idx = 4
    x = torch.full((3, 2), float("nan") if distributed.rank() == 1 else 1.0)
    trainer.model_backward_and_update(model(x).mean())


ENDS = {
    f.__name__: f
    for f in (a_users_error, an_error_while_all_wait, the_first_ones_error, killed)
    + (killed_while_all_wait, asleep, nan_of_one)
}


def main(word: str) -> int:
    if word == "parts":
        distributed.init_from_env(use_cuda=False, timeout_s=60)
        print(json.dumps(parts()))
        distributed.wait_for_all()
        distributed.shut_down()
        return 0

    from cerviclip.runs.run.process.in_group import in_group

    def work() -> int:
        distributed.init_from_env(use_cuda=False, timeout_s=3 if word == "asleep" else 60)
        ENDS[word]()
        return 0

    return in_group(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
