"""A model whose evidence is known: it says "bright" where it sees light."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

from cerviclip.app.predictor import Member, Predictor
from cerviclip.data.reading import Reading
from cerviclip.engine.task import Task

SIZE = 64


class LightNet(nn.Module):
    """Four channels on a grid of 8 x 8, pooled; the second class is told by the first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)
        with torch.no_grad():
            draws = torch.Generator().manual_seed(1)
            self.features[0].weight.copy_(0.01 * torch.rand(4, 3, 8, 8, generator=draws))
            self.features[0].bias.zero_()
            self.fc.weight.copy_(torch.tensor([[0.0, 0.3, -0.2, 0.1], [9.0, 0.1, 0.2, -0.1]]))
            self.fc.bias.copy_(torch.tensor([0.5, -0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.features(x)).flatten(1))


class LightTrainer:
    """The least that a trainer written elsewhere has."""

    def __init__(self, model: nn.Module, size: int = SIZE) -> None:
        self.model, self.device = model.eval(), torch.device("cpu")
        self._models = {"model": model}
        plain = Normalize((0.0,) * 3, (1.0,) * 3)
        self.tfm_test = Compose([Resize(size), CenterCrop(size), ToTensor(), plain])
        test = SimpleNamespace(BATCH_SIZE=4)
        self.cfg = SimpleNamespace(
            TRAINER=SimpleNamespace(NAME="Light"), DATALOADER=SimpleNamespace(TEST=test)
        )

    def set_model_mode(self, mode: str) -> None:
        self.model.train(mode == "train")

    def parse_batch_test(self, batch):
        return batch["img"], batch["label"]

    def model_inference(self, input):
        return self.model(input)


def predictor_of(model: nn.Module, size: int = SIZE) -> Predictor:
    task = Task("Light", ("dark", "bright"))
    return Predictor([Member(Path("light"), LightTrainer(model, size), task, Reading())])


class BlindNet(nn.Module):
    """Looks at the mean alone: no layer has places."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))
