"""One trainer minus each other, as a user types it."""

import pytest

from cerviclip.tools import compare
from dassl.errors import cli_main


@pytest.mark.parametrize(
    "form, words",
    [("md", "| test | ZeroShotCLIP | - |"), ("latex", "CoOp minus each other"),
     ("csv", "ZeroShotCLIP,RN50,default,1,0,balanced_accuracy,1;2,test,,,,,,,,a run has no"),
     ("json", '"against": "CoOp"')],
)  # fmt: skip
def test_differences_in_every_format(folder, capsys, form, words):
    """These runs have no predictions.csv: a reason stands where a number would."""
    assert cli_main(compare.main, [str(folder), "--against", "CoOp", "--format", form]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, words",
    [(["--centers", "test"], "--against"), (["--against", "Coop"], "did you mean 'CoOp'"),
     (["--against", "CoOp", "--metric", "binary.x"], "no comparison of 'binary.x'"),
     (["--against", "CoOp", "--metric", "auc"], "of 'auc', did you mean binary.auc or macro_auc")],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(folder, capsys, flags, words):
    assert cli_main(compare.main, [str(folder), *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("form", ["md", "latex", "csv", "json"])
def test_nothing_to_compare_is_said(folder, capsys, form):
    words = [str(folder / "CoOp"), "--against", "CoOp", "--format", form]
    assert cli_main(compare.main, words) == 2
    said = capsys.readouterr()
    assert "to compare with CoOp: no other method of its data sets has runs" in said.err
    assert said.out == ""
