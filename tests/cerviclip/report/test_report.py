"""The report: one content in three formats, whose numbers are those of the runs, and a checklist
that finds every item."""

import csv
import json
import shutil

import pytest

from cerviclip.report import study
from cerviclip.report.cards import card, facts
from cerviclip.report.checklist import ABSENT, AUTHORS, FILLED, GUIDELINES, items_of
from cerviclip.report.command import WRITERS, load_writer, main
from cerviclip.report.content import build_document
from cerviclip.report.document import BLANK, Document, Table, blank, pieces
from cerviclip.report.measured import prevalence_rows
from cerviclip.report.numbers import RULE, SHORT, cell, size_of
from cerviclip.report.results import _metric_table, patient_note
from cerviclip.report.sentences.analysis import unit_of_intervals
from cerviclip.report.study import BUT_TRANSDUCTIVE, BY_BEING_ALONE, BY_NAME, BY_VAL, Study
from cerviclip.runs.report.groups import Group
from cerviclip.runs.run.finished import retitle
from cerviclip.runs.settings.run_key import Repeat
from dassl.errors import UserError


def tables(document):
    return {block.caption: block for block in document.blocks if isinstance(block, Table)}


def test_numbers_are_those_of_results_json(runs, document):
    results = json.loads((runs / "ZooLinear" / "results.json").read_text())
    table = next(t for caption, t in tables(document).items() if caption == "Performance by image.")
    assert table.head == ("", "test", "ZooFar")
    row = next(row for row in table.rows if row[0] == "Accuracy (%)")
    assert row[1:] == tuple(cell(results["centers"][c]["accuracy"]) for c in table.head[1:])
    flow = next(t for caption, t in tables(document).items() if "source, part and class" in caption)
    used = results["flow"]["sources"]["ZooMain"]["used"]["train"]
    assert flow.rows[0][2] == f"{used['images']} ({used['patients']})" and used["images"] == 6


def test_every_item_of_the_guidelines_has_a_place(document):
    items = list(items_of(document))
    assert [len(rows) for rows in GUIDELINES.values()] == [48, 52, 44]
    assert not [item for item in items if item.state == ABSENT]
    state = {(item.guideline[:5], item.number): item for item in items}
    assert state["STARD", "24"].state == FILLED and "figure 1" in state["STARD", "24"].places
    assert state["STARD", "6"].state == AUTHORS
    assert state["CLAIM", "44"].state == AUTHORS


def test_an_item_that_nothing_answers_is_told():
    empty = Document("t", "s")
    empty.heading("Methods", "ethics")
    assert all(item.state == ABSENT for item in items_of(empty))
    empty.text(f"Ethics: {blank('which committee')}", "ethics")
    assert {i.number for i in items_of(empty) if i.state == AUTHORS} == {"6", "17"}


@pytest.mark.slow
def test_three_formats_say_the_same(runs, tmp_path, document, capsys):
    docx = pytest.importorskip("docx")
    pytest.importorskip("fpdf")
    for form in WRITERS:
        assert main([str(runs), "--format", form, "--out", str(tmp_path / f"draft.{form}")]) == 0
    text = (tmp_path / "draft.md").read_text()
    word = docx.Document(str(tmp_path / "draft.docx"))
    wanted = tables(document)
    assert text.count("**Table ") == len(wanted) == len(word.tables)
    for block, table in zip(wanted.values(), word.tables, strict=True):
        cells = [tuple(c.text for c in row.cells) for row in table.rows]
        assert cells == [*([block.head] if any(block.head) else []), *block.rows]
    heads = [p.text for p in word.paragraphs if p.style.name.startswith("Heading")]
    assert heads == [f"{b.number} {b.text}" for b in document.blocks if hasattr(b, "level")]
    assert len(BLANK.findall(text)) == len(document.blanks()) > 30
    for figure in (tmp_path / "draft_figures").glob("*.png"):
        assert f"(<draft_figures/{figure.name}>)" in text
    assert len(word.inline_shapes) == len(list((tmp_path / "draft_figures").glob("*.png"))) == 5
    assert (tmp_path / "draft.pdf").read_bytes()[:5] == b"%PDF-"
    assert "draft_checklist.md" in capsys.readouterr().out


