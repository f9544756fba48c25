"""Flower between real processes, over TLS on loopback; a strategy that is the same each time."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cerviclip.federated.command import main
from cerviclip.federated.plan import read_plan
from dassl.errors import UserError, cli_main

flwr = pytest.importorskip("flwr", reason="needs the extra 'federated' (Flower)")


@pytest.fixture
def strategy():
    from cerviclip.federated.flower import Ledger, import_flower, make_strategy

    ledger = Ledger()
    return make_strategy(import_flower(), ["a", "b"], 3, ledger), ledger


def fit_result(center, value, images):
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters

    arrays = ndarrays_to_parameters([np.full(3, value, np.float32)])
    metrics = {"center": center, "loss": 0.5}
    return object(), FitRes(Status(Code.OK, ""), arrays, images, metrics)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_weights_are_averaged_by_training_images_in_the_order_of_names(strategy, order):
    from flwr.common import parameters_to_ndarrays

    averaging, ledger = strategy
    results = {"a": fit_result("a", 1.0, 10), "b": fit_result("b", 4.0, 20)}
    parameters, _ = averaging.aggregate_fit(1, [results[name] for name in order], [])
    np.testing.assert_array_equal(parameters_to_ndarrays(parameters)[0], np.full(3, 3.0))
    assert ledger.rounds == [
        {
            "round": 1,
            "participants": 2,
            "images": {"a": 10, "b": 20},
            "loss": {"a": 0.5, "b": 0.5},
            "bytes_up": 24,
            "bytes_down": 24,
        }
    ]


def test_a_centre_that_is_lost_ends_the_federation(strategy):
    with pytest.raises(UserError, match="1 of 2 centres did not answer"):
        strategy[0].aggregate_fit(2, [fit_result("a", 1.0, 10)], [RuntimeError()])


def test_weights_that_are_not_finite_are_averaged_with_none(strategy):
    results = [fit_result("a", 1.0, 10), fit_result("b", float("nan"), 10)]
    with pytest.raises(UserError, match=r"centre b in round 2 are not finite"):
        strategy[0].aggregate_fit(2, results, [])
    assert strategy[1].rounds == []


def test_centres_of_other_classes_are_refused(strategy):
    proxies = {
        str(n): SimpleNamespace(
            get_properties=lambda *_, n=n, **__: SimpleNamespace(
                properties={"center": "ab"[n], "classes": f"x{n}"}
            )
        )
        for n in range(2)
    }
    manager = SimpleNamespace(wait_for=lambda *_: True, all=lambda: proxies)
    with pytest.raises(UserError, match="centres a and b have different classes"):
        strategy[0].initialize_parameters(manager)


@pytest.mark.slow
def test_three_processes_train_together_over_tls(write_plan, tmp_path, capsys):
    path = write_plan()
    out = tmp_path / "out"
    assert cli_main(main, [str(path), "--output-dir", str(out)]) == 0
    record = json.loads((out / "federation.json").read_text())
    assert record["encrypted"] and len(record["rounds"]) == 2
    assert {row["participants"] for row in record["rounds"]} == {3}
    runs = [
        json.loads((out / "federated" / n / "results.json").read_text())
        for n in ("east", "north", "west")
    ]
    sent = [run["runtime"]["trainer"]["federated"] for run in runs]
    assert record["bytes_up"] == sum(s["bytes_up"] for s in sent) * 2 // 3  # not the first weights
    from cerviclip.federated.weights import read_weights
    from cerviclip.runs.run.load import load_run

    final = [read_weights(load_run(out / "federated" / n).trainer) for n in ("east", "north")]
    assert all(np.array_equal(a, b) for a, b in zip(*final, strict=True)), "one model for all"
    text = (out / "federated.md").read_text()
    assert "| local |" in text and "| federated |" in text and "[" in text
    assert "Note: few patients" in text and "No image of one centre was found at another" in text
    assert len(record["leaks"]) == 3 and not list(out.rglob("*.key"))
    from cerviclip.runs.audit.run import audit
    from cerviclip.runs.report.groups import group_runs, load_runs

    assert [f for f in audit(out, full=0).findings if f.severity == "error"] == []
    assert len(group_runs(load_runs(out))) == 6, "a table tells them all apart"
    from cerviclip.report.command import write_report

    draft = write_report(out, tmp_path / "draft.md", "md")[0].read_text()
    assert "one model across 3 centres" in draft and "for 2 epochs (4 in all)" in draft
    assert "| federated |" in draft and "this is a simulation of a federation" in draft
    capsys.readouterr()
    assert cli_main(main, [str(path), "--output-dir", str(out)]) == 0
    assert "federated: 3 centres" not in capsys.readouterr().out, "nothing is trained again"


@pytest.mark.slow
def test_a_centre_that_fails_ends_all_of_them(write_plan, tmp_path):
    path = write_plan("TipAdapterF")
    plan = read_plan(path)
    from cerviclip.federated.processes import federate_here

    with pytest.raises(UserError, match=r"failed: TipAdapterF keeps the features"):
        federate_here(plan, tmp_path / "out")
