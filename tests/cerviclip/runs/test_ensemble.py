"""Ensembles: one run is that run, mean and stacking are their formulas, misfits are said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cerviclip.evaluation.measures import Settings
from cerviclip.runs.ensemble import MEAN, STACKED, Ensemble, ensembles
from cerviclip.runs.measured import measure_predictions
from cerviclip.runs.predictions import Predictions, read_predictions, write_predictions
from cerviclip.runs.results_json import KEYS, read_results, write_results
from cerviclip.runs.run.testing.scoring import score_predictions
from cerviclip.runs.stacking import log_rows, stack
from cerviclip.tools.ensemble import main
from dassl.errors import UserError

NAMES = ("a", "b", "c")


def predictions(center: str, seed: int, skill: float, images: int = 30) -> Predictions:
    """Each patient has two images; a model is right the oftener, the greater its skill."""
    labels = np.arange(images) % 3
    noise = np.random.default_rng(seed).normal(size=(images, 3))
    power = np.exp(noise + skill * np.eye(3)[labels])
    paths = [f"{center}/{i}.png" for i in range(images)]
    patients = [f"{center}{i // 2}" for i in range(images)]
    probs = power / power.sum(axis=1, keepdims=True)
    return Predictions(center, paths, patients, labels, probs, NAMES)


@pytest.fixture
def quick(monkeypatch):
    """Without intervals and blocks, which take seconds: what counts are the probabilities."""

    def accuracy_alone(parts, *_):
        right = {p.center: 100 * (p.predicted == p.labels).mean() for p in parts}
        number = {center: {"value": float(value)} for center, value in right.items()}
        shown = {"n_images": 0, "confusion_matrix": None}
        return {center: shown | {"accuracy": of} for center, of in number.items()}

    monkeypatch.setattr("cerviclip.runs.run.testing.scoring.score_predictions", accuracy_alone)
    monkeypatch.setattr("cerviclip.runs.ensemble.measure_predictions", lambda *_: {})


@pytest.fixture
def make_run(tmp_path):
    """``make_run(trainer, seed, skill)``: a finished run's folder and its results."""

    def make(
        trainer: str, number: int, skill: float = 1.0, parts=None, val=None, measured=False, **extra
    ) -> dict:
        parts = parts or [
            predictions("test", number, skill),
            predictions("Far", number + 50, skill),
        ]
        val = val or predictions("val", number + 90, skill)
        folder = tmp_path / "runs" / f"{trainer}_{extra.get('seed', 1)}"
        folder.mkdir(parents=True)
        centers, blocks = {}, {}
        if measured:
            centers = score_predictions(parts, NAMES, ["c"], "few_patients")
            blocks = measure_predictions(val, parts, ["c"], centers, Settings())
        results = dict.fromkeys(KEYS) | {
            "schema_version": 2, "status": "done", "dataset": "Herlev", "trainer": trainer,
            "backbone": "B", "variant": "default", "shots": 4, "fold": "", "seed": 1,
            "split_hash": "s", "draw_hash": "d", "left_out_center": "", "base_to_new": {},
            "subgroups": {},
            "search": {}, "transductive": False, "ensemble": {}, "config_hash": trainer,
            "positive_classes": ["c"], "test_read_early": False, "runtime": {},
            "centers": centers, **blocks,
        } | extra  # fmt: skip
        write_predictions(folder, parts, NAMES)
        write_predictions(folder, [val], NAMES, "val_predictions.csv")
        write_results(folder, results)
        return read_results(folder) | {"folder": str(folder)}

    return make


def test_one_run_is_that_run(make_run, tmp_path):
    one = [predictions("test", 1, 1.0, 18)]
    run = make_run("GDA", 1, parts=one, val=predictions("val", 2, 1.0, 18), measured=True)
    folder, results = Ensemble([run], MEAN, "mean").write(tmp_path / "out")
    for name in ("predictions.csv", "val_predictions.csv"):
        assert (folder / name).read_text() == Path(run["folder"], name).read_text()
    for key in ("centers", "operating_points", "calibration", "patient_level"):
        assert results[key] == run[key], key
    assert results["trainer"] == "Ensemble" and tuple(results) == KEYS