def test_a_method_that_val_has_tuned_is_said_to_be_flattered_by_val(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [path] = (tmp_path / "runs").rglob("results.json")
    other = shutil.copytree(path.parent, path.parent.with_name("ZooOther")) / "results.json"
    other.write_text(json.dumps(json.loads(path.read_text()) | {"trainer": "ZooOther"}, indent=1))

    def text(tries, *featured):
        search = {"tries": tries, "labels": 4, "choices": {"settings": {"tries": tries}}}
        results = json.loads(path.read_text()) | {"search": search}
        path.write_text(json.dumps(results, indent=1))
        built = build_document(Study.read(tmp_path / "runs", *featured), tmp_path / str(tries))
        return " ".join(block.words for block in built.blocks)

    assert "the best of 4,000 tries on each run, so its accuracy on val is too good" in text(4000)
    assert "too good" not in text(4001, "ZooLinear") and "too good" not in text(1)


def test_what_val_has_chosen_is_words_in_its_table(runs, tmp_path):
    found = Study.read(runs)
    run = found.parts[0].groups[0].runs[0]
    run["search"] = {"tries": 6, "labels": 4, "choices": {"settings": {"tries": 6}}}
    table = tables(build_document(found, tmp_path))["Search budget."]
    assert [table.is_text(i) for i in range(6)] == [True, True, False, False, False, True]
    assert table.head[5] == "chosen"


def test_random_weights_are_told_apart_from_unknown_ones(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [config] = (tmp_path / "runs").rglob("config.yaml")

    def weights():
        built = build_document(Study.read(tmp_path / "runs"), tmp_path / "figures")
        [row] = tables(built)["Methods compared."].rows
        return row[3]

    assert weights() == "-"
    config.write_text(config.read_text().replace("PRETRAINED: true", "PRETRAINED: false"))
    assert weights() == "random"
    config.write_text(config.read_text().replace("INIT_WEIGHTS: ''", "INIT_WEIGHTS: a.pth"))
    assert weights() == "-"


def test_the_method_in_detail_is_chosen_by_val_or_by_name(runs):
    assert Study.read(runs).parts[0].why == BY_BEING_ALONE
    part = Study.read(runs, "ZooLinear").parts[0]
    assert part.why == BY_NAME and part.label == "ZooLinear"
    with pytest.raises(UserError, match="did you mean 'ZooLinear'"):
        Study.read(runs, "ZooLinaer")


def val(accuracy, paths="ab"):
    """One seed's val images and the accuracy on them, as `study` keeps them."""
    return {Repeat("", 1): study._Val(frozenset(paths), accuracy)}


def test_a_transductive_method_is_not_chosen_beside_the_others(monkeypatch):
    """It has seen all images that it is compared on."""

    def group(trainer, shots, seen):
        return Group("Zoo", trainer, "B", "default", shots, 0, [{"transductive": seen}])

    groups = [group("LinearProbe", 4, False), group("CoOp", 4, False), group("TransCLIP", 8, True)]
    accuracy = {"LinearProbe": 0.5, "CoOp": 0.6, "TransCLIP": 0.9}
    monkeypatch.setattr(study, "_vals", lambda g: val(accuracy[g.trainer]))
    part = study._part("Zoo", groups, "")
    assert (part.featured.trainer, part.why) == ("CoOp", BY_VAL + BUT_TRANSDUCTIVE)
    assert study._part("Zoo", groups[2:], "").featured.trainer == "TransCLIP"
    assert study._part("Zoo", groups, "TransCLIP").why == BY_NAME


def test_val_ranks_methods_on_the_same_images_alone(monkeypatch):
    """Images of another centre's val may be easier, and those of another seed are others too."""

    def why(**vals):
        groups = [
            Group("Zoo", trainer, "B", "default", 4, 0, [{"trainer": trainer}]) for trainer in vals
        ]
        monkeypatch.setattr(study, "_vals", lambda g: vals[g.trainer])
        part = study._part("Zoo", groups, "")
        return part.featured.trainer, part.why

    assert why(A=val(0.5), B=val(0.6)) == ("B", BY_VAL)
    assert why(A=val(0.5), B=val(0.6), C={}) == ("B", BY_VAL + study.BUT_WITHOUT_VAL)
    assert why(A={}, B={}) == ("A", study.BY_ORDER)
    assert why(A=val(0.5), B=val(0.9, "xy")) == ("A", study.BY_OTHER_VALS)
    chosen, told = why(A=val(0.9, "xy"), B=val(0.5), C=val(0.6))
    assert chosen == "C" and told.startswith(f"{study.ON_VAL} among B, C, whose")
    assert study.THE_MOST in told
    two = {Repeat("", 2): study._Val(frozenset("cd"), 0.0)}
    assert why(A=val(0.7) | two, B=val(0.6))[0] == "A", "only the seed that both have counts"
    assert why(A=val(0.5), B=two)[1] == study.BY_OTHER_VALS


def test_a_wrong_folder_is_told_before_a_library_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(
        WRITERS, "docx", ("cerviclip.report.writers.word", "no_such_library", "docx")
    )
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        main([str(tmp_path / "nowhere"), "--format", "docx"])


def test_errors_are_one_line(runs, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="does not end in .pdf"):
        main([str(runs), "--format", "pdf", "--out", str(tmp_path / "x.docx")])
    monkeypatch.setitem(
        WRITERS, "pdf", ("cerviclip.report.writers.pdf", "no_such_library", "fpdf2")
    )
    with pytest.raises(UserError, match=r'pip install -e "\.\[report\]"'):
        load_writer("pdf")


def test_blanks_and_numbers():
    assert pieces("a [AUTHORS: b] c") == [("a ", False), ("[AUTHORS: b]", True), (" c", False)]
    assert cell({"value": -1.25, "low": None, "high": None}) == "−1.2"
    assert cell({"value": None, "low": None, "high": None}) == "-"
    assert cell({"value": 71.62, "low": 62.88, "high": 79.21}) == "71.6 [62.9, 79.2]"


def test_a_csv_has_every_run_with_whole_hashes(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    [path] = (tmp_path / "runs").rglob("results.json")
    results = json.loads(path.read_text())
    for i in range(41):
        copied = shutil.copytree(path.parent, path.parent.with_name(f"seed{i}"))
        (copied / "results.json").write_text(json.dumps(results | {"seed": 10 + i}, indent=1))
    failed = results | {"status": "failed", "error": "no disk\nleft", "seed": 99}
    (copied / "results.json").write_text(json.dumps(failed, indent=1))
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "draft.md")]) == 0
    rows = list(csv.DictReader((tmp_path / "draft_runs.csv").read_text().splitlines()))
    assert sorted(int(row["seed"]) for row in rows) == [1, *range(10, 50), 99]
    assert {row["config_hash"] for row in rows} == {results["config_hash"]}
    assert (rows[0]["folder"], rows[-1]["error"]) == (path.parent.name, "no disk left")
    text = (tmp_path / "draft.md").read_text()
    assert "draft_runs.csv has every run with its whole hashes, 1 more than are shown" in text


