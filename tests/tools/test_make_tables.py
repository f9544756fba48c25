"""The two tools that read a folder of runs, as a user types them."""

import pytest

from cerviclip.tools import make_tables, plot_curves
from dassl.errors import cli_main


@pytest.mark.parametrize(
    "form, words",
    [("md", "| test | ZeroShotCLIP | 30.0 |"), ("latex", r"CoOp & 45.0 $\pm$ 7.1 \\"),
     ("csv", "Herlev,CoOp,RN50,default,1,test,accuracy,2,45.0"), ("json", '"mean": 45.0')],
)  # fmt: skip
def test_tables_in_every_format(folder, capsys, form, words):
    assert cli_main(make_tables.main, [str(folder), "--format", form]) == 0
    assert words in capsys.readouterr().out


def test_table_of_another_metric_into_a_file(folder, tmp_path, capsys):
    out = tmp_path / "t.md"
    argv = [str(folder), "--metric", "per_class.a.f1", "--output", str(out)]
    assert cli_main(make_tables.main, argv) == 0
    assert "12.5" in out.read_text() and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "argv, words", [(["/no/such/folder"], "/no/such/folder"), ([".", "--metric", "acc"], "'acc'")]
)
@pytest.mark.parametrize("tool", [make_tables, plot_curves])
def test_errors_are_one_line(tool, argv, words, capsys):
    assert cli_main(tool.main, argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_curves_and_confusion_matrices(folder, tmp_path, capsys):
    out = tmp_path / "figures"
    assert cli_main(plot_curves.main, [str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.split()
    assert sorted(printed) == sorted(str(p) for p in out.iterdir())
    assert {p.name for p in out.iterdir()} == {
        "curves_Herlev_accuracy.png", "confusion_Herlev_CoOp_1.png",
        "confusion_Herlev_ZeroShotCLIP_0.png",
    }  # fmt: skip


def test_the_test_sets_of_a_federation_are_called_by_their_centre(federation, tmp_path, capsys):
    assert cli_main(make_tables.main, [str(federation)]) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("|")][2:]
    assert rows == [
        "| test of a | CoOp (federated-a) | 60.0 |",
        "|  | CoOp (local-a) | 50.0 |",
        "| test of b | CoOp (federated-b) | 80.0 |",
        "|  | CoOp (local-b) | 70.0 |",
        "| test of all | CoOp (pooled-all) | 90.0 |",
    ]
    assert "hardly comparable" not in said
    assert cli_main(plot_curves.main, [str(federation), "--out", str(tmp_path / "figures")]) == 0


def test_a_centre_whose_runs_were_split_in_two_ways_is_still_told(federation, capsys):
    path = federation / "local" / "a" / "results.json"
    path.write_text(path.read_text().replace("hash of a", "another"))
    assert cli_main(make_tables.main, [str(federation)]) == 0
    assert "hardly comparable" in capsys.readouterr().out


def test_one_centre_alone_and_csv_keep_the_name_test(federation, capsys):
    assert cli_main(make_tables.main, [str(federation / "local" / "a")]) == 0
    assert "| test | CoOp (local-a) | 50.0 |" in capsys.readouterr().out
    assert cli_main(make_tables.main, [str(federation), "--format", "csv"]) == 0
    assert ",test,accuracy," in capsys.readouterr().out  # as results.json has it


@pytest.mark.parametrize("tool", [make_tables, plot_curves])
@pytest.mark.parametrize(
    "metric, words",
    [
        ("per_class.c.f1", "no class 'c' in 'per_class.c.f1' (known: a, b)"),
        ("per_class.a.f2", "no measure 'f2' of a class in 'per_class.a.f2' (known: f1)"),
    ],
)
def test_a_class_that_no_run_has_is_refused(folder, capsys, tool, metric, words):
    assert cli_main(tool.main, [str(folder), "--metric", metric]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_a_class_without_a_value_anywhere_is_a_table_of_dashes(folder, capsys):
    assert cli_main(make_tables.main, [str(folder), "--metric", "per_class.b.f1"]) == 0
    assert "|  | CoOp | - |" in capsys.readouterr().out
