"""What a base-to-new run says of its new classes and their mean with the base classes, and a method
that sees all test images at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audit_fixtures import (
    CLASSES,
    edit_json,
    edit_text,
    results_of,
    run_folder,
    write_honest,
    write_tables,
)

from cerviclip.evaluation.report import score
from cerviclip.runs.audit.run import audit
from cerviclip.runs.predictions import read_predictions, write_predictions
from cerviclip.runs.report.groups import METRICS, harmonic_mean
from cerviclip.runs.results_json import write_results
from cerviclip.severity import NOTE


@pytest.fixture(params=[[], ["b"], ["a", "b"]], ids=lambda group: "-".join(group) or "none")
def run(tmp_path, request):
    """A run whose new classes have this positive group, which no file notes."""
    run = run_folder(write_honest(tmp_path, seeds=(1, 2, 3)), 2)
    p = replace(read_predictions(run)[0], center="new", classnames=("a", "b"))
    write_predictions(run, [p], p.classnames, "predictions_new.csv")
    results = results_of(run)
    of = (p.labels.tolist(), p.probs, p.known_patients, p.classnames)
    results["centers"]["new"] = score(*of, request.param)
    block = {"base_classes": list(CLASSES), "new_classes": ["a", "b"]}
    means = {m: harmonic_mean(results | {"base_to_new": block}, m) for m in METRICS}
    write_results(run, results | {"base_to_new": block | {"harmonic_mean": means}})
    write_tables(run.parents[5])
    return run


def told(run):
    own = run.relative_to(run.parents[5]).as_posix()
    found = audit(run.parents[5], full=None).findings
    return [f.text for f in found if f.severity != NOTE and f.where == own]


def test_an_honest_run_passes(run):
    assert told(run) == []


@pytest.mark.parametrize("key", ["value", "low"])
def test_a_better_number_of_the_positive_group_is_found(run, key):
    def change(results):
        results["centers"]["new"]["binary"]["auc"].update({key: 0.123})

    edit_json(run / "results.json", change)
    assert any(f"new.binary.auc.{key} is 0.123" in text for text in told(run))


def test_a_better_mean_and_other_classes_are_found(run):
    def change(results):
        results["base_to_new"]["harmonic_mean"]["accuracy"] = 99.9

    edit_json(run / "results.json", change)
    [text] = told(run)
    assert text.startswith("results.json: base_to_new.harmonic_mean.accuracy is 99.9")
    edit_json(run / "results.json", lambda r: r["base_to_new"].update(base_classes=["x"]))
    assert "base_to_new" in told(run)[0]


def test_a_method_that_sees_all_test_images_says_so(tmp_path):
    """The tables keep it apart from the others."""
    output = write_honest(tmp_path, seeds=(1, 2, 3))
    for seed in (1, 2, 3):
        folder = run_folder(output, seed)
        edit_text(folder / "config.yaml", "NAME: Method", "NAME: TransCLIP")
        edit_json(folder / "results.json", lambda r: r.update(trainer="TransCLIP"))
    texts = [f.text for f in audit(output, full=0).findings if f.kind == "identity"]
    assert sum(text.startswith("transductive is False in results.json") for text in texts) == 3