def test_centers_without_patients_are_named_beside_the_unit(runs):
    part = Study.read(runs).parts[0]
    assert "where the image is the unit" not in unit_of_intervals(Study(runs, [], [part]))
    part.run["centers"]["test"]["uncertainty"] = {"unit": "image"}
    told = unit_of_intervals(Study(runs, [], [part]))
    assert f"{part.dataset} (test), where the image is the unit" in told


def test_patients_of_several_classes_are_explained_and_on_the_data_card(runs, tmp_path):
    study = Study.read(runs)
    run, centers = study.parts[0].run, study.parts[0].run["centers"]
    run["warnings"] = ["a warning of the run"]
    run["patient_level"] = {
        "rule": "mean",
        "mixed_patients": {"test": centers["test"]["n_patients"], "ZooFar": 0},
        "centers": centers,
    }
    found = tables(build_document(study, tmp_path / "figures"))
    table = next(t for caption, t in found.items() if "Performance by patient" in caption)
    assert "true class is the most frequent" in table.note and "At test most patients" in table.note
    patients = str(centers["test"]["n_patients"])
    assert ("patients with several classes", patients, "0") in table.rows
    card = dict(found["Data card of ZooMain."].rows)["Known defects"]
    assert "a warning of the run" in card and f"{patients} of {patients} patients" in card
    assert "none on record" not in card
    run["measured_with"] = {"order": list(centers["test"]["per_class"])}
    assert "the worst class of her images" in patient_note(run)


def test_the_card_of_own_images_says_nothing_of_the_software():
    document = Document("t", "s")
    for name in ("FolderDataset", "Centers"):
        assert facts(name) == {}
        card(document, name, None)
    for block in tables(document).values():
        assert block.rows[0][1].startswith("[AUTHORS: what the images show")
        assert "config" not in block.words and "CSV" not in block.words


def test_a_card_says_what_the_module_says():
    found = facts("SIPaKMeD")
    assert found["where"].startswith("https://www.cs.uoi.gr/")
    assert found["licence"].startswith("none is stated")
    assert "No patient or slide is published." in found["defects"]
    assert "No patient is behind" in facts("PhantomOCT")["defects"]


