"""Command line, page, API and predictions.csv say the same of the same files."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from cerviclip.app.answer import Prediction
from cerviclip.app.table.columns import Columns, as_text
from cerviclip.app.web.answers import UNCERTAINTY, answer_table, predict_bytes
from cerviclip.cli import main


@pytest.fixture(scope="module")
def tables(predictor, probe, cells, tested_rows, tmp_path_factory):
    """Rows of the test images: predictions.csv, the command's CSV, the page's, the API's."""
    from starlette.testclient import TestClient

    from cerviclip.app.server.application import create_app
    from cerviclip.app.server.settings import Limits, Settings

    home = tmp_path_factory.mktemp("tables")
    tested = tested_rows(probe)
    paths = [cells.parent / path for path in tested]
    files = [(path.name, path.read_bytes()) for path in paths]
    csv = home / "answers.csv"
    words = ["predict", str(probe), *map(str, paths), "--csv", str(csv), "--device", "cpu"]
    assert main(words) == 0
    answers, contents = predict_bytes(predictor, files), [content for _, content in files]
    page = answer_table(answers, predictor, predictor.model_id, contents=contents)
    settings = Settings(home / "audit.jsonl", home / "jobs.jsonl", limits=Limits(files=len(files)))
    with TestClient(create_app({"m": predictor}, settings)) as client:
        sent = [("files", file) for file in files]
        api = client.post("/v1/predict", files=sent).json()["answers"]
    return np.array(list(tested.values())), pandas.read_csv(csv), page, api


def test_all_say_the_same(predictor, tables):
    tested, told, page, api = tables
    columns = Columns.of(predictor)
    assert list(told) == list(columns.names) == [name for name in page if name != UNCERTAINTY]
    assert list(told)[-2:] == list(page)[-2:] == ["number", "sha256"]
    assert list(page["number"]) == list(told["number"]) == list(range(1, len(told) + 1))
    assert list(page["sha256"]) == list(told["sha256"])
    assert len(told) == len(page) == len(api) == len(tested) > 10
    near = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(told[list(columns.probabilities)], tested, **near)
    for name in columns.numbers:
        assert told[name].notna().all(), name
        np.testing.assert_allclose(page[name], told[name], err_msg=name, **near)
    words = [*columns.calls, "conformal_set", "nearest_classes", "prediction"]
    for name in words:
        assert list(page[name]) == list(told[name]), name
    assert list(page["out_of_distribution"] == "true") == list(told["out_of_distribution"])
    for row, said in zip(told.to_dict("records"), api, strict=True):
        _compare(columns, row, said)


def _compare(columns: Columns, row: dict, said: dict) -> None:
    def near(values):
        return pytest.approx(values, rel=0, abs=1e-6)

    assert [*said["probabilities"].values()] == near([row[n] for n in columns.probabilities])
    assert [*said["calibrated_probabilities"].values()] == near(
        [row[name] for name in columns.calibrated]
    )
    for name in ("positive_probability", "ood_score", "ood_threshold"):
        assert said[name] == near(row[name])
    assert said["calibrated_positive_probability"] == near(row["calibrated_positive_probability"])
    calls = [one["called_positive"] for one in said["operating_points"]]
    assert calls == [row[name] == "positive" for name in columns.calls]
    assert ";".join(said["conformal_set"]) == row["conformal_set"]
    assert said["out_of_distribution"] == row["out_of_distribution"]
    assert ";".join(one["label"] for one in said["neighbours"]) == row["nearest_classes"]
    assert said["predicted"] == row["prediction"]


def test_calls_follow_the_thresholds(predictor, tables):
    points = predictor.knowledge.home.thresholds
    assert len(points) >= 3
    for name, threshold in points.items():
        above = tables[1]["positive_probability"] >= threshold
        assert list(tables[1][f"called_{name}"] == "positive") == list(above)


def test_what_a_run_cannot_tell_is_an_empty_cell():
    columns = Columns(("a", "b"), ("youden",))
    for answer in (Prediction(("a", "b"), (0.25, 0.75)), Prediction(("a", "b"), error="cut")):
        cells = columns.cells(answer, "", "m", None, "")
        assert len(cells) == len(columns.names) == len(set(columns.names))
        row = dict(zip(columns.names, map(as_text, cells), strict=True))
        assert row["error"] == answer.error and row["prediction"] == answer.predicted
        assert not any(row[k] for k in ("called_youden", "conformal_set", "ood_score"))
        assert row["out_of_distribution"] == row["calibrated_p_a"] == ""
    assert as_text(0.1 + 0.2) == "0.30000000000000004"