def test_the_mean_is_that_of_the_probabilities_in_any_order_of_the_files(quick, make_run, tmp_path):
    one, two = make_run("GDA", 1), make_run("CoOp", 2)
    first, turned = read_predictions(one["folder"]), read_predictions(two["folder"])
    mixed = [
        Predictions(
            p.center, p.paths[::-1], p.patient_ids[::-1], p.labels[::-1], p.probs[::-1], NAMES
        )
        for p in turned
    ]
    write_predictions(two["folder"], mixed, NAMES)
    folder, results = Ensemble([one, two], MEAN, "m").write(tmp_path / "out")
    for ours, a, b in zip(read_predictions(folder), first, turned, strict=True):
        np.testing.assert_allclose(ours.probs, (a.probs + b.probs) / 2)
    assert [m["trainer"] for m in results["ensemble"]["members"]] == ["GDA", "CoOp"]
    assert json.loads((folder / "results.json").read_text())["search"] == {}


def test_stacking_is_logistic_regression_on_log_probabilities():
    from sklearn.linear_model import LogisticRegression

    parts = [predictions("val", n, skill) for n, skill in ((1, 0.5), (2, 2.0))]
    probs, labels = np.stack([p.probs for p in parts]), parts[0].labels
    fitted = stack(probs, labels, parts[0].patient_ids)
    rows = np.concatenate([np.log(p.probs) for p in parts], axis=1)
    np.testing.assert_allclose(log_rows(probs), rows)
    model = LogisticRegression(C=fitted.c, max_iter=20_000, tol=1e-9).fit(rows, labels)
    np.testing.assert_allclose(fitted.apply(probs), model.predict_proba(rows), atol=1e-4)


def test_no_patient_helps_to_predict_its_own_val_images(monkeypatch):
    from cerviclip.runs import stacking

    part, seen = predictions("val", 1, 1.0), []
    plain = stacking.fit_logistic

    def watched(rows, labels, *rest):
        seen.append(rows)
        return plain(rows, labels, *rest)

    monkeypatch.setattr(stacking, "fit_logistic", watched)
    stack(part.probs[None], part.labels, part.patient_ids)
    rows = log_rows(part.probs[None])
    for fit in seen[:-1]:  # the last one is of all images
        used = {
            p for p, row in zip(part.patient_ids, rows, strict=True) if (fit == row).all(1).any()
        }
        left = [p for p in part.patient_ids if p not in used]
        assert left and len(fit) == len(rows) - len(left)


def test_stacking_trusts_the_better_run_and_says_what_it_cost(quick, make_run, tmp_path):
    search = {"tries": 7, "labels": 30, "choices": {"settings": {"tries": 7, "labels": 30}}}
    runs = [make_run("Good", 1, 3.0, search=search), make_run("Noise", 2, 0.0)]
    _, results = Ensemble(runs, STACKED, "stacked").write(tmp_path / "out")
    weight = np.abs(results["ensemble"]["weight"])
    assert weight[:, :3].sum() > 3 * weight[:, 3:].sum()
    assert results["search"]["tries"] == 13 and results["search"]["labels"] == 30
    mean = Ensemble(runs, MEAN, "mean").write(tmp_path / "out")[1]
    accuracy = [r["centers"]["test"]["accuracy"]["value"] for r in (results, mean)]
    assert accuracy[0] > accuracy[1]


def test_val_images_that_lack_a_class_are_refused_and_not_fitted_without_it(make_run, tmp_path):
    whole = predictions("val", 1, 1.0)
    here = [i for i, label in enumerate(whole.labels) if label != 2]
    ids = [[of[i] for i in here] for of in (whole.paths, whole.patient_ids)]
    val = Predictions("val", *ids, whole.labels[here], whole.probs[here], NAMES)
    runs = [make_run("GDA", 1, val=val), make_run("CoOp", 2, val=val)]
    with pytest.raises(UserError, match="none of them is of c: it would never name it; leave --st"):
        Ensemble(runs, STACKED, "s").combine()
    Ensemble(runs, MEAN, "m").combine()


