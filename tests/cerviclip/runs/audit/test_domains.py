"""Splits that join several data sets: honest ones pass, and the word of split.json excuses nothing
that config.yaml does not say."""

from __future__ import annotations

import shutil

import pytest
from audit_fixtures import edit_json, results_of
from data_fixtures import write_oct
from run_fixtures import Zoo

from cerviclip import plugins
from cerviclip.data.split.repeated import hash_of_rows
from cerviclip.runs.audit.run import audit
from cerviclip.runs.results_json import write_results
from cerviclip.runs.run.runner import run_one
from cerviclip.severity import NOTE

JOINED = {"SOURCE_DOMAINS": "('mixed', 'huaxi')", "TARGET_DOMAINS": "('xiangya',)"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of one study each: of joined centres, of a fold of them, and of one centre."""
    folder = tmp_path_factory.mktemp("domains")
    plugins.reset_plugins()
    zoo = Zoo(folder)
    write_oct(folder)
    several = ("--dataset", "CervixOCTDomains")
    runs = {
        "joined": (several, JOINED),
        "left_out": (several, {"FOLD": "2/3"}),
        "alone": (("--dataset", "MixedCenterOCT"), {}),
    }
    for name, (flags, own) in runs.items():
        options = {f"DATASET__{key}": value for key, value in own.items()}
        place = ("--output-dir", str(folder / "runs" / name))
        cfg = zoo.cfg("ZooLinear", "2", *flags, *place, **options, TEST__EXTERNAL="[]")
        run_one(cfg, echo=False)
    plugins.reset_plugins()
    return folder / "runs"


@pytest.fixture
def run(made, tmp_path, request):
    shutil.copytree(made / request.param, tmp_path / "run")
    return tmp_path / "run"


def found(run):
    findings = audit(run, full=0).findings
    return {f.kind: f.text for f in findings if f.severity != NOTE and f.kind != "missing_seed"}


def rehashed(split):
    split["rows_hash"] = hash_of_rows(split)


each = pytest.mark.parametrize("run", ["joined", "left_out", "alone"], indirect=True)
joined = pytest.mark.parametrize("run", ["joined"], indirect=True)


@each
def test_an_honest_run_passes(run):
    assert found(run) == {}


@pytest.mark.parametrize("run", ["alone"], indirect=True)
def test_one_data_set_that_calls_itself_several_is_checked_as_one(run):
    def change(split):
        split["sources"] = ["mixed"]
        split["train"].append({**split["test"][0], "domain": "mixed"})

    edit_json(run / "split.json", change)
    texts = found(run)
    assert "joins several data sets (sources), and MixedCenterOCT is one" in texts["identity"]
    assert {"split_edited", "image_leak", "patient_leak"} <= texts.keys()


@joined
def test_other_sources_than_those_of_the_configuration_are_found(run):
    edit_json(run / "split.json", lambda split: split.update(sources=["mixed"]))
    assert found(run) == {
        "identity": "sources are mixed in split.json and mixed, huaxi by config.yaml"
    }


@joined
def test_a_row_that_was_taken_out_is_found(run):
    edit_json(run / "split.json", lambda split: split["val"].pop())
    assert "rows_hash" in found(run)["split_edited"]


@joined
def test_a_test_image_of_a_domain_that_is_trained_on_is_found(run):
    def change(split):
        split["test"][0]["domain"] = "mixed"
        rehashed(split)

    edit_json(run / "split.json", change)
    assert "1 row of test" in found(run)["split_edited"]


@joined
def test_shots_are_counted_for_each_domain(run):
    def change(split):
        row = split["train"][0]
        split["train"] += [{**row, "path": f"{n}/{row['path']}"} for n in range(2)]
        rehashed(split)

    edit_json(run / "split.json", change)
    assert "4 images of class 0 and domain mixed in train" in found(run)["identity"]


@joined
def test_an_image_of_the_split_at_an_external_centre_is_found(run):
    path = run / "predictions.csv"
    head, *rows = path.read_text().splitlines()
    own = [row for row in rows if row.startswith("test,")]
    far = [row.replace("test,", "Far,", 1) for row in own]
    path.write_text("\n".join([head, *rows, *far, ""]))
    results = results_of(run)
    results["centers"]["Far"] = results["centers"]["test"]
    write_results(run, results)
    texts = found(run)
    assert "of centre Far in the split" in texts["image_leak"]
    assert "of centre Far in the split" in texts["patient_leak"]


@joined
def test_of_an_earlier_version_it_says_what_it_cannot_check(run):
    edit_json(run / "split.json", lambda split: split.pop("rows_hash"))
    assert found(run) == {}
    notes = [f.text for f in audit(run, full=0).findings if f.kind == "not_checked"]
    assert "draw_hash: the split joins several data sets" in notes


@joined
def test_of_a_data_set_that_is_not_here_it_says_so_and_counts_all_the_same(run):
    config = (run / "config.yaml").read_text().replace("CervixOCTDomains", "OfAPlugin")
    (run / "config.yaml").write_text(config)
    edit_json(run / "results.json", lambda r: r.update(dataset="OfAPlugin"))
    edit_json(run / "split.json", lambda split: split["train"][0].pop("domain"))
    texts = [f.text for f in audit(run, full=0).findings]
    assert any("data set OfAPlugin is not known here" in text for text in texts)
    assert any("of no domain that is used there (mixed, huaxi)" in text for text in texts)


def test_options_that_are_no_names_are_not_believed():
    from cerviclip.runs.audit.domains import sources_and_tested

    own = {"NAME": "CervixOCTDomains"}
    assert sources_and_tested(own) is None  # no lists of names at all
    lists = {"CENTERS": [], "SOURCE_DOMAINS": [], "TARGET_DOMAINS": []}
    assert sources_and_tested(own | lists) == (["mixed"], ["mixed"])
    assert sources_and_tested(own | lists | {"FOLD": "3/9/1"}) is None
    left = sources_and_tested(own | lists | {"FOLD": "3/3"})
    assert left == (["mixed", "huaxi"], ["xiangya"])
    assert sources_and_tested({**own, **lists, "NAME": ["x"]}) is None


@joined
def test_a_domain_that_is_no_text_is_named(run):
    edit_json(run / "split.json", lambda split: split["train"][0].update(domain=["mixed"]))
    assert "train[0].domain" in found(run)["unreadable"]
