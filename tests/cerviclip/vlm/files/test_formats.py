from __future__ import annotations

import argparse
import tarfile
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cerviclip.backbones.names import OPENAI_GEOMETRY
from cerviclip.vlm import load_backbone
from cerviclip.vlm.files.formats import read_state_dict, sniff, state_sha256
from cerviclip.vlm.towers.clip_package import import_clip
from dassl.errors import MissingFileError, UserError
from dassl.utils.files import file_sha256

FORMATS = ("torchscript", "torch", "safetensors")


class Archive(torch.nn.Module):
    """A module whose state dict has OpenAI's names, with the three buffers of the real archives."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for key, value in state.items():
            *path, name = key.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            module.register_buffer(name, value)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(7))


def write(state: dict[str, torch.Tensor], path, kind: str) -> None:
    """The state in fp16 where the real files are, in one of the three formats."""
    half = {k: v.half() if v.is_floating_point() and v.dim() > 1 else v for k, v in state.items()}
    if kind == "safetensors":
        save_file({k: v.contiguous() for k, v in half.items()}, str(path))
    elif kind == "torch":
        torch.save(half, path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(Archive(half)), str(path))


def random_state(geometry: tuple) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = import_clip().model.CLIP(*geometry).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in shapes.items():
        if value.is_floating_point():
            state[key] = torch.empty(value.shape).normal_(std=0.02, generator=generator)
        else:
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
        if key.endswith("running_var"):
            state[key].fill_(1)
    return state


@pytest.mark.parametrize("form", FORMATS)
@torch.no_grad()
def test_each_format_of_a_small_clip(kind, form, states, references, tmp_path):
    path = tmp_path / "weights.bin"  # the name says nothing: the bytes decide
    write(states[kind], path, form)
    assert sniff(path) == form
    backbone = load_backbone("CLIP", path)
    assert backbone.weights_sha256 == file_sha256(path)
    x = torch.randn(2, 3, *backbone.preprocess.size)
    ours, theirs = backbone.encode_image(x), references[kind].encode_image(x)
    assert ours.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.999  # fp16 storage
    tokens = backbone.tokenize(["a cyst", "layers"])
    ours, theirs = backbone.encode_text(tokens), references[kind].encode_text(tokens)
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", OPENAI_GEOMETRY)
@torch.no_grad()
def test_each_format_of_each_openai_architecture_at_full_size(name, form, tmp_path):
    path = tmp_path / "weights.pt"
    state = random_state(OPENAI_GEOMETRY[name])
    write(state, path, form)
    backbone = load_backbone(name, path)
    size = OPENAI_GEOMETRY[name][1]
    assert backbone.arch == name and backbone.preprocess.size == (size, size)
    pooled, patches = backbone.encode_tokens(torch.randn(1, 3, size, size))
    rows, columns = backbone.visual.grid
    assert pooled.shape == (1, OPENAI_GEOMETRY[name][0])
    assert patches.shape == (1, rows * columns, OPENAI_GEOMETRY[name][0])
    assert torch.isfinite(backbone.encode_text(backbone.tokenize(["a cyst"]))).all()
    assert torch.equal(backbone.logit_scale, state["logit_scale"])


@pytest.mark.parametrize("wrap", ["state_dict", "model", "prefix"])
def test_nested_and_prefixed_checkpoints(wrap, states, tmp_path):
    state = states["vit"]
    path = tmp_path / "last.ckpt"
    if wrap == "prefix":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        torch.save({"epoch": 3, wrap: state}, path)
    read = read_state_dict(path)
    assert state_sha256(read) == state_sha256(state)


@pytest.mark.parametrize("form", FORMATS)
def test_a_cut_off_file_is_one_clear_sentence(form, states, tmp_path):
    path = tmp_path / "cut.pt"
    write(states["vit"], path, form)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut.pt") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value) and "fetch it again" in str(caught.value)


def test_files_without_weights_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match="absent.pt"):
        read_state_dict(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("404: not found")
    with pytest.raises(UserError, match="text.pt is no file of weights") as caught:
        read_state_dict(tmp_path / "text.pt")
    assert "PyTorch" not in str(caught.value)  # its advice, weights_only=False, is none to follow
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(UserError, match="no named tensors"):
        read_state_dict(tmp_path / "empty.pt")


def test_nothing_but_tensors_is_unpickled(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"a": torch.zeros(1), "b": Harmful()}, tmp_path / "harmful.pt")
    with pytest.raises(UserError, match="harmful.pt"):
        read_state_dict(tmp_path / "harmful.pt")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_refused_before_torch_unpacks_it(mode, tmp_path):
    path = tmp_path / "weights.pt"
    with tarfile.open(path, mode) as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(UserError, match=r"weights\.pt.* is a tar archive.*unpack it"):
        read_state_dict(path)


def test_state_sha256_sees_names_types_and_values():
    state = {"a": torch.arange(4.0), "b": torch.zeros((), dtype=torch.long)}
    other = [
        {"a": torch.arange(4.0), "c": torch.zeros((), dtype=torch.long)},
        {"a": torch.arange(4.0).half(), "b": torch.zeros((), dtype=torch.long)},
        {"a": torch.arange(4.0).flip(0), "b": torch.zeros((), dtype=torch.long)},
    ]
    hashes = {state_sha256(s) for s in (state, *other)}
    assert len(hashes) == 4
    assert state_sha256(dict(reversed(state.items()))) == state_sha256(state)


@pytest.mark.parametrize(
    "beside",
    [np.int64(3), np.float64(0.5), np.random.RandomState(0).get_state(), argparse.Namespace(a=1)],
    ids=["int", "float", "random state", "Namespace"],
)
def test_weights_beside_the_values_of_a_training_script_are_read(beside, tmp_path):
    state = {"a.weight": torch.arange(3.0)}
    torch.save({"extra": beside, "state_dict": state}, tmp_path / "f.pt")
    assert torch.equal(read_state_dict(tmp_path / "f.pt")["a.weight"], state["a.weight"])


@pytest.mark.parametrize(
    "prefixes",
    [["model."], ["clip."], ["backbone."], ["_orig_mod.module."], ["module._orig_mod."]]
    + [["model.module."], ["module.", ""], ["student."], ["ema_model.module."]],
)
def test_prefixes_of_wrappers_are_taken_off(prefixes, tmp_path):
    state = {"a.weight": torch.zeros(1), "b.weight": torch.ones(1)}
    named = {prefixes[i % len(prefixes)] + key: v for i, (key, v) in enumerate(state.items())}
    torch.save(named, tmp_path / "f.pt")
    assert read_state_dict(tmp_path / "f.pt") == state


@pytest.mark.parametrize(
    ("read", "beside"),
    [("model", "model_ema"), ("state_dict", "state_dict_ema")] + [("teacher", "student")],
)
def test_weights_beside_others_are_named(read, beside, tmp_path):
    """An average or a student's weights may have been meant."""
    weights = {name: {"a": torch.full((1,), n)} for n, name in enumerate((read, beside), 1)}
    torch.save({**weights, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "f.pt")
    with pytest.warns(UserWarning, match=f"f.pt holds weights under {read} and {beside};.* alone"):
        assert read_state_dict(tmp_path / "f.pt")["a"].item() == 1


@pytest.mark.parametrize("name", ["ema", "params_ema", "net", "weights", "student"])
def test_the_only_weights_of_a_checkpoint_are_read_whatever_they_are_called(name, tmp_path):
    weights = {"a": torch.ones(1), "b": torch.zeros(1)}
    rest = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    torch.save({name: weights, **rest}, tmp_path / "f.pt")
    assert read_state_dict(tmp_path / "f.pt") == weights
    torch.save({name: weights, "other": weights, **rest}, tmp_path / "f.pt")
    with pytest.raises(UserError, match=f"weights under {name}, other, and nothing says which"):
        read_state_dict(tmp_path / "f.pt")
    torch.save(rest, tmp_path / "f.pt")
    with pytest.raises(UserError, match=r"no named tensors \(it has epoch, optimizer\)"):
        read_state_dict(tmp_path / "f.pt")


def test_two_models_under_one_name_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1), "module.a": torch.ones(1)}, tmp_path / "f.pt")
    with pytest.raises(UserError, match="f.pt holds a with and without a wrapper's prefix"):
        read_state_dict(tmp_path / "f.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "a page of HTML"),
    ],
)
def test_what_is_no_weights_is_named_for_what_it_is(content, words, tmp_path):
    (tmp_path / "f.pt").write_bytes(content)
    with pytest.raises(UserError, match=f"f.pt is {words}"):
        read_state_dict(tmp_path / "f.pt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model-00001-of-00002.safetensors", "one of the 2 files of one model; save"),
        ("pytorch_model-00002-of-00003.bin", "one of the 3 files of one model; save"),
        ("model.safetensors.index.json", "the list of the files of one model; save"),
    ],
)
def test_a_part_of_a_model_is_named_as_such(name, words, tmp_path):
    """It was a broken file, to be fetched again, or one of another backbone."""
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(UserError, match=words):
        read_state_dict(tmp_path / name)
    whole = tmp_path / "model-00001-of-00001.pt"
    torch.save({"a": torch.zeros(1)}, whole)
    assert read_state_dict(whole)["a"].item() == 0


def test_infinite_weights_are_refused_and_masks_are_not(tmp_path):
    """A run with them ended in advice on its rate of learning."""
    torch.save({"a": torch.tensor([1.0, torch.inf])}, tmp_path / "f.pt")
    with pytest.raises(UserError, match="f.pt: a holds infinite values, .* one in float32"):
        read_state_dict(tmp_path / "f.pt")
    torch.save({"mask": torch.tensor([0.0, -torch.inf])}, tmp_path / "g.pt")
    assert read_state_dict(tmp_path / "g.pt")["mask"][1].item() == -torch.inf
    torch.save({"a": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "h.pt")
    assert read_state_dict(tmp_path / "h.pt")["a"].float().tolist() == [1, 1]
