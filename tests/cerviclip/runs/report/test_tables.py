"""Tables: the right numbers, in every format, and nothing hidden."""

import csv
import io
import json
import re
import statistics

import pytest

from cerviclip.runs.report.few import HINT
from cerviclip.runs.report.formats import (
    print_table,
    summary,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from cerviclip.runs.report.groups import (
    Stat,
    check_metric,
    group_runs,
    load_runs,
    metric_value,
)
from cerviclip.runs.report.tables import POSITIVE_RULE, Marks, build_tables, format_stat
from cerviclip.runs.settings.run_key import Repeat
from dassl.errors import UserError


def metric(value):
    return {"value": value, "low": None, "high": None}


def run(trainer="CoOp", shots=4, seed=1, accuracy=50.0, far=40.0, **extra):
    def center(value):
        return {
            "accuracy": metric(value), "macro_auc": metric(0.5),
            "per_class": {"a.b": {"f1": metric(7.0)}}, "binary": {"auc": metric(None)},
        }  # fmt: skip

    return {
        "schema_version": 1, "status": "done", "error": None, "dataset": "PhantomOCT",
        "trainer": trainer, "backbone": "ViT-B/16", "variant": "default", "shots": shots,
        "fold": "", "seed": seed, "test_read_early": False,
        "centers": {"test": center(accuracy), "Far_Away": center(far)},
    } | extra  # fmt: skip


RUNS = [
    run(seed=s, shots=k, accuracy=56.0 + 10 * s) for s in (3, 1, 2) for k in (16, "full", 1)
] + [run("ZeroShot", 0, 0, 33.3, 22.2)]


def table(runs=RUNS, metric="accuracy"):
    return build_tables(group_runs(runs), metric)[0]


def test_means_and_sample_deviations_over_seeds():
    group = next(g for g in group_runs(RUNS) if g.shots == 16)
    stat = group.stat("test", "accuracy")
    assert stat.values == {("", 1): 66.0, ("", 2): 76.0, ("", 3): 86.0}
    assert stat.mean == pytest.approx(76) and stat.sd == pytest.approx(
        statistics.stdev((66, 76, 86))
    )
    assert format_stat(stat, "accuracy") == "76.0 ± 10.0"


def test_shots_in_order_and_zero_shot_in_every_column():
    t = table()
    assert t.columns == ["1", "16", "full"]
    (center, rows), (other, _) = t.blocks
    assert (center, other) == ("test", "Far_Away")
    assert [label for label, _ in rows] == ["ZeroShot", "CoOp"]
    assert rows[0][1] == ["33.3"] * 3
    assert "ZeroShot trains nothing" in "; ".join(t.notes)


def test_methods_that_train_nothing_are_named_only_beside_others():
    two = [run("ZeroShot", 0, 0), run("TipFree", 0, 0)]
    alone = [table(two).notes, table(two).columns]
    assert alone == [["one seed"], ["0"]]
    beside = table([*two, run()]).notes
    assert "TipFree, ZeroShot trains nothing: one run stands for all shots" in beside


def test_marks_stand_behind_their_cells_and_are_explained():
    groups = group_runs([run(seed=s) for s in (1, 2)])
    marks = Marks({("PhantomOCT", "CoOp", "4", "test"): " ‡"}, "‡ better than the baseline")
    [marked] = build_tables(groups, "accuracy", marks)
    cells = {center: rows[0][1] for center, rows in marked.blocks}
    assert cells == {"test": ["50.0 ± 0.0 ‡"], "Far_Away": ["40.0 ± 0.0"]}
    assert marked.notes == ["mean ± sd over 2 seeds", "‡ better than the baseline"]


def test_digits_are_those_of_the_metric_not_of_the_class():
    stat = group_runs([run()])[0].stat("test", "accuracy")
    found = [format_stat(stat, f"{name}") for name in
             ("accuracy", "ece", "macro_auc", "binary.auc", "per_class.auc.v2.auc",
              "per_class.auc.f1")]  # fmt: skip
    assert found == ["50.0", "50.000", "50.000", "50.000", "50.000", "50.0"]


def test_order_of_files_does_not_matter():
    assert table(RUNS) == table(RUNS[::-1])


def test_seeds_tested_on_other_images_are_noted():
    runs = [run(seed=s) for s in (1, 2, 3)]
    for one in runs:
        one["centers"]["test"]["n_images"] = 606
    assert not any("hardly" in note for note in table(runs).notes)
    runs[2]["centers"]["test"]["n_images"] = 1212
    said = "test: seeds of a row were tested on 606 and 1212 images, hardly comparable"
    assert said in table(runs).notes


def test_where_to_find_intervals_is_told_where_patients_are_few():
    def hints(n_patients):
        center = {"accuracy": metric(50.0), "n_patients": n_patients}
        return table([run(centers={"test": center})]).hints

    assert (hints(12), hints(500)) == ([HINT], [])


def test_order_of_a_sweep_is_kept():
    runs = [run(t, seed=s) for t in ("B", "A", "C") for s in (1, 2)]
    groups = group_runs(runs, [("C", "default"), ("A", "default"), ("B", "default")])
    assert list(dict.fromkeys(g.trainer for g in groups)) == ["C", "A", "B"]


def test_fewer_seeds_and_early_reading_are_marked():
    runs = [*RUNS, run("Peek", 1, 1, test_read_early=True)]
    t = table(runs)
    cells = dict(t.blocks[0][1])["Peek"]
    assert cells == ["50.0*†", "-", "-"]
    assert any("fewer seeds" in n for n in t.notes) and any("read before" in n for n in t.notes)


def test_runs_on_different_splits_are_noted():
    """As when images were added to a data set between two parts of a sweep."""
    same = [run(seed=s, split_hash="one") for s in (1, 2)]
    assert not any("splits" in note for note in table([*same, run("Old", split_hash=None)]).notes)
    mixed = [*same, run(seed=3, split_hash="two")]
    assert any("2 different splits" in note for note in table(mixed).notes)
    assert "2 different splits" in to_markdown(table(mixed))


def test_two_runs_of_one_seed_are_refused_by_their_folders():
    twice = [run(folder="old/seed_1"), run(seed=2), run(folder="new/seed_1")]
    with pytest.raises(UserError, match="old/seed_1 and new/seed_1 are both CoOp.*seed 1") as error:
        table(twice)
    assert "\n" not in str(error.value)
    assert table([*twice[:2], run(folder="new/seed_1", status="failed", error="x")])


def test_failed_runs_are_left_out_of_means_and_listed():
    failed = run(seed=9, status="failed", error="RuntimeError: x", centers={})
    content = summary(group_runs([*RUNS, failed]), [*RUNS, failed])
    assert [f["error"] for f in content["failed"]] == ["RuntimeError: x"]
    assert all(9 not in g["seeds"] for g in content["groups"])


def test_rows_are_told_apart_by_what_differs():
    runs = [run(), run(variant="lr1"), run("SAVLT"), run("SAVLT", backbone="RN50")]
    labels = [label for label, _ in table(runs).blocks[0][1]]
    assert labels == ["CoOp", "CoOp (lr1)", "SAVLT [RN50]", "SAVLT [ViT-B/16]"]


def folds_of(trainer="CoOp", folds=3, seeds=(1, 2)):
    cells = [(n, s) for n in range(1, folds + 1) for s in seeds]
    return [
        run(trainer, seed=s, fold=f"{n}/{folds}", accuracy=10.0 * n + s, split_hash=f"f{n}")
        for n, s in cells
    ]


def test_folds_and_seeds_each_give_one_value_of_a_cell():
    (group,) = group_runs(folds_of()[::-1])
    stat = group.stat("test", "accuracy")
    values = {(f"{n}/3", s): 10.0 * n + s for n in (1, 2, 3) for s in (1, 2)}
    assert stat.values == values and list(stat.values) == list(values)
    assert stat.mean == pytest.approx(21.5)
    assert stat.sd == pytest.approx(statistics.stdev(values.values()))
    t = table(folds_of())
    assert t.blocks[0][1] == [("CoOp", ["21.5 ± 9.0"])]
    assert t.notes == ["mean ± sd over 3 folds x 2 seeds"]


def test_missing_folds_are_said():
    notes = "; ".join(table([r for r in folds_of() if r["fold"] != "2/3"]).notes)
    assert "only 2 of 3 folds have been run" in notes
    t = table([*folds_of(), *folds_of("SAVLT")[:5]])
    assert dict(t.blocks[0][1])["SAVLT"][0].endswith("*")
    assert "* fewer folds or seeds than the others" in t.notes


def test_folds_are_never_averaged_with_a_plain_split():
    t = table([*folds_of(), run(accuracy=99.0), run(seed=2, accuracy=99.0)])
    assert [label for label, _ in t.blocks[0][1]] == ["CoOp", "CoOp [3 folds]"]
    assert dict(t.blocks[0][1])["CoOp"] == ["99.0 ± 0.0"]
    assert t.notes == ["mean ± sd over 2 seeds", "[3 folds]: mean ± sd over 3 folds x 2 seeds"]


def test_each_fold_has_a_split_of_its_own():
    assert not any("splits" in note for note in table(folds_of()).notes)
    mixed = [*folds_of(), *[r | {"split_hash": "other"} for r in folds_of("SAVLT")[:1]]]
    assert any("2 different splits" in note for note in table(mixed).notes)


def test_folds_stand_in_csv_and_json():
    failed = run(seed=9, status="failed", error="x", centers={}, fold="1/3")
    content = summary(group_runs(folds_of()), [*folds_of(), failed], ["accuracy"])
    assert content["schema_version"] == 2 and content["failed"][0]["fold"] == "1/3"
    (group,) = content["groups"]
    assert (group["folds"], group["seeds"]) == (3, [1, 2])
    assert group["centers"]["test"]["accuracy"]["values"]["fold 3/3 seed 1"] == 31.0
    row = next(csv.DictReader(io.StringIO(to_csv(group_runs(folds_of()), ["accuracy"]))))
    assert row["folds"] == "3" and row["values"].startswith("fold 1/3 seed 1:11.0;")


def test_without_folds_no_format_speaks_of_them():
    content = summary(group_runs(RUNS), RUNS)
    assert content["schema_version"] == 1 and "fold" not in to_json(content)
    assert "fold" not in to_csv(group_runs(RUNS)) and "fold" not in to_markdown(table())


def test_undefined_is_a_dash_and_auc_has_three_decimals():
    assert dict(table(metric="binary.auc").blocks[0][1])["CoOp"] == ["-", "-", "-"]
    twice = Stat({Repeat("", 1): 0.51239, Repeat("", 2): 0.51239})
    assert format_stat(twice, "macro_auc") == "0.512 ± 0.000"
    assert format_stat(Stat({Repeat("", 1): 0.5}), "binary.auc") == "0.500"


def test_what_makes_an_image_positive_stands_below_the_metrics_that_rest_on_it():
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        assert POSITIVE_RULE in table(metric=f"binary.{name}").notes
    for name in ("binary.auc", "accuracy", "per_class.a.b.f1"):
        assert POSITIVE_RULE not in table(metric=name).notes


def test_metric_names():
    assert metric_value(run()["centers"]["test"], "per_class.a.b.f1") == 7.0
    assert metric_value(None, "accuracy") is None
    assert check_metric("per_class.a.b.f1")
    with pytest.raises(UserError, match="unknown metric 'acc', did you mean accuracy"):
        check_metric("acc")
    with pytest.raises(UserError, match=r"'auc', did you mean binary.auc or macro_auc\?$"):
        check_metric("auc")
    with pytest.raises(UserError, match="compare --metric sensitivity_95.sensitivity takes it"):
        check_metric("sensitivity_95.sensitivity")
    with pytest.raises(UserError, match="unknown metric 'zzz' .known: accuracy, "):
        check_metric("zzz")


def test_phantoms_are_called_phantoms():
    assert "phantom data" in table().title
    assert "phantom data" in table([run(dataset="PhantomDomains")]).title
    assert "phantom" not in table([run(dataset="Herlev")]).title
    assert "phantom data" in table([run(dataset="TheirPhantom")]).title, "unknown here: by its name"


def test_markdown_is_a_pipe_table():
    text = to_markdown(table())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "| centre | trainer | 1 shot | 16 shots | full |"
    assert {line.count("|") for line in lines} == {6}
    assert "| test | ZeroShot | 33.3 |" in text


def test_latex_escapes_what_latex_reads():
    text = to_latex(table())
    assert r"Far\_Away" in text and r"$\pm$" in text and r"\toprule" in text
    assert "Centre & Method & 1 shot & 16 shots & full" in text
    assert not re.search(r"(?<!\\)%", text)


def test_csv_and_json_hold_every_value():
    groups = group_runs(RUNS)
    rows = list(csv.DictReader(io.StringIO(to_csv(groups, ["accuracy"]))))
    row = next(r for r in rows if r["shots"] == "16" and r["center"] == "test")
    assert float(row["mean"]) == 76 and row["values"] == "1:66.0;2:76.0;3:86.0" and row["n"] == "3"
    content = json.loads(to_json(summary(groups, RUNS)))
    group = next(g for g in content["groups"] if g["shots"] == 16)
    assert group["centers"]["test"]["accuracy"]["values"] == {"1": 66.0, "2": 76.0, "3": 86.0}
    assert group["centers"]["test"]["binary.auc"]["mean"] is None


def test_terminal_table_shows_every_center(capsys):
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as caught:
        print_table(table(), console)
    text = caught.get()
    assert "Far_Away" in text and "76.0 ± 10.0" in text and "1 shot" in text


def test_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no results.json below"):
        load_runs(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        load_runs(tmp_path / "none")


def test_runs_are_loaded_with_their_folder(tmp_path):
    for seed in (2, 1):
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(run(seed=seed)))
    runs = load_runs(tmp_path)
    assert [r["seed"] for r in runs] == [1, 2]
    assert runs[0]["folder"] == str(tmp_path / "seed_1")


def titled(title, **more):
    return run(runtime={"title": title}, dataset="FolderDataset", **more)


def test_a_title_heads_the_table_in_every_format(capsys):
    t = table([titled("R&D, 50 % CIN2+"), titled("R&D, 50 % CIN2+", seed=2)])
    assert t.title == "R&D, 50 % CIN2+: accuracy (%)" and t.dataset == "FolderDataset"
    assert to_markdown(t).startswith("### R&D, 50 % CIN2+: accuracy (%)\n")
    assert r"\caption{R\&D, 50 \% CIN2+: accuracy (\%);" in to_latex(t)
    print_table(t)
    assert "R&D, 50 % CIN2+: accuracy (%)" in capsys.readouterr().out


def test_runs_with_different_titles_have_the_registered_name_and_a_note():
    t = table([titled("Hospital A"), titled("Hospital B", seed=2)])
    assert t.title == "FolderDataset: accuracy (%)"
    note = 'runs with different titles (DATASET.TITLE): "Hospital A", "Hospital B"'
    assert note in t.notes and note in to_markdown(t)


def test_a_title_keeps_the_mark_of_phantoms_and_stays_out_of_machines_files():
    runs = [run(runtime={"title": "Cervix OCT"})]
    assert table(runs).title == "Cervix OCT (phantom data): accuracy (%)"
    groups = group_runs(runs)
    assert "Cervix" not in to_csv(groups) + to_json(summary(groups, runs))


def test_what_looks_like_markup_is_printed_as_it_is(capsys):
    """rich reads [timm:resnet18] as a style, and left it out of the row."""
    two = [run(backbone="timm:resnet18"), run(backbone="embeddings:e")]
    print_table(table(two))
    assert "CoOp [timm:resnet18]" in capsys.readouterr().out