def test_test_labels_move_nothing_in_the_stacking(make_run, tmp_path):
    runs = [make_run("GDA", 1), make_run("CoOp", 2)]
    before = Ensemble(runs, STACKED, "s").combine()
    for run in runs:
        parts = read_predictions(run["folder"])
        for part in parts:
            part.labels = (part.labels + 1) % 3
        write_predictions(run["folder"], parts, NAMES)
    after = Ensemble(runs, STACKED, "s").combine()
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a.probs, b.probs)


def test_runs_are_joined_by_shots_and_seed_and_the_command_finds_them(
    quick, make_run, tmp_path, capsys
):
    for seed in (1, 2):
        make_run("GDA", seed, seed=seed), make_run("CoOp", seed + 10, seed=seed)
    make_run("ZeroShotCLIP", 5, shots=0, seed=0)
    words = [str(tmp_path / "runs"), "--output-dir", str(tmp_path / "out")]
    assert main(words) == 0
    assert capsys.readouterr().out.count("3 runs, accuracy") == 2
    assert main([*words, "--join-seeds", "--name", "all"]) == 0
    assert "5 runs" in capsys.readouterr().out
    assert main([*words, "--name", "mean"]) == 0  # finished before


def test_a_missing_run_and_other_images_are_errors(make_run, tmp_path):
    runs = [make_run("GDA", 1), make_run("CoOp", 2), make_run("GDA", 3, seed=2)]
    with pytest.raises(UserError, match="seed 2: no run of CoOp"):
        ensembles(runs, MEAN, "mean")
    few = make_run("Few", 4, parts=[predictions("test", 4, 1.0, 12)])
    with pytest.raises(UserError, match="predictions of test, and"):
        Ensemble([runs[0], few], MEAN, "m").combine()
    other = make_run("Other", 4, parts=[predictions(c, 4, 1.0, 12) for c in ("test", "Far")])
    with pytest.raises(UserError, match="not scored on the same images"):
        Ensemble([runs[0], other], MEAN, "m").combine()
    split = make_run("Split", 6, split_hash="t")
    with pytest.raises(UserError, match="differ in split_hash"):
        Ensemble([runs[0], split], MEAN, "m")
    with pytest.raises(UserError, match="failed, not done"):
        Ensemble([runs[0] | {"status": "failed"}], MEAN, "m")


def test_another_ensemble_of_that_name_is_not_replaced_unasked(quick, make_run, tmp_path):
    one, two = make_run("GDA", 1), make_run("CoOp", 2)
    Ensemble([one], MEAN, "m").write(tmp_path)
    with pytest.raises(UserError, match="holds another ensemble"):
        Ensemble([one, two], MEAN, "m").write(tmp_path)
    assert (
        len(Ensemble([one, two], MEAN, "m").write(tmp_path, fresh=True)[1]["ensemble"]["members"])
        == 2
    )


def test_an_ensemble_has_the_title_of_its_members(quick, make_run, tmp_path):
    def titled(name, number, title):
        return make_run(name, number, runtime={"title": title}, seed=number)

    runs = [titled("GDA", 1, "Hospital A"), titled("CoOp", 2, "Hospital A")]
    folder, results = Ensemble(runs, MEAN, "mean").write(tmp_path / "out")
    assert results["runtime"]["title"] == "Hospital A"
    for run in runs:
        run["runtime"] = {"title": "Hospital B"}
    assert Ensemble(runs, MEAN, "mean").write(tmp_path / "out")[1] == read_results(folder)
    assert read_results(folder)["runtime"]["title"] == "Hospital B"
    runs[0]["runtime"] = {}
    other = Ensemble(runs, MEAN, "other").write(tmp_path / "out")[1]
    assert "title" not in other["runtime"]


@pytest.mark.parametrize("join_seeds", [False, True])
def test_a_run_alone_is_no_ensemble(make_run, join_seeds):
    one = make_run("A", 1)
    with pytest.raises(UserError, match="is the only run, and an ensemble joins two or more"):
        ensembles([one], MEAN, "mean", join_seeds)
