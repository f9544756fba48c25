"""`cerviclip check` finds each fault that is planted, tells where it lies, and is silent on a clean
set."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import planted_faults
import pytest
from datasets.test_cric import write_release as write_cric
from PIL import Image
from planted_faults import DESTRUCTIVE, FAULTS, PATTERN, picture, write_clean

from cerviclip.data.checks import copies
from cerviclip.data.checks.findings import KINDS
from cerviclip.data.checks.probe import probe, probe_all
from cerviclip.data.checks.run import check_survey
from cerviclip.data.checks.survey import survey_folder
from cerviclip.tools import check
from dassl.errors import UserError, cli_main
from helpers import write_images


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return write_clean(tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture
def copied(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def kinds(folder: Path, alike: bool = True) -> set[str]:
    found = check_survey(survey_folder(folder, PATTERN), alike=alike).findings
    return {finding.kind for finding in found}


def test_a_clean_set_has_no_finding(clean, capsys):
    assert cli_main(check.main, [str(clean), "--patients", PATTERN]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_a_clean_set_has_no_sheet(clean, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = [str(clean), "--patients", PATTERN, "--sheet", str(sheet)]
    assert cli_main(check.main, words) == 0
    assert f"nothing suspicious: {sheet} is not written" in capsys.readouterr().out
    assert not sheet.exists()


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_each_planted_fault_is_found(plant, copied):
    wanted = plant(copied)
    about_alike = any(kind.startswith("alike") for kind in wanted)
    assert wanted <= kinds(copied, about_alike)


def test_all_faults_together_with_json_and_sheet(copied, tmp_path, capsys):
    wanted: set[str] = set()
    for n, plant in enumerate(FAULTS):
        if plant not in DESTRUCTIVE:
            wanted |= plant(copied, f"P{500 + n}")
    assert len(wanted) >= 35
    target, sheet = tmp_path / "check.json", tmp_path / "sheet.png"
    words = [str(copied), "--patients", PATTERN, "--json", str(target), "--sheet", str(sheet)]
    assert cli_main(check.main, words) == 1
    record = json.loads(target.read_text(encoding="utf-8"))
    assert wanted <= {finding["kind"] for finding in record["findings"]}
    assert record["counts"]["beta"]["test"] == 3  # two clean ones and the leaking patient's
    assert record["patients"]["test"] == len(list(copied.glob("test/*/*.png")))
    truncated = next(f for f in record["findings"] if f["kind"] == "truncated")
    assert truncated["paths"] == ["train/alpha/P002.png", "train/alpha/P502.jpg"]
    with Image.open(sheet) as drawn:
        assert len(drawn.resize((120, 190)).getcolors(120 * 190)) > 1000
    assert "empty_file" in capsys.readouterr().out


@pytest.mark.slow
def test_every_kind_that_a_folder_can_have_is_planted(tmp_path):
    told = set()
    for plant in FAULTS:
        folder = write_clean(tmp_path / plant.__name__) if plant in DESTRUCTIVE else None
        told |= plant(folder) if folder else set()
    folder = write_clean(tmp_path / "others")
    for n, plant in enumerate(FAULTS):
        told |= set() if plant in DESTRUCTIVE else plant(folder, f"P{500 + n}")
    assert KINDS.keys() - told == {"refused", "release"}  # of a data set by its name


def test_exit_status_ignore_and_notes(copied, capsys):
    planted_faults.blank(copied)
    words = [str(copied), "--patients", PATTERN, "--no-alike"]
    assert cli_main(check.main, words) == 1
    assert cli_main(check.main, [*words, "--ignore", "blank"]) == 0
    assert "1 ignored" in capsys.readouterr().out
    assert cli_main(check.main, [*words, "--ignore", "blnk"]) == 2
    assert "did you mean 'blank'" in capsys.readouterr().err
    planted_faults.system_files(copied)
    assert cli_main(check.main, [*words, "--ignore", "blank"]) == 0  # a note
    for wrong in (["/nowhere/x"], [str(copied), "--jobs", "0"], [], [str(copied), "--sheet", "x"]):
        assert cli_main(check.main, wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_two_processes_see_what_one_sees(copied):
    planted_faults.truncated_png(copied)
    survey = survey_folder(copied, PATTERN)
    paths = [entry.path for entry in survey.entries]
    seen: list[str] = []
    two = probe_all(str(copied), paths, 2, True, lambda one: seen.append(one.path))
    assert two == [probe(str(copied), path) for path in paths]
    assert seen == paths


def test_a_dataset_is_read_as_training_reads_it(copied, tmp_path, capsys):
    shutil.copy(copied / "train/alpha/P001.png", copied / "test/beta/P901.png")
    words = ["FolderDataset", "--root", str(copied), "--json", str(tmp_path / "a.json")]
    assert cli_main(check.main, [*words, "--patients", PATTERN, "--no-alike"]) == 1
    record = json.loads((tmp_path / "a.json").read_text())
    assert {f["kind"] for f in record["findings"]} == {"bytes_across_parts", "bytes_across_classes"}
    assert record["split"] == "found" and record["patients_known"]


def test_what_the_reader_of_a_release_warns_of_is_a_finding(tmp_path):
    write_cric(tmp_path / "cric")
    (tmp_path / "cric" / f"{4:032x}.png").unlink()
    words = ["CRIC", "--root", str(tmp_path), "--json", str(tmp_path / "a.json"), "--no-alike"]
    assert cli_main(check.main, words) == 1
    findings = json.loads((tmp_path / "a.json").read_text())["findings"]
    [told] = [finding["text"] for finding in findings if finding["kind"] == "release"]
    assert "1 of 5 fields" in told and "7 of 31 cells are left out" in told


def test_what_training_refuses_is_a_finding_and_its_folder_is_looked_at(copied, tmp_path, capsys):
    planted_faults.patient_in_parts(copied)
    planted_faults.blank(copied)
    words = ["FolderDataset", "--root", str(copied), "--patients", PATTERN, "--no-alike"]
    assert cli_main(check.main, [*words, "--json", str(tmp_path / "a.json")]) == 1
    record = json.loads((tmp_path / "a.json").read_text())
    told = {finding["kind"]: finding["text"] for finding in record["findings"]}
    assert {"refused", "patient_leak", "blank"} <= told.keys() and "P001" in told["refused"]
    assert cli_main(check.main, ["FolderDataset", "--root", str(tmp_path / "nowhere")]) == 2


def test_turns_are_pillows():
    grey = np.arange(copies.THUMB**2, dtype=np.uint8).reshape(copies.THUMB, copies.THUMB)
    for way, transposition in enumerate([None, *Image.Transpose]):
        image = Image.fromarray(grey)
        wanted = image if transposition is None else image.transpose(transposition)
        assert np.array_equal(copies._turned(grey, way), np.asarray(wanted)), transposition


def test_frames_of_one_patient_may_be_alike(copied):
    for n, share in enumerate((1.0, 0.95)):
        frame = (picture(700) * share).astype(np.uint8)
        Image.fromarray(frame).save(copied / f"train/alpha/P700_{n}.png")
    assert not kinds(copied)
    survey = survey_folder(copied, "")  # nobody knows the patients
    assert {f.kind for f in check_survey(survey).findings} == {"alike"}


def test_without_imagehash_one_line_names_the_extra(clean, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    assert cli_main(check.main, [str(clean)]) == 2
    assert 'pip install -e ".[check]"' in capsys.readouterr().err
    assert cli_main(check.main, [str(clean), "--no-alike", "--patients", PATTERN]) == 0


def test_a_missing_folder_is_a_users_error(tmp_path):
    with pytest.raises(UserError):
        check.survey_of(check.build_parser("x").parse_args([str(tmp_path / "no/such")]))


def texts(folder: Path, pattern: str = PATTERN) -> str:
    found = check_survey(survey_folder(folder, pattern), alike=False).findings
    return "\n".join(f"{finding.kind}: {finding.text}" for finding in found)


def test_parts_under_unknown_words_and_classes_that_are_several_others(tmp_path):
    for part in ("fold0", "fold1"):
        write_images(tmp_path / "parts" / part, {"a": 5, "b": 5}, size=40, seed=ord(part[-1]))
    assert 'class_names: the classes "fold0" and "fold1" hold the same folders (a, b)' in (
        texts(tmp_path / "parts", "")
    )
    write_images(tmp_path / "several", {"a": 5, "b": 5, "a;b": 5}, size=40)
    assert 'class_names: the classes "a;b" are several of the others' in (
        texts(tmp_path / "several", "")
    )


def test_patients_in_two_spellings_and_colour_in_planes(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for n, (part, name) in enumerate([("train", "p{}_x.png"), ("test", "P{}_y.png")]):
        for paths in write_images(tmp_path / part, {"a": 5, "b": 5}, size=40, seed=n):
            paths.rename(paths.with_name(name.format(paths.stem[-1])))
    planes = np.random.default_rng(0).integers(0, 65536, (3, 40, 40)).astype(np.uint16)
    options = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "train" / "a" / "p9_z.tif", planes, **options)
    said = texts(tmp_path, r"([pP]\d+)_")
    assert "no_patient: 5 groups of patients differ only in capitals" in said
    assert "unreadable: " in said and "separate planes" in said


def test_folders_of_images_called_as_parts_with_numbers_are_classes(tmp_path):
    write_images(tmp_path, {"test1": 2, "test2": 2}, size=8)
    found = survey_folder(tmp_path)
    assert {entry.classname for entry in found.entries} == {"test1", "test2"} and not found.stray


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lost_rows_of_a_jpeg_are_told_from_a_border_and_from_a_picture(mode, tmp_path):
    pixels = np.array(Image.fromarray(picture(3, 64)).convert(mode))
    Image.fromarray(pixels).save(tmp_path / "whole.jpg")
    with_border = pixels.copy()
    with_border[:16] = with_border[-16:] = 128
    Image.fromarray(with_border).save(tmp_path / "border.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 2 // 3] + b"\xff\xd9")
    lost = {name: probe(str(tmp_path), f"{name}.jpg").lost_rows for name in ("whole", "border")}
    assert lost == {"whole": 0, "border": 0}
    assert 8 <= probe(str(tmp_path), "cut.jpg").lost_rows < 48
