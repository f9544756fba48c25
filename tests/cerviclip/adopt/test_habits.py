"""What repositories do that must not stop them, each in this process."""

from __future__ import annotations

import types

import pytest
import torch

from cerviclip.adopt.texts import Texts
from cerviclip.adopted.failures import adopted_error, one_line
from cerviclip.adopted.imports import run_script
from cerviclip.adopted.predictions import as_probabilities
from cerviclip.adopted.surroundings import OnCpu, give_data_sets_all_classnames
from cerviclip.adopted.trainer import adapted, hint_of
from cerviclip.adopted.weights import give, readable_by_clip
from cerviclip.vlm.files.formats import read_state_dict
from dassl.data.datasets import DatasetBase, Datum
from dassl.errors import UserError

TEXTS = {"HSIL": ["dense nuclei", "dark cells"], "NILM": ["pale cells"]}


@pytest.fixture
def texts():
    return Texts("Smears", ["a smear of {}."], TEXTS)


def module_of(tmp_path, **tables):
    module = types.ModuleType("theirs")
    module.__file__ = str(tmp_path / "theirs.py")
    vars(module).update(tables)
    return module


def test_every_kind_of_table_gets_an_entry(texts, tmp_path):
    tables = {
        "TEMPLATES": {"EuroSAT": "a photo of {}."},
        "SEVERAL": {"EuroSAT": ["a {}.", "one {}."]},
        "BY_CLASS": {"cat": ["it purrs loudly"] * 3, "dog": ["it barks loudly"] * 3},
        "BY_DATASET": {"Pets": {"cat": "it purrs loudly"}},
        "_MODELS": {"RN50": "https://host/RN50.pt"},
        "PLAIN": {"lr": 0.1},
        "FILES": {"EuroSAT": "eurosat", "OxfordPets": "oxford_pets"},
        "MODES": {"EuroSAT": "fast", "loss": "mean"},
    }
    module = module_of(tmp_path, **tables)
    texts.fill([module], tmp_path)
    assert module.TEMPLATES["Smears"] == module.TEMPLATES["smears"] == "a smear of {}."
    assert module.SEVERAL["Smears"] == ["a smear of {}."] * 2
    assert module.BY_CLASS["HSIL"] == ["dense nuclei", "dark cells", "dense nuclei"]
    assert module.BY_DATASET["Smears"]["NILM"] == "pale cells"
    assert module._MODELS == {"RN50": "https://host/RN50.pt"} and module.PLAIN == {"lr": 0.1}
    assert module.FILES["Smears"] == "smears" and "Smears" not in module.MODES
    assert module.TEMPLATES["EuroSAT"] == "a photo of {}." and len(texts.notes) == 5
    texts.fill([module], tmp_path)
    assert module.BY_CLASS["HSIL"] == ["dense nuclei", "dark cells", "dense nuclei"]


def test_a_description_file_is_made_in_the_form_of_its_neighbours(texts, tmp_path):
    import json

    assert texts.file_for(tmp_path / "smears_gpt.json") is None
    (tmp_path / "Pets.json").write_text('{"cat": "it purrs"}')
    (tmp_path / "Huge.json").write_text("version https://git-lfs.github.com/spec/v1")
    assert json.loads(texts.file_for(tmp_path / "smears_gpt.json"))["HSIL"] == "dense nuclei"
    assert texts.file_for(tmp_path / "Flowers.json") is None
    of_two = Texts("Smears", ["{}"], {"light_dysplastic": ["pale"]})
    assert "light_dysplastic" in of_two.file_for(tmp_path / "smears.json")
    (tmp_path / "Planes.json").write_text('{"light plane": "it flies"}')
    assert json.loads(of_two.file_for(tmp_path / "smears.json")) == {"light dysplastic": "pale"}
    (tmp_path / "Maps.json").write_text('{"sea": [{"Entities": ["water"]}]}')
    (tmp_path / "Pets.json").unlink(), (tmp_path / "Planes.json").unlink()
    with pytest.raises(UserError, match="hold more than texts"):
        texts.file_for(tmp_path / "smears.json")
    assert texts.file_for(tmp_path / "smears.pt") is None


def test_cuda_and_half_precision_without_a_gpu():
    with OnCpu():
        model = torch.nn.Linear(2, 2).half().cuda()
        x = torch.zeros(1, 2, device="cuda", dtype=torch.float16).to("cuda:0").half()
        y = model(x.cuda().type(torch.float16).to(torch.device("cuda")))
    assert model.weight.dtype == x.dtype == y.dtype == torch.float32
    assert {t.device.type for t in (model.weight, x, y)} == {"cpu"}


