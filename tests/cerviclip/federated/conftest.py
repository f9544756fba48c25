"""Three small centres and a plan over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerviclip.federated.plan import Plan, read_plan
from helpers import tiny_clip_state_dict, write_images

CENTERS = ("east", "north", "west")
SHORT = (
    "{DATASET.PATIENT_PATTERN: '(P\\d{7})', DATALOADER.NUM_WORKERS: 0, "
    "DATALOADER.TRAIN_X.BATCH_SIZE: 4, INPUT.TRANSFORMS: [normalize], OPTIM.MAX_EPOCH: 4, "
    "INPUT.SIZE: [32, 32], OPTIM.LR: 0.01}"
)


@pytest.fixture
def write_plan(tmp_path):
    """``write_plan(trainer, lines, pooled)``: the path of a plan over three centres."""
    from safetensors.torch import save_file

    weights = tmp_path / "clip.safetensors"
    save_file(tiny_clip_state_dict(), weights)
    (tmp_path / "empty.yaml").touch()
    for seed, name in enumerate(CENTERS):
        write_images(tmp_path / name, dict.fromkeys("abc", 12), patients=12, seed=seed)

    def write(trainer: str = "ClipAdapter", lines: str = "", rounds: int = 2) -> Path:
        path = tmp_path / "plan.yaml"
        sites = [f"  {n}: {{dataset: FolderDataset, root: {tmp_path / n}}}" for n in CENTERS]
        path.write_text(
            f"trainer: {trainer}\nbackbone: CLIP\nweights: {weights}\nrounds: {rounds}\n"
            f"config: {tmp_path / 'empty.yaml'}\nopts: {SHORT}\n{lines}\ncenters:\n"
            + "\n".join(sites)
            + "\n"
        )
        return path

    return write


@pytest.fixture
def plan(write_plan) -> Plan:
    return read_plan(write_plan())
