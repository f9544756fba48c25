"""Files and tables that are looked for where they are not."""

from __future__ import annotations

import ast
import builtins
import io
import os
import types

import pytest
import torch

from cerviclip.adopt.texts import Texts
from cerviclip.adopted.failures import one_line
from cerviclip.adopted.inner_tables import InnerTables, with_calls
from cerviclip.adopted.paths import Paths
from cerviclip.adopted.trainer import empty_keys
from dassl.config import get_cfg_default

INNER = """
def begin(name):
    table = {"EuroSAT": ["a satellite photo of", "one photo of"], "OxfordPets": ["a pet"] * 2}
    def inner():
        return {"EuroSAT": "{} field", "Food101": "{} on a plate"}[name]
    return table[name], inner(), {"rate": 1}
"""


@pytest.fixture
def texts():
    return Texts("Smears", ["a smear of {}.", "{} cells"], {"HSIL": ["dense nuclei"]})


@pytest.fixture
def installed(monkeypatch):
    """The functions that `Paths` stands before are put back."""
    for module, name in (
        (builtins, "open"), (io, "open"), (torch, "load"), (torch.jit, "load"), (os, "listdir"),
        (os.path, "exists"), (os.path, "isfile"), (os.path, "isdir"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))


def test_a_table_within_a_function_gets_an_entry(texts, tmp_path):
    tables, space = InnerTables(tmp_path), {}
    space["__cerviclip_table__"] = tables._filled
    exec(compile(with_calls(ast.parse(INNER)), "theirs.py", "exec"), space)
    with pytest.raises(KeyError):
        space["begin"]("Smears")
    tables.fill = texts.fill_inner
    for _ in range(2):
        begins, template, _ = space["begin"]("Smears")
    assert begins == ["a smear of", "a smear of"] and template == "a smear of {}."
    assert [note.partition(":")[0] for note in texts.notes] == [
        "line 3, in begin",
        "line 5, in inner",
    ]


def test_prompts_begin_with_words_where_the_template_begins_with_the_class(tmp_path):
    texts = Texts("Smears", ["{} in a smear."], {})
    table = {"EuroSAT": "a satellite photo of", "OxfordPets": "a pet called"}
    texts.fill_inner(table, "x")
    assert table["Smears"] == "in a smear"


def test_a_path_of_the_authors_machine_leads_into_the_repository(tmp_path, texts, installed):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/Pets.json").write_text('{"cat": "it purrs loudly"}')
    paths = Paths(tmp_path, "ViT-B/16", "")
    paths.text_of = texts.file_for
    paths.install()
    theirs = "/home_of_nobody/me/repo/templates"
    with open(f"{theirs}/Pets.json") as handle:
        assert handle.read().startswith("{")
    with open(f"{theirs}/Smears.json") as handle:
        assert "dense nuclei" in handle.read()
    assert os.path.isfile(f"{theirs}/Pets.json") and not os.path.exists(f"{theirs}/Cars.json")
    with pytest.raises(FileNotFoundError):
        open("/home_of_nobody/me/Pets.json")
    with pytest.raises(FileNotFoundError):
        open(tmp_path.parent / "templates/Pets.json")  # that folder is here: a plain mistake
    assert paths.notes[0] == f"{theirs}/Pets.json: templates/Pets.json is taken"


def test_a_file_of_theirs_does_not_take_the_place_of_ours(tmp_path, installed):
    (tmp_path / "repo").mkdir()
    paths = Paths(tmp_path / "repo", "ViT-B/16", "")
    paths.install()
    code = "with open(place, mode) as f:\n    said = f.read() if mode == 'r' else f.write('1')"
    for place in (tmp_path, tmp_path / "repo"):
        theirs = compile(code, str(tmp_path / "repo/trainers/x.py"), "exec")
        for mode in ("w", "r"):
            exec(theirs, space := {"place": str(place / "results.json"), "mode": mode})
        assert space["said"] == "1"
    assert (tmp_path / "their_results.json").is_file() and not (tmp_path / "results.json").exists()
    assert (tmp_path / "repo/results.json").is_file()  # there it is no file of a run
    assert paths.notes == ["results.json, which its code writes, is called their_results.json"]
    with open(tmp_path / "results.json", "w"):
        pass
    assert (tmp_path / "results.json").is_file()  # ours


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:FutureWarning")
def test_weights_in_a_fixed_place_are_those_of_the_run(tmp_path, installed):
    torch.save({"a": torch.ones(2)}, tmp_path / "given.pt")
    paths = Paths(tmp_path, "ViT-B/16", str(tmp_path / "given.pt"))
    paths.install()
    assert torch.load("./clip_of_nobody/ViT-B-16.pt", weights_only=True)["a"].sum() == 2
    assert paths.notes == ["./clip_of_nobody/ViT-B-16.pt: the run's weights"]
    with pytest.raises(FileNotFoundError):
        torch.load("./clip_of_nobody/ViT-L-14.pt", weights_only=True)
    with pytest.raises(ValueError) as caught:
        torch.jit.load("./clip_of_nobody/ViT-L-14.pt")
    said = one_line(caught.value, tmp_path)
    assert said == "looks for ./clip_of_nobody/ViT-L-14.pt, which is not there"


def test_a_model_of_the_hub_that_cannot_be_had(tmp_path):
    error = OSError("We couldn't connect to 'https://huggingface.co' to load the files")
    assert "set HF_HOME to that cache" in one_line(error, tmp_path)


def test_keys_of_arguments_without_a_default_are_named(tmp_path, monkeypatch):
    module = types.ModuleType("theirs")
    kind = type("Mine", (), {})
    monkeypatch.setattr("inspect.getmodule", lambda _: module)
    monkeypatch.setattr("inspect.getsource", lambda _: "open(cfg.VOCAB); cfg['SIDE']; cfg.SEEDS")
    cfg = get_cfg_default()
    cfg.VOCAB, cfg.SIDE, cfg.SEEDS, cfg.UNREAD = None, "left", 3, ""
    assert (
        empty_keys(kind, cfg) == "its script sets VOCAB from arguments; give a value: VOCAB VALUE"
    )
    cfg.VOCAB = "words"
    assert empty_keys(kind, cfg) == ""
