"""One of two processes: does each thing once and prints what it saw, as JSON."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn

from dassl.engine.trainer_base import TrainerBase
from dassl.utils import distributed


def parameters(rank: int) -> list[nn.Parameter]:
    """Of two types; one with a gradient here only, one without any, one frozen."""
    made = [nn.Parameter(torch.zeros(n)) for n in (2, 1, 2, 1, 1)]
    made[1] = nn.Parameter(torch.zeros(1, dtype=torch.float16))
    made[0].grad = torch.tensor([1.0, 2.0]) if rank == 0 else torch.tensor([3.0, 6.0])
    if rank == 0:
        made[1].grad = torch.tensor([3.0], dtype=torch.float16)
    else:
        made[2].grad = torch.ones(2)
    made[4].grad = torch.full((1,), float(rank))
    made[4].requires_grad_(False)
    return made


def gradients(of: list[nn.Parameter]) -> list[list[float] | None]:
    return [None if p.grad is None else p.grad.tolist() for p in of]


def train(step: str, rows: range) -> list[float]:
    """Weights after four steps on these rows of a batch of seven."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(7, 3, generator=generator), torch.randn(7, 2, generator=generator)
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    trainer = TrainerBase()
    trainer.register_model("model", model, torch.optim.Adam(model.parameters(), lr=0.05))
    trainer.gradient_share = len(rows) / 7
    for _ in range(4):
        output = model(x[rows])
        loss = (output - y[rows]).square().mean()
        if step == "plain":
            trainer.model_backward_and_update(loss)
        else:
            trainer.prograd_backward_and_update(loss, output.abs().mean(), names="model")
    return [value for p in model.parameters() for value in p.flatten().tolist()]


def main() -> None:
    several = distributed.init_from_env(use_cuda=False, timeout_s=60)
    rank = distributed.rank()
    device = str(distributed.choose_device(use_cuda=False))
    report = {
        "place": [several, rank, distributed.world_size(), distributed.is_main(), device],
        "broadcast": [distributed.broadcast_object({"seed": rank * 10}, source=n) for n in (0, 1)],
        "objects": distributed.gather_objects(f"of {rank}"),
        "shares": [
            distributed.gather_rows(np.array(distributed.own_share(n), dtype=int)).tolist()
            for n in (5, 1, 0)
        ],
    }
    mine = torch.arange(10).reshape(5, 2)[:2] if rank == 0 else torch.arange(4, 10).reshape(3, 2)
    rows = distributed.gather_rows(mine)
    report["tensor"] = [rows.tolist(), str(rows.dtype)]
    rows = distributed.gather_rows(np.array([]) if rank == 0 else np.array([0.5, 1.5, 2.5]))
    report["array"] = [rows.tolist(), str(rows.dtype)]
    rows = distributed.gather_rows(np.zeros((0, 3), np.float32))
    report["empty"] = [list(rows.shape), str(rows.dtype)]

    made = parameters(rank)
    report["frozen_before"] = gradients(made)[4]
    distributed.average_gradients(made)
    report["mean"] = gradients(made)[:4]
    report["types"] = [None if p.grad is None else str(p.grad.dtype) for p in made[:4]]
    report["frozen"] = gradients(made)[4]
    made = parameters(rank)
    distributed.average_gradients(made, share=0.75 if rank == 0 else 0.25)
    report["weighted"] = gradients(made)[:4]

    half = range(0, 4) if rank == 0 else range(4, 7)
    report |= {step: train(step, half) for step in ("plain", "prograd")}
    distributed.wait_for_all()
    distributed.shut_down()
    report["after"] = [distributed.rank(), distributed.world_size()]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
