"""Tables over pooled folds, the search's budget, and rows within a table: made again and compared
both ways, cell by cell."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from audit_fixtures import edit_json
from run_fixtures import Zoo
from run_fixtures import run_sweep as run

from cerviclip import plugins
from cerviclip.runs.audit.run import audit, audit_results
from cerviclip.runs.audit.tables.markdown import faults_of, unchecked_titles
from cerviclip.runs.report.groups import METRICS, group_runs, load_runs
from cerviclip.severity import NOTE
from helpers import write_images


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A sweep over three folds; a method of it chooses its epoch on val."""
    zoo = Zoo(tmp_path_factory.mktemp("folded"))
    plugins.reset_plugins()
    write_images(zoo.root / "cells", {"a": 18, "b": 18, "c": 18}, patients=6, size=8)
    opts = r"DATASET.FOLDER cells DATASET.PATIENT_PATTERN (P\d{7}) DATASET.POSITIVE ('a',)"
    opts += " TEST.FINAL_MODEL best_val"
    flags = ["--datasets", "FolderDataset", "--opts", "TEST.EXTERNAL", "[]", *opts.split()]
    text = "trainers: [ZooConstant, ZooLinear]\nshots: [2]\nseeds: [1]\nfolds: 3\n"
    assert run(zoo, text, *flags) == 0
    plugins.reset_plugins()
    return zoo.out


@pytest.fixture
def out(folded, tmp_path):
    shutil.copytree(folded, tmp_path / "out")
    return tmp_path / "out"


def said(out, full=None):
    return [(f.where, f.text) for f in audit(out, full=full).findings if f.severity != NOTE]


def edit(out, change):
    path = out / "results.md"
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)


POOLED_ROW = re.compile(r"^\| (test, pooled)? *\| ZooLinear \|.*$", re.MULTILINE)


def pooled_block(text):
    start = text.index("### FolderDataset: accuracy (%), folds pooled")
    return start, text.index("###", start + 5)


def test_an_honest_sweep_passes(out):
    text = (out / "results.md").read_text()
    assert "folds pooled" in text and "## Search budget" in text and "epoch" in text
    assert said(out) == []


def test_an_edited_number_is_told_with_its_place(out):
    def change(text):
        start, end = pooled_block(text)
        block = re.sub(r"(ZooLinear \| )[\d.]+", r"\g<1>99.9", text[start:end])
        return text[:start] + block + text[end:]

    edit(out, change)
    [(where, text)] = said(out)
    assert where == "results.md"
    assert re.fullmatch(
        r"FolderDataset: accuracy \(%\), folds pooled: test, pooled, ZooLinear, 2 shots: it says "
        r"99\.9.*, pooled\.json \d.*",
        text,
    )


@pytest.mark.parametrize("heading", ["accuracy, % (pooled)", "accuracy (%) of folds"])
def test_a_table_of_folds_under_another_heading_is_nobodys(out, heading):
    edit(out, lambda text: text.replace(": accuracy (%), folds pooled", f": {heading}"))
    texts = [text for _, text in said(out)]
    assert f"nothing stands behind its table 'FolderDataset: {heading}'" in texts
    assert "the table 'FolderDataset: accuracy (%), folds pooled' is missing" in texts


def test_a_row_that_was_taken_out_is_missed(out):
    def change(text):
        start, end = pooled_block(text)
        lines = text[start:end].splitlines(keepends=True)
        return text[:start] + "".join(x for x in lines if "ZooLinear" not in x) + text[end:]

    edit(out, change)
    [(_, text)] = said(out)
    assert text.endswith("it lacks the row test, pooled, ZooLinear")


def test_a_table_of_folds_that_was_taken_out_is_missed(out):
    def change(text):
        start, end = pooled_block(text)
        return text[:start] + text[end:]

    edit(out, change)
    assert said(out) == [
        ("results.md", "the table 'FolderDataset: accuracy (%), folds pooled' is missing")
    ]


def test_in_an_older_file_it_has_the_title_of_the_table_before_it(out):
    edit(out, lambda text: text.replace(", folds pooled", ""))
    assert said(out) == []


