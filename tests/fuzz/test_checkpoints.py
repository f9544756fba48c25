"""Checkpoints of other networks, other hands and broken disks: loaded whole or refused."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from fuzz.bounds import examples, refused_or
from fuzz.mutations import broken
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cerviclip.engine.final_model import FinalModel
from cerviclip.vlm.files.formats import read_state_dict
from dassl.errors import UserError
from dassl.utils import load_checkpoint
from dassl.utils.checkpoints import load_pretrained_weights, restore_checkpoint


class Ran(Exception):
    """Raised by a pickle that was run."""


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch hostile_was_here",))


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(3, 2)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def whole() -> dict:
    model, optim = network()
    model(torch.ones(1, 3)).sum().backward()
    optim.step()
    return {
        "state_dict": model.state_dict(),
        "epoch": 3,
        "optimizer": optim.state_dict(),
        "scheduler": None,
        "val_result": 71.5,
    }


def saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def contents() -> dict[str, object]:
    """Checkpoints that torch reads, and that are none of a training or of another network."""
    sound = whole()
    weight = sound["state_dict"]["weight"]

    def with_weights(**changes: object) -> dict:
        return sound | {"state_dict": dict(sound["state_dict"]) | changes}

    return {
        "list": [1, 2],
        "text": "state_dict",
        "tensor": weight,
        "empty": {},
        "no epoch": {"state_dict": sound["state_dict"]},
        "epoch text": sound | {"epoch": "last"},
        "epoch negative": sound | {"epoch": -1},
        "weights none": sound | {"state_dict": None},
        "weights list": sound | {"state_dict": [weight]},
        "keys numbers": sound | {"state_dict": {0: weight, 1: weight}},
        "other architecture": with_weights(weight=torch.zeros(5, 7)),
        "missing": sound | {"state_dict": {"weight": weight}},
        "unknown": with_weights(extra=weight),
        "text for weights": with_weights(weight="0.5"),
        "integers": with_weights(weight=torch.ones(2, 3, dtype=torch.int8)),
        "truth values": with_weights(weight=torch.ones(2, 3, dtype=torch.bool)),
        "nan": with_weights(weight=torch.full((2, 3), float("nan"))),
        "optimizer text": sound | {"optimizer": "sgd"},
        "optimizer empty": sound | {"optimizer": {}},
        "optimizer other": sound | {"optimizer": {"state": {}, "param_groups": [{"params": [7]}]}},
        "hostile": sound | {"more": Hostile()},
    }


REFUSED = contents()
HALF = whole() | {"state_dict": {k: v.half() for k, v in whole()["state_dict"].items()}}


class Trainer(FinalModel):
    """What ``load_model`` needs of a trainer."""

    def __init__(self) -> None:
        from dassl.config import get_cfg_default

        self.cfg = get_cfg_default()
        self._models = {"model": network()[0]}

    def get_model_names(self) -> list[str]:
        return list(self._models)


def readers(file: Path) -> list:
    """Every way in which a file becomes a network's weights."""
    folder = file.parent / "run" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pth.tar-3").write_bytes(file.read_bytes())
    (folder / "checkpoint").write_text("model.pth.tar-3\n")
    model, optim = network()
    trainer = Trainer()
    return [
        (lambda: restore_checkpoint(file, model, optim), model),
        (lambda: trainer.load_model(str(folder.parent)) or True, trainer._models["model"]),
    ]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_checkpoint_of_this_network_is_refused(tmp_path, monkeypatch, kind, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "odd.pth.tar"
    file.write_bytes(saved(REFUSED[kind]))
    only_resumed = kind == "no epoch" or kind.startswith("optimizer")
    for read, _ in readers(file)[: 1 if only_resumed else None]:
        with pytest.raises(UserError) as refusal:
            read()
        assert "odd.pth.tar" in str(refusal.value) or "model.pth.tar-3" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "hostile_was_here").exists()


def test_half_precision_and_a_whole_file_are_loaded(tmp_path, capsys):
    file = tmp_path / "whole.pth.tar"
    for content in (whole(), HALF):
        file.write_bytes(saved(content))
        for read, model in readers(file):
            assert read() is not None or True
            assert torch.equal(model.weight, content["state_dict"]["weight"].float())


def test_damaged_files_give_finite_weights_or_a_line(size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound = saved(whole())
    old = saved(whole(), _use_new_zipfile_serialization=False)
    bare = saved(whole()["state_dict"])
    others = [pickle.dumps(value) for value in ({"state_dict": {}}, Hostile(), [1])]
    file = tmp_path / "odd.pth.tar"

    @examples(size, 40, 250)
    @given(st.one_of([broken(content) for content in (sound, sound, old, bare, *others)]))
    def check(content):
        file.write_bytes(content)
        refused_or(lambda: load_checkpoint(file))
        for read, model in readers(file):
            if refused_or(read) is not None:
                assert not any(bool(torch.isnan(value).any()) for value in model.parameters())
        refused_or(lambda: load_pretrained_weights(network()[0], file) or True)
        found = refused_or(lambda: read_state_dict(file))
        assert all(isinstance(value, torch.Tensor) for value in (found or {}).values())

    check()
    assert not (tmp_path / "hostile_was_here").exists()


def test_damaged_safetensors_give_tensors_or_a_line(size, tmp_path):
    from safetensors.torch import save

    sound = save({"a": torch.ones(3), "b": torch.zeros(2, 2)})
    huge = (2**40).to_bytes(8, "little") + sound[8:]
    file = tmp_path / "odd.safetensors"

    @examples(size, 40, 250)
    @given(st.one_of(broken(sound), st.just(huge)))
    def check(content):
        file.write_bytes(content)
        for value in (refused_or(lambda: read_state_dict(file)) or {}).values():
            assert not bool(torch.isnan(value).any()) if value.is_floating_point() else True

    check()


@pytest.mark.parametrize("marker", [b"", b"\xff\xfe", b"../../../etc/passwd", b"/", b"..", b"a\nb"])
def test_a_marker_that_names_no_checkpoint_is_one_line(tmp_path, marker, capsys):
    file = tmp_path / "whole.pth.tar"
    file.write_bytes(saved(whole()))
    readers(file)
    folder = tmp_path / "run"
    (folder / "model" / "checkpoint").write_bytes(marker)
    with pytest.raises(UserError, match="no checkpoint"):
        Trainer().load_model(str(folder))
