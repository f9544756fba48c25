"""Tiny CLIPs of both kinds, as state dicts, files and backbones."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from cerviclip.vlm import load_backbone
from cerviclip.vlm.towers.clip_package import import_clip
from cerviclip.vlm.towers.openai import geometry
from helpers import tiny_clip_state_dict


def tiny_resnet_state_dict() -> dict[str, torch.Tensor]:
    """Random weights of a small ResNet CLIP under OpenAI's names, batch statistics included."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = import_clip().model.CLIP(32, 64, (1, 2, 1, 1), 8, None, 77, 49408, 64, 1, 2)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
    return {key: value.clone() for key, value in model.state_dict().items()}


def reference_model(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The ``clip`` package's own model with these weights, in float32."""
    model = import_clip().model.CLIP(*geometry(state, "reference"))
    model.load_state_dict(state)
    return model.eval()


@pytest.fixture(scope="session")
def states():
    return {
        "vit": tiny_clip_state_dict(vision_layers=3, text_layers=3, text_width=128),
        "resnet": tiny_resnet_state_dict(),
    }


@pytest.fixture(scope="session")
def files(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for kind, state in states.items():
        save_file(state, str(folder / f"{kind}.safetensors"))
    return {kind: folder / f"{kind}.safetensors" for kind in states}


@pytest.fixture(scope="session")
def references(states):
    return {kind: reference_model(state) for kind, state in states.items()}


@pytest.fixture(scope="session")
def vit(files):
    """Shared: tests must leave it as it is."""
    return load_backbone("CLIP", files["vit"])


@pytest.fixture(scope="session")
def resnet(files):
    return load_backbone("CLIP", files["resnet"])


@pytest.fixture(params=["vit", "resnet"])
def kind(request):
    return request.param


@pytest.fixture
def backbone(kind, vit, resnet):
    return {"vit": vit, "resnet": resnet}[kind]
