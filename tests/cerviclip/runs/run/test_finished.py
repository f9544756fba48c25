"""A finished run and its title: a new one changes nothing else in results.json."""

import json
from pathlib import Path

import pytest
from run_fixtures import whole_results

from cerviclip.locks import AtWorkError, claimed
from cerviclip.runs.results_json import read_results, write_results
from cerviclip.runs.run.finished import relabel, retitle
from cerviclip.runs.run.runner import run_one
from dassl.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    write_results(tmp_path, whole_results(runtime={"host": "here"}))
    return tmp_path


def test_only_the_title_changes(folder):
    before = json.loads((folder / "results.json").read_text())
    assert retitle(folder, "Hospital A")
    after = json.loads((folder / "results.json").read_text())
    assert after.pop("runtime") == {"host": "here", "title": "Hospital A"}
    assert before.pop("runtime") == {"host": "here"} and after == before
    assert list(after) == list(before)
    assert read_results(folder)["runtime"]["title"] == "Hospital A"


@pytest.mark.parametrize("title", ["", "Hospital A"])
def test_no_title_and_the_same_title_leave_the_file_alone(folder, title):
    retitle(folder, "Hospital A")
    stamp = (folder / "results.json").stat().st_mtime_ns
    assert not retitle(folder, title)
    assert (folder / "results.json").stat().st_mtime_ns == stamp
    assert not retitle(folder / "none", "Hospital A")


def test_a_file_that_cannot_be_written_is_told(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dassl.utils.files.atomic_write", full)
    with pytest.raises(UserError, match="results.json cannot be given the title 'B'.*No space"):
        retitle(folder, "B")


def test_a_run_at_work_is_left_alone(folder):
    with claimed(folder):
        with pytest.raises(AtWorkError):
            retitle(folder, "B")
        assert retitle(folder, "B", held=True)


def test_a_finished_run_takes_another_title_and_is_not_made_again(zoo, tmp_path, capsys):
    flags = ("ZooLinear", "2", "--output-dir", str(tmp_path / "run"))
    first = run_one(zoo.cfg(*flags), echo=False)
    assert "title" not in first["runtime"]
    second = run_one(zoo.cfg(*flags, DATASET__TITLE="Hospital A"))
    assert second["runtime"].pop("title") == "Hospital A" and second == first
    assert "its title is now 'Hospital A'" in capsys.readouterr().out
    assert run_one(zoo.cfg(*flags))["runtime"]["title"] == "Hospital A"


def test_a_new_run_keeps_its_title_under_runtime(zoo, tmp_path):
    flags = ("ZooLinear", "2", "--output-dir", str(tmp_path / "run"))
    results = run_one(zoo.cfg(*flags, DATASET__TITLE="Hospital A"), echo=False)
    assert results["runtime"]["title"] == "Hospital A" and results["dataset"] == "ZooMain"
    assert "Hospital A" not in json.dumps({k: v for k, v in results.items() if k != "runtime"})


def test_a_finished_run_takes_another_variant_and_nothing_else(zoo, tmp_path, capsys):
    flags = ("ZooLinear", "2", "--output-dir", str(tmp_path / "run"))
    first = run_one(zoo.cfg(*flags), variant="one", echo=False)
    again = run_one(zoo.cfg(*flags), variant="other")
    assert "its variant is now 'other'" in capsys.readouterr().out
    assert again == first | {"variant": "other"}
    assert run_one(zoo.cfg(*flags), echo=False)["variant"] == "other"  # the flag is not given


def test_a_variant_that_cannot_be_written_is_told(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    assert relabel(folder, "B") and not relabel(folder, "B") and not relabel(folder, "default")
    assert not relabel(folder / "none", "B")
    monkeypatch.setattr("dassl.utils.files.atomic_write", full)
    with pytest.raises(UserError, match="cannot be given the variant 'C'.*leave --variant out"):
        relabel(folder, "C")


def test_a_folder_that_is_called_by_the_variant_keeps_it(zoo, capsys):
    place = zoo.out / "ZooMain" / "ZooLinear" / "none" / "one" / "shots_2" / "seed_1"
    flags = ("ZooLinear", "2", "--output-dir", str(place))
    run_one(zoo.cfg(*flags), variant="one", echo=False)
    assert run_one(zoo.cfg(*flags), variant="other")["variant"] == "one"
    assert "its variant stays 'one'" in capsys.readouterr().out
