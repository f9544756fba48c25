"""Predictor: the run's own numbers for new pictures; what cannot be read stops nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cerviclip import Predictor
from cerviclip.app.answer import Prediction
from cerviclip.app.members.member import Member
from cerviclip.features.training import FILE as FEATURES
from cerviclip.features.training import TrainFeatures
from dassl.errors import UserError

TRAINERS = ("LinearProbe", "TipAdapterF", "SAVLT", "CoOp", "CLIPLoRA")
SCRIPT = """
import json, sys
from cerviclip import Predictor
runs, folder, out = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
answers = {}
for name, run in runs.items():
    predictor = Predictor.from_run(run)
    listed = sorted((a.path, a.probabilities) for a in predictor.predict(folder))
    one = predictor.predict(listed[0][0])
    answers[name] = {"folder": [p for _, p in listed], "one": one.probabilities}
assert not any(name.startswith("cerviclip.datasets.") for name in sys.modules), "data set imported"
open(out, "w").write(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def elsewhere(make_run, cells, tested_rows, tmp_path_factory):
    """What another process says of the test images of runs whose data are gone, and predictions."""
    root = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(cells, root / "data" / "cells")
    runs = {n: make_run(n, root / "data" / "cells", root / "runs" / n) for n in TRAINERS}
    rows = {name: tested_rows(folder) for name, folder in runs.items()}
    (root / "new").mkdir()
    paths = list(rows[TRAINERS[0]])
    for i, path in enumerate(paths):
        shutil.copy(root / "data" / path, root / "new" / f"{i:04d}_{Path(path).name}")
    shutil.rmtree(root / "data")
    words = [json.dumps({n: str(f) for n, f in runs.items()}), str(root / "new"), str(root / "out")]
    store = root / "store"
    env = {**os.environ, "CERVICLIP_CACHE": str(store)}
    subprocess.run([sys.executable, "-c", SCRIPT, *words], check=True, env=env, cwd=root / "new")
    assert not store.exists() or not list(store.rglob("*"))
    wanted = {name: [of[path] for path in paths] for name, of in rows.items()}
    return json.loads((root / "out").read_text()), wanted


@pytest.mark.parametrize("name", TRAINERS)
def test_the_numbers_are_those_of_predictions_csv(elsewhere, name):
    said, wanted = np.array(elsewhere[0][name]["folder"]), np.array(elsewhere[1][name])
    assert np.abs(said - wanted).max() == 0  # one batch of the same files: to the last digit
    one = np.array(elsewhere[0][name]["one"])
    np.testing.assert_allclose(one, wanted[0], rtol=0, atol=1e-6)
    assert np.ptp(wanted, axis=0).max() > 1e-4  # else any model would pass


def test_an_answer_says_class_group_and_file(predictor, cells):
    path = sorted((cells / "green").iterdir())[0]
    answer = predictor.predict(path)
    assert answer.classnames == ("blue", "green", "red") and answer.positive == ("blue", "red")
    assert answer.path == path.as_posix() and answer.error == ""
    assert sum(answer.probabilities) == pytest.approx(1)
    assert answer.predicted == max(answer.by_class, key=answer.by_class.get)
    assert answer.probability == max(answer.probabilities)
    of = answer.by_class
    assert answer.positive_probability == pytest.approx(of["blue"] + of["red"])
    with pytest.raises(AttributeError):
        answer.path = "other"


def test_file_image_and_array_are_one_picture(predictor, cells):
    path = sorted((cells / "green").iterdir())[0]
    pixels = np.asarray(Image.open(path).convert("RGB"))
    answers = predictor.predict([str(path), path, Image.open(path), pixels])
    assert [answer.path for answer in answers] == [path.as_posix()] * 2 + ["", ""]
    assert len({answer.probabilities for answer in answers}) == 1
    deep = predictor.predict([pixels.astype(np.uint16) * 257, (pixels / 255).astype(np.float32)])
    assert {a.probabilities for a in deep} == {answers[0].probabilities}
    assert isinstance(predictor.predict(pixels), Prediction)
    grey = predictor.predict([pixels[..., 0], Image.fromarray(pixels[..., 0])])
    assert grey[0].probabilities == grey[1].probabilities


@pytest.fixture
def mixed(cells, tmp_path):
    """A folder of ten good pictures, and of a cut, an empty, a thin and a false one."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    paths = sorted((cells / "red").iterdir())[:10]
    for path in paths:
        shutil.copy(path, folder)
    (folder / "M_cut.png").write_bytes(paths[0].read_bytes()[:200])
    (folder / "A_empty.png").touch()
    (folder / "Z_false.jpg").write_text("no image")
    Image.new("RGB", (200, 2)).save(folder / "N_thin.png")
    (folder / "notes.txt").write_text("not asked for")
    return folder


def test_broken_files_stop_nothing(predictor, mixed):
    answers = {Path(answer.path).name: answer for answer in predictor.predict(mixed)}
    assert len(answers) == 14
    broken = {name: answer for name, answer in answers.items() if answer.error}
    assert set(broken) == {"M_cut.png", "A_empty.png", "Z_false.jpg", "N_thin.png"}
    for answer in broken.values():
        assert answer.predicted == "" and answer.probabilities == () and answer.by_class == {}
        assert answer.positive_probability is answer.probability is None
        assert "\n" not in answer.error and "split" not in answer.error
    assert "200x2 px" in broken["N_thin.png"].error
    good = [mixed / name for name in answers if name not in broken]
    assert [a.probabilities for a in predictor.predict(good)] == [
        answers[path.name].probabilities for path in good
    ]
    (gone,) = predictor.predict([mixed / "gone.png"])
    assert gone.error == "there is no such file"


@pytest.mark.parametrize("name", ["gone.png", "gone/", "gone.dcm#3"])
def test_one_path_that_is_not_there_is_an_error(predictor, tmp_path, name):
    for ask in (predictor.predict, lambda path: list(predictor.predict_iter(path))):
        with pytest.raises(UserError, match=r"there is no file or folder .*gone"):
            ask(f"{tmp_path}/{name}")


@pytest.mark.parametrize("lost", [[1], [0, 1, 2, 3]])
def test_a_picture_whose_probabilities_are_nan_has_an_error(predictor, cells, monkeypatch, lost):
    paths = sorted((cells / "red").iterdir())[:4]
    wanted = [(p.path, p.probabilities, p.ood_score) for p in predictor.predict(paths)]
    answers = Member.answers

    def with_nan(self, batch, features):
        probs, seen = answers(self, batch, features)
        probs[lost, 0] = np.nan
        return probs, seen

    monkeypatch.setattr(Member, "answers", with_nan)
    said = predictor.predict(paths)
    for number, (answer, truth) in enumerate(zip(said, wanted, strict=True)):
        if number in lost:
            assert "no finite numbers" in answer.error and answer.probabilities == ()
        else:
            assert answer.probabilities == truth[1]
            assert answer.ood_score == pytest.approx(truth[2], abs=1e-6)
        assert answer.path == truth[0]


def test_pictures_are_read_as_answers_are_asked_for(predictor, cells, monkeypatch):
    from cerviclip.app import predictor as module

    monkeypatch.setattr(module.Member, "batch_size", 4)
    read = []
    paths = sorted(cells.rglob("*.png"))[:40]

    def source():
        for path in paths:
            read.append(path)
            yield path

    answers = predictor.predict_iter(source())
    next(answers)
    assert 4 <= len(read) < 30
    rest = [answer.path for answer in answers]
    assert rest == [path.as_posix() for path in paths[1:]]
    heard = []
    assert len(list(predictor.predict_iter(paths, heard.append))) == len(heard) == 40


@pytest.mark.parametrize(
    "array, word",
    [
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.full((4, 4), 200.0), "values from 200 to 200"),
        (np.full((4, 4), -0.5), "values from -0.5 to -0.5"),
        (np.full((4, 4), np.nan), "16 values that are NaN"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\).*channels come last"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\).*alpha"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"\(2, 8, 8, 3\).*list of its images"),
        (np.zeros((0, 8), np.uint8), r"\(0, 8\)"),
        (None, "NoneType is no picture"),
    ],
)
def test_what_is_not_taken_is_refused_by_name(predictor, array, word):
    with pytest.raises(UserError, match=word) as error:
        predictor.predict([array])
    assert "picture 1" in str(error.value) and "\n" not in str(error.value)


def test_no_picture_at_all(predictor, tmp_path):
    assert predictor.predict([]) == []
    with pytest.raises(UserError, match="no images in"):
        predictor.predict(tmp_path)
    with pytest.raises(UserError, match="int is no picture"):
        predictor.predict(5)


def test_an_ensemble_is_the_mean_of_its_runs(make_run, probe, cells, tmp_path):
    other = make_run(
        "TipAdapterF", cells, tmp_path / "tip", "DATASET.POSITIVE", "('red','blue')", seed="2"
    )
    paths = sorted(cells.rglob("*.png"))[::7]
    runs = [Predictor.from_run(folder) for folder in (probe, other)]
    single = [np.array([a.probabilities for a in p.predict(paths)]) for p in runs]
    both = Predictor.from_runs([probe, other])
    said = np.array([answer.probabilities for answer in both.predict(paths)])
    np.testing.assert_allclose(said, np.mean(single, axis=0), rtol=0, atol=1e-12)
    assert np.abs(single[0] - single[1]).max() > 1e-4
    assert len({both.model_id, *(p.model_id for p in runs)}) == 3
    assert Predictor.from_run(probe).model_id == runs[0].model_id


def _other_threshold(run: Path) -> None:
    values = json.loads((run / "results.json").read_text())
    values["operating_points"]["points"]["youden"]["threshold"] += 0.01
    (run / "results.json").write_text(json.dumps(values))


def _other_temperature(run: Path) -> None:
    values = json.loads((run / "results.json").read_text())
    values["calibration"]["temperature"]["value"] *= 2
    (run / "results.json").write_text(json.dumps(values))


def _other_range(run: Path) -> None:
    values = json.loads((run / "reading.json").read_text())
    (run / "reading.json").write_text(json.dumps(values | {"integers": [0, 4095]}))


def _other_features(run: Path) -> None:
    kept = TrainFeatures.load(run)
    replace(kept, rows=kept.rows[::-1]).save(run)


def _no_features(run: Path) -> None:
    (run / FEATURES).unlink()


def _nothing(run: Path) -> None:
    pass


@pytest.mark.parametrize(
    "change",
    [_nothing, _other_threshold, _other_temperature, _other_range, _other_features, _no_features],
)
def test_the_identity_differs_where_an_answer_may(probe, predictor, tmp_path, change):
    run = Path(shutil.copytree(probe, tmp_path / "run"))
    change(run)
    same = Predictor.from_run(run, device="cpu").model_id == predictor.model_id
    assert same == (change is _nothing)


@pytest.mark.parametrize(
    "opts, word",
    [
        (("DATASET.CLASSES", "('red','green','blue')", "DATASET.POSITIVE", "('red','blue')"), "cl"),
        (("DATASET.POSITIVE", "('red',)"), "positive classes"),
    ],
)
def test_an_ensemble_of_unlike_runs_is_refused(make_run, probe, cells, tmp_path, opts, word):
    other = make_run("ZeroShotCLIP", cells, tmp_path / "other", *opts, shots="0")
    with pytest.raises(UserError, match=f"differ in their {word}") as error:
        Predictor.from_runs([probe, other])
    assert str(other) in str(error.value) and str(probe) in str(error.value)


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="no run in"):
        Predictor.from_run(tmp_path)
    with pytest.raises(UserError, match="no run is given"):
        Predictor.from_runs([])


def test_the_page_runs_as_it_stands(repo_dir, probe, cells, capsys):
    page = (repo_dir / "docs" / "predict.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    image = sorted((cells / "red").iterdir())[0]
    exec(block, {"RUN": probe, "IMAGE": image, "FOLDER": cells / "red"})
    assert len(capsys.readouterr().out.splitlines()) == 1 + 20
