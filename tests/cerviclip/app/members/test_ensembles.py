"""What ``cerviclip ensemble`` wrote answers as its own predictions.csv does, wherever it lies."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from cerviclip import Predictor
from cerviclip.app.export_command import main as export
from cerviclip.app.web.command import build_parser, settings_of
from cerviclip.app.web.models import Model, title_of
from cerviclip.app.web.settings import WebSettings
from cerviclip.cli import main
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.run_key import RunKey
from dassl.errors import UserError


@pytest.fixture(scope="module")
def root(make_run, cells, tmp_path_factory):
    """Two runs at their usual places below a folder."""
    root = tmp_path_factory.mktemp("root") / "output"
    for name in ("LinearProbe", "TipAdapterF"):
        opts = ("DATASET.POSITIVE", "('red','blue')")
        made = make_run(name, cells, root.parent / name, *opts)
        place = RunKey.of_results(read_results(made)).folder(root)
        place.parent.mkdir(parents=True)
        made.rename(place)
    return root


@pytest.fixture(scope="module", params=["mean", pytest.param("stacked", marks=pytest.mark.slow)])
def ensemble(request, root):
    words = ["ensemble", str(root / "FolderDataset"), "--output-dir", str(root)]
    assert main([*words, *(["--stack"] if request.param == "stacked" else [])]) == 0
    return next(
        (root / "FolderDataset" / "Ensemble").rglob(f"{request.param}/**/results.json")
    ).parent


def test_the_numbers_are_those_of_its_predictions(ensemble, cells, tested_rows):
    rows = tested_rows(ensemble)
    predictor = Predictor.from_run(ensemble, device="cpu")
    answers = predictor.predict([cells.parent / path for path in rows])
    said = [answer.probabilities for answer in answers]
    np.testing.assert_allclose(said, list(rows.values()), rtol=0, atol=1e-6)
    assert len(predictor.members) == 2 and answers[0].operating_points
    assert answers[0].neighbours and answers[0].calibrated
    if predictor.joining.weight:
        mean = Predictor.from_runs([one.folder for one in predictor.members], device="cpu")
        other = [a.probabilities for a in mean.predict([cells.parent / path for path in rows])]
        assert np.abs(np.subtract(said, other)).max() > 1e-3
        assert mean.model_id != predictor.model_id


def test_it_works_in_the_command_the_page_and_the_server(ensemble, cells, tmp_path, capsys):
    path = sorted(cells.rglob("*.png"))[0]
    predictor = Predictor.from_run(ensemble, device="cpu")
    answer = predictor.predict(path)
    assert main(["predict", str(ensemble), str(path), "--device", "cpu"]) == 0
    assert f"{answer.predicted} {100 * answer.probability:.1f} %" in capsys.readouterr().out
    settings = settings_of(build_parser("web").parse_args([str(ensemble)]))
    assert settings.runs == (str(ensemble),) and "Ensemble" in title_of(str(ensemble))
    model = Model.load(str(ensemble), WebSettings(device="cpu"))
    (said,) = model.answers([("a.png", path.read_bytes())])
    assert said.probabilities == pytest.approx(answer.probabilities, abs=1e-6)
    from starlette.testclient import TestClient

    from cerviclip.app.server.application import create_app
    from cerviclip.app.server.settings import Settings

    app = create_app({"e": predictor}, Settings(tmp_path / "a.jsonl", tmp_path / "j.jsonl"))
    with TestClient(app) as client:
        sent = [("files", ("a.png", path.read_bytes()))]
        (one,) = client.post("/v1/predict", files=sent).json()["answers"]
        assert client.get("/v1/models").json()["models"][0]["runs"] == 2
    assert one["probabilities"] == pytest.approx(answer.by_class, abs=1e-6)


def test_members_are_found_beside_it_after_a_move(ensemble, root, tmp_path):
    shutil.copytree(root, tmp_path / "moved")
    moved = tmp_path / "moved" / ensemble.relative_to(root)
    text = (moved / "results.json").read_text().replace(str(root), "/gone")
    (moved / "results.json").write_text(text)
    there = Predictor.from_run(moved, device="cpu")
    assert all(tmp_path in one.folder.parents for one in there.members)
    assert there.model_id == Predictor.from_run(ensemble, device="cpu").model_id
    shutil.rmtree(there.members[1].folder)
    with pytest.raises(UserError, match="needs its member /gone.*not there") as error:
        Predictor.from_run(moved, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_an_export_of_it(ensemble, cells, tmp_path):
    out = tmp_path / "out"
    assert export([str(ensemble), str(out)]) == 0
    paths = sorted(cells.rglob("*.png"))[::7]
    one, two = Predictor.from_run(ensemble, device="cpu"), Predictor.from_run(out)
    ours, theirs = one.predict(paths), two.predict(paths)
    for a, b in zip(ours, theirs, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-6)
        assert a.conformal_sets == b.conformal_sets
        assert a.ood_score == pytest.approx(b.ood_score, abs=1e-5)
    assert one.model_id == two.model_id
    assert settings_of(build_parser("web").parse_args([str(out)])).runs == (str(out),)
    with pytest.raises(UserError, match="is an export already"):
        export([str(out), str(tmp_path / "again")])