def test_other_prevalences_are_promised_where_they_are_given(document, runs, tmp_path):
    results = json.loads((runs / "ZooLinear" / "results.json").read_text())
    points = results["operating_points"]["points"]
    found = points["youden"]["centers"]["test"]
    caption = "PPV and NPV by image at other prevalences, at the same operating points."
    rows = tables(document)[caption].rows
    assert rows == tuple(prevalence_rows(results["operating_points"]))
    thresholds = {point["threshold"] for point in points.values()} - {None}
    assert len(rows) == len(thresholds) * 3 * 2  # prevalences, centres
    [youden] = [row for row in rows if "Youden" in row[0] and row[1:3] == ("test", "5")]
    assert youden[3:] == (cell(found["ppv_at"]["0.05"]), cell(found["npv_at"]["0.05"]))
    said = "The results give PPV and NPV at prevalences of 1, 5, 20 % as well."
    assert any(said in block.words for block in document.blocks)
    without = Study.read(runs)
    for group in without.parts[0].groups:
        group.runs[0]["operating_points"]["points"] = {}
        group.runs[0]["patient_level"] = None
    bare = build_document(without, tmp_path)
    assert not any("at prevalences of" in block.words for block in bare.blocks)
    assert not any("other prevalences" in caption for caption in tables(bare))


def test_sensitivity_is_defined_in_the_methods_and_below_its_table(document):
    assert "most probable class is in the positive group" in RULE
    assert any(RULE in block.words for block in document.blocks if not isinstance(block, Table))
    assert RULE in tables(document)["Performance by image."].note
    assert SHORT["binary.accuracy"] == "Binary accuracy (%)"


def metric_note(entry):
    table = Document("t", "s")
    _metric_table(table, "Performance by image", {"test": entry})
    [block] = table.blocks
    return block


def test_patients_of_both_kinds_have_a_footnote():
    counts = {"events": {"patients": 7}, "non_events": {"patients": 6}}
    entry = {"n_images": 30, "n_patients": 10, "accuracy": {"value": 50.0}, "counts": counts}
    block = metric_note(entry)
    assert ("patients with / without the event", "7 / 6") in block.rows
    assert "counts as one with the event and as one without it" in block.note
    counts["events"]["patients"] = 4
    assert "as one without it" not in metric_note(entry).note


def test_patients_whom_nobody_knows_are_not_counted():
    counts = {"events": {"patients": 7}, "non_events": {"patients": 23}}
    entry = {"n_images": 30, "n_patients": 30, "accuracy": {"value": 50.0}, "counts": counts}
    entry["uncertainty"] = {"unit": "image"}
    block = metric_note(entry)
    assert (
        block.rows[0]
        == ("images / patients", "30 / not known")
        == (
            "images / patients",
            size_of(entry),
        )
    )
    assert block.rows[1][1] == "not known"
    assert "each image counts as a patient" in block.note


def test_maps_of_a_method_are_suggested_only_where_it_ran(document):
    [text] = [b.words for b in document.blocks if b.words.startswith("Explanations:")]
    assert "SAVLT" not in text


def test_the_draft_calls_the_study_by_its_title(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "out")
    assert retitle(folder / "ZooLinear", "Cervix OCT, Hospital A")
    document = build_document(Study.read(folder), tmp_path / "figures")
    assert document.title == "Methods and results: Cervix OCT, Hospital A"
    words = [block.words for block in document.blocks]
    assert "Data card: Cervix OCT, Hospital A" in words
    whole = tables(document)
    card_rows = dict(whole["Data card of Cervix OCT, Hospital A."].rows)
    assert card_rows["Name in files and folders"] == "ZooMain"
    assert any(row[0] == "Cervix OCT, Hospital A" for row in whole["Leaks looked for before "
               "training."].rows)  # fmt: skip
    assert "Cervix OCT, Hospital A: accuracy (%)." in whole
    assert any("Data card: ZooFar" in text for text in words)  # a centre keeps its name
    told = [text for text in words if "ZooMain" in text and "warning" not in text.lower()]
    assert [text for text in told if "Name in files and folders" not in text] == []


def test_a_centre_called_as_the_title_keeps_its_place_in_the_flow(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "out")
    retitle(folder / "ZooLinear", "ZooFar")
    part = Study.read(folder).parts[0]
    assert part.name == "ZooFar" and set(part.flow["sources"]) == {"ZooMain", "ZooFar"}
    part.run["flow"] = {}
    assert part.flow == {}  # a run of before flow was kept