def test_a_number_edited_in_pooled_json_and_results_md_is_found(out):
    """The two agree with each other, and not with the predictions."""

    def change(content):
        for entry in content["pooled"]:
            entry["score"]["macro_f1"]["value"] = 0.999

    edit_json(out / "pooled.json", change)
    found = dict(said(out, full=0))
    assert "score.macro_f1.value is 0.999, the folds' predictions give 16." in found["pooled.json"]


@pytest.mark.parametrize("place", ["score.accuracy.low", "measures.calibration.ece"])
def test_an_edited_interval_or_measure_of_folds_is_found_in_full(out, place):
    *path, last = place.split(".")

    def change(content):
        node = content["pooled"][1]
        for key in path:
            node = node[key]
        node[last] = 0.111

    edit_json(out / "pooled.json", change)
    assert not [text for where, text in said(out, full=0) if where == "pooled.json"]
    assert any(f"{place} is 0.111" in text for where, text in said(out) if where == "pooled.json")


def test_entries_without_runs_and_runs_without_an_entry_are_found(out):
    def change(content):
        content["pooled"][1]["seed"] = 7

    edit_json(out / "pooled.json", change)
    text = dict(said(out, full=0))["pooled.json"]
    assert text == (
        "there are no runs of ZooLinear on FolderDataset, shots 2, 3 folds, seed 7 (and 1 more)"
    )


@pytest.mark.parametrize("wrong", ["{", '{"pooled": [{}]}', '{"pooled": 3}'])
def test_a_broken_pooled_json_is_named(out, wrong):
    (out / "pooled.json").write_text(wrong)
    assert ("pooled.json", "unreadable") in [(f.where, f.kind) for f in audit(out, full=0).findings]


@pytest.mark.parametrize(
    "old, new",
    [
        (r"(ZooLinear \| 2 \| )\d+", r"\g<1>1"),
        (r"\| FolderDataset \| ZooLinear \| 2 \| \d.*\n", ""),
        (r"## Search budget", "## Budget"),
    ],
)
def test_the_search_budget_is_made_again(out, old, new):
    edit(out, lambda text: re.sub(old, new, text))
    texts = [text for _, text in said(out)]
    assert texts and all("Search budget" in text or "'Budget'" in text for text in texts)


def test_what_was_tried_before_a_sweep_is_known_to_its_file_alone(out):
    more = {"| data set": " tries before | labels before |", "|---": "---:|---:|"}

    def change(text):
        head, table = text.split("## Search budget")
        lines = [
            line + next((m for start, m in more.items() if line.startswith(start)), " 3 | 40 |")
            if line.startswith("|")
            else line
            for line in table.replace("| --- |", "|---|", 1).split("\n")
        ]
        return head + "## Search budget" + "\n".join(lines)

    edit(out, change)
    assert said(out) == []


def test_rows_swapped_between_two_centres_are_found(folded):
    """The centre's name stands in the first of its rows alone."""
    runs = load_runs(folded)
    for place in runs:
        other = json.loads(json.dumps(place["centers"]["test"]))
        other["accuracy"]["value"] = 0.25
        place["centers"]["Far"] = other
    groups = group_runs(runs)
    from cerviclip.runs.report.formats import to_markdown
    from cerviclip.runs.report.tables import build_tables, says_something

    tables = [t for m in METRICS for t in build_tables(groups, m) if says_something(t)]
    text = "\n".join(map(to_markdown, tables))
    assert faults_of(text, groups, None).tables == []
    rows = [line for line in text.splitlines() if line.startswith("|  |")][:2]
    swapped = text.replace(rows[0], "#0", 1).replace(rows[1], rows[0], 1).replace("#0", rows[1], 1)
    assert swapped != text
    [fault] = faults_of(swapped, groups, None).tables
    assert "Far, Zoo" in fault or "test, Zoo" in fault


def test_the_quick_audit_says_which_tables_it_does_not_read(out):
    found = {(f.kind, f.where): f.text for f in audit_results(out).findings}
    text = found["not_checked", "results.md"]
    assert text.startswith("FolderDataset: accuracy (%), folds pooled") and "--quick" in text
    assert len(unchecked_titles((out / "results.md").read_text())) > 3