def test_scores_of_many_shapes():
    logits = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 9.0]])
    wanted = logits.double().softmax(1)
    for output in (
        logits,
        (torch.zeros(2, 8), logits),
        {"feat": torch.ones(2, 3), "logits": logits},
    ):
        assert torch.equal(as_probabilities(output, 3, 2), wanted)
    assert torch.allclose(as_probabilities(wanted.float(), 3, 2), wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        as_probabilities(torch.zeros(2, 5), 3, 2)


def test_weights_go_to_their_clip_in_a_format_it_reads(weights, tmp_path):
    path = readable_by_clip(str(weights))
    state = torch.load(path, weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in read_state_dict(weights).items())
    clip = module_of(tmp_path, _MODELS={"RN50": "https://x"}, _download=lambda url: 1 / 0)
    assert give([clip], "PhantomCLIP", path)
    assert clip._download(clip._MODELS["PhantomCLIP"], "cache") == path

    def refuse(url):
        raise OSError("no network")

    clip._download = refuse
    give([clip], "RN50", "")
    with pytest.raises(UserError, match="give them by --weights"):
        clip._download("https://x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import package_of_nobody", "needs the package package_of_nobody"),
        ("import dassl.of_a_fork", "imports dassl.of_a_fork, which our dassl does not have"),
        ("from dassl.utils import of_a_fork", "imports a name that our dassl does not have"),
        ("open('none/x.json')", "looks for none/x.json, which is not there"),
        ("{}['Smears']", "a table has no entry 'Smears'"),
        ("from yacs.config import CfgNode as C; C().PROMPT_DEPTH", "the config key PROMPT_DEPTH"),
    ],
)
def test_a_failure_is_one_line_with_file_and_line(tmp_path, text, words):
    path = tmp_path / "broken.py"
    path.write_text(f"A = 1\n{text}\nB = 2\n")
    space, failed = run_script(path)
    assert space["B"] == 2
    (line,) = failed
    assert line.startswith("broken.py, line 2: ") and words in line and "\n" not in line


def test_errors_keep_whose_they_are(tmp_path):
    assert isinstance(adopted_error(UserError("give it"), tmp_path), UserError)
    error = adopted_error(ValueError("a\n  b"), tmp_path)
    assert not isinstance(error, UserError) and str(error) == "ValueError: a b"
    assert one_line(AssertionError(), tmp_path) == "an assertion does not hold"


@pytest.mark.parametrize(
    ("error", "descriptions", "said"),
    [
        (FloatingPointError("Loss is NaN"), {}, "DATASET.DESCRIPTIONS"),
        (FloatingPointError("Loss is NaN"), {"one": TEXTS}, ""),
        (ValueError("of another kind"), {}, ""),
    ],
)
def test_a_loss_that_may_be_nan_for_want_of_descriptions(error, descriptions, said):
    dataset = types.SimpleNamespace(descriptions=descriptions)
    trainer = types.SimpleNamespace(dm=types.SimpleNamespace(dataset=dataset))
    hint = hint_of(error, Texts, trainer)
    assert said in hint and bool(hint) == bool(said)


def test_a_hint_hides_no_error_of_code_whose_source_is_not_to_be_had():
    kind = type("Generated", (), {"__module__": "of_no_file"})
    for error in (AssertionError(), RuntimeError("out of memory"), FloatingPointError("NaN")):
        assert isinstance(hint_of(error, kind, types.SimpleNamespace()), str)


def test_a_train_that_asks_for_its_epochs_is_told_them(tmp_path):
    class Theirs:
        start_epoch, max_epoch = 2, 7

        def train(self, start_epoch, max_epoch):
            return start_epoch, max_epoch

        def test(self):
            pass

    repository = types.SimpleNamespace(root=tmp_path)
    ours = adapted(Theirs, types.SimpleNamespace(repository=repository), our_transforms=False)
    assert ours().train() == (2, 7) and ours().train(0, 1) == (0, 1)


def test_a_data_set_has_the_names_of_all_its_classes(monkeypatch, tmp_path):
    monkeypatch.setattr(DatasetBase, "all_classnames", None, raising=False)
    monkeypatch.delattr(DatasetBase, "all_classnames")
    give_data_sets_all_classnames()
    (tmp_path / "x.png").touch()
    path = str(tmp_path / "x.png")
    train = [Datum(impath=path, label=n, classname=name) for n, name in enumerate(TEXTS)]
    dataset = DatasetBase(train_x=train, test=train)
    assert dataset.all_classnames == dataset.classnames == list(TEXTS)
    dataset.all_classnames = ["theirs"]
    assert dataset.all_classnames == ["theirs"]
    del DatasetBase.all_classnames