def test_of_many_wrong_tables_the_first_are_told_and_the_others_counted(out):
    edit(out, lambda text: re.sub(r"(ZooLinear \| )[\d.]+", r"\g<1>33.3", text))
    texts = [text for where, text in said(out, full=0) if where == "results.md"]
    assert len(texts) == 4 and re.match(r"\d+ more faults of it: FolderDataset", texts[-1])


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("over 3 folds", "over 30 folds", "its note says 'mean ± sd over 30 folds'"),
        ("one seed", "five seeds", "its note says"),
        (r"; few patients[^;]*", "", "its note lacks 'few patients"),
        ("positive group: a", "positive group: a, b", "says 'positive group: a, b'"),
        (r"test: (\d+) images", r"test: 9\1 images", "says 'test: 9"),
        (r"\A(.*\n\n)\d+ runs", r"\g<1>60 runs", "it says 60 runs"),
        (r"backbones: \w+", "backbones: ViT-L/14", "it names the backbones ViT-L/14"),
        (r"(\| test \| ZooC[^\n]*)", r"\1\n | test | Mine | 99.9 |", "may be read as a table"),
        (r"\Z", "\n## More\n\nMine | 99.9\n--- | ---\n", "may be read as a table"),
        (r"\Z", "\n<table><tr><td>Mine</td></tr></table>\n", "may be read as a table"),
        (r"\Z", "\n<!-- nothing of this counts -->\n", "may be read as a table"),
        (r"\Z", "\n## Failed runs\n\n- A/Rival/seed_1: it broke\n", "no run in A/Rival/seed_1 has"),
    ],
)
def test_what_stands_beside_the_tables_is_read_too(out, old, new, told):
    edit(out, lambda text: re.sub(old, new, text, count=1))
    texts = [text for where, text in said(out, full=0) if where == "results.md"]
    assert texts and told in texts[0]


def test_a_sentence_of_somebody_is_named_and_not_judged(out):
    edit(out, lambda text: text + "\nZooLinear was significantly better (p < 0.001).\n")
    assert said(out, full=0) == []
    [note] = [f.text for f in audit(out, full=0).findings if f.where == "results.md"]
    assert "not checked: 'ZooLinear was significantly better" in note


def test_two_entries_of_one_cell_and_other_marks_are_found(out):
    edit_json(out / "pooled.json", lambda content: content["pooled"].append(content["pooled"][0]))
    assert "it has two entries of" in dict(said(out, full=0))["pooled.json"]


@pytest.mark.parametrize("key", ["test_read_early", "transductive"])
def test_marks_of_pooled_json_are_those_of_the_runs(out, key):
    edit_json(out / "pooled.json", lambda content: content["pooled"][1].update({key: True}))
    assert f"{key} is True" in dict(said(out, full=0))["pooled.json"]


def test_a_pooled_json_that_was_taken_away_is_named(out):
    (out / "pooled.json").unlink()
    notes = {f.where: f.text for f in audit(out, full=0).findings if f.kind == "not_checked"}
    assert "there are folds and no pooled.json" in notes["pooled.json"]


@pytest.mark.parametrize("lost", ["high", "value", None])
def test_a_score_of_pooled_json_without_its_interval_is_unreadable(out, lost):
    def change(content):
        score = content["pooled"][0]["score"]
        if lost:
            del score["binary"]["specificity"][lost]
        else:
            del score["macro_f1"]

    edit_json(out / "pooled.json", change)
    found = {f.where: f for f in audit(out, full=0).findings}
    assert (
        found["pooled.json"].kind == "unreadable" and "pooled[0].score" in found["pooled.json"].text
    )


def test_another_title_in_pooled_json_and_results_md_is_found(out):
    def change(content):
        for entry in content["pooled"]:
            entry["titles"] = ["Real Hospital"]

    edit_json(out / "pooled.json", change)
    edit(out, lambda text: re.sub(r"FolderDataset(: .*, folds pooled)", r"Real Hospital\1", text))
    found = {(f.kind, f.where) for f in audit(out, full=0).findings if f.severity != NOTE}
    assert found == {("title", "pooled.json"), ("title", "results.md")}
