"""``cerviclip predict``: a CSV that goes on where it stopped, verdicts, and what was not read."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cerviclip.app.table.verdicts import verdicts
from cerviclip.app.web.basis import coinciding, rests_on
from cerviclip.app.web.texts import Texts
from cerviclip.cli import main
from helpers import write_images

RESEARCH = "Research use only"


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def new(tmp_path) -> Path:
    """Twelve pictures of four patients in two folders, a broken file, and one of no patient."""
    folder = tmp_path / "new"
    write_images(folder, {"a": 6, "b": 6}, patients=2, seed=3)
    shutil.copy(next((folder / "a").iterdir()), folder / "nobody.png")
    (folder / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "scan.dcm").touch()
    return folder


def test_a_row_a_picture_and_a_verdict_a_patient(probe, predictor, new, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["predict", str(probe), str(new), "--csv", str(out)]) == 1  # one file is broken
    said = capsys.readouterr().out
    assert said.count(RESEARCH) == 2 and "mean of the probabilities" in said
    few = rests_on(Texts("en"), predictor.knowledge.home)
    assert few and f"{few}\n" in said
    for told in coinciding(Texts("en"), predictor.knowledge.home.thresholds, "val"):
        assert f"{told}\n" in said
    assert "1 image could not be read" in said and f"{new}/b/broken.png: " in said
    assert ".dcm" in said
    rows = rows_of(out)
    answers = {answer.path: answer for answer in predictor.predict(new)}
    assert [row["path"] for row in rows] == list(answers) and len(rows) == 14
    for row in rows:
        answer = answers[row["path"]]
        assert row["error"] == answer.error and row["prediction"] == answer.predicted
        assert row["model"] == predictor.model_id and row["use"] == "research only"
        probs = [row[f"p_{name}"] for name in answer.classnames]
        assert probs == (list(map(repr, answer.probabilities)) or [""] * 3)
        if not answer.error:
            assert float(row["positive_probability"]) == answer.positive_probability
    assert {row["patient_id"] for row in rows} == {"", *(r["patient_id"] for r in rows[:12])}
    of_patients = rows_of(tmp_path / "out_patients.csv")
    assert len(of_patients) == 4 and {v["pictures"] for v in of_patients} == {"3"}
    for verdict in of_patients:
        own = [r for r in rows if r["patient_id"] == verdict["patient_id"]]
        mean = [np.mean([float(r[f"p_{name}"]) for r in own]) for name in predictor.classnames]
        assert [float(verdict[f"p_{n}"]) for n in predictor.classnames] == pytest.approx(mean)
        assert verdict["prediction"] == predictor.classnames[int(np.argmax(mean))]
        assert "mean" in verdict["rule"] and verdict["use"] == "research only"
        unlike = sum(r["out_of_distribution"] == "true" for r in own)
        assert verdict["pictures_out_of_distribution"] == str(unlike)


def test_a_patient_is_told_with_her_images_that_are_unlike_the_training(
    probe, predictor, new, tmp_path, capsys
):
    out = tmp_path / "out.csv"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("white", "black", "blue", "gray")]
    strange = max([Image.fromarray(noise), *plain], key=lambda i: predictor.predict(i).ood_score)
    assert predictor.predict(strange).out_of_distribution
    first = sorted((new / "a").iterdir())[0]
    strange.save(first.with_name(first.name.replace("img_", "img_9")))
    for extra in ([], ["--csv", str(out)], ["--csv", str(out)]):  # the last reads the file alone
        there = out.exists()
        main(["predict", str(probe), str(new), *extra])
        said = capsys.readouterr().out
        newly = re.search(r"(\d+) of them (?:is|are) unlike the training images", said)
        assert bool(newly) == bool(extra and not there)
        if newly:
            marked = [row["out_of_distribution"] == "true" for row in rows_of(out)]
            assert int(newly[1]) == sum(marked)
        patients = said[said.index("patients (") :]
        assert re.search(r"unlike the training images: \d of the patient's 4", patients)
    told = [
        int(row["pictures_out_of_distribution"]) for row in rows_of(tmp_path / "out_patients.csv")
    ]
    assert max(told) >= 1


def test_a_verdict_without_likeness_says_nothing_of_it():
    answers = [("P1", [0.2, 0.8], None), ("P1", [0.4, 0.6], True), ("P2", [0.5, 0.5], False)]
    assert [found.unlike for found in verdicts(answers, ("a", "b"), ("b",)).patients] == [None, 0]


def test_counts_are_of_what_was_read_and_of_whom(probe, new, tmp_path, capsys):
    pytest.importorskip("fpdf")
    out, pdf = tmp_path / "out.csv", tmp_path / "r.pdf"
    for file in [*sorted((new / "a").iterdir())[1:], *(new / "b").glob("M*")]:
        file.unlink()
    words = ["predict", str(probe), str(new)]
    left_out = "1 image belongs to no patient and is left out"
    assert main(words) == 1  # on the screen
    assert f"\n  {left_out}\n" in capsys.readouterr().out
    assert main([*words, "--csv", str(out), "--pdf", str(pdf)]) == 1
    said = capsys.readouterr().out
    assert f"\n2 of 3 images predicted: {out}\n" in said
    assert f"\n1 patient: {tmp_path / 'out_patients.csv'}\n" in said
    assert f"\n  {left_out} (patient_id is empty in {out})\n" in said
    assert f"report on 3 images (1 could not be read): {pdf}\n" in said
    (new / "nobody.png").unlink()
    main([*words, "--csv", str(tmp_path / "fresh.csv")])
    assert "no patient" not in capsys.readouterr().out


def test_a_patient_without_a_readable_image_is_named(probe, new, tmp_path, capsys):
    (new / "b" / "M0001_2021_P9999999_img_000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["predict", str(probe), str(new), "--csv", str(tmp_path / "out.csv")]) == 1
    said = capsys.readouterr().out
    assert "4 patients: " in said
    assert "without a row, as no image of theirs could be read: P9999999\n" in said


def test_on_the_screen_a_line_a_picture(probe, new, tmp_path, capsys):
    files = sorted((new / "a").iterdir())[:2]
    assert main(["predict", str(probe), *map(str, files)]) == 0
    said = capsys.readouterr().out
    for file in files:
        assert f"{file}: " in said
    assert said.count(RESEARCH) == 2 and "positive" in said
    assert "small numbers" not in said  # no threshold and no calibrated value is shown
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_it_goes_on_where_it_was_killed(probe, new, tmp_path, capsys):
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    main(["predict", str(probe), str(new), "--csv", str(whole)])
    lines = whole.read_bytes().splitlines(keepends=True)
    for cut in (b"", lines[6][:-1], lines[6][:9], lines[6][:1]):
        out.write_bytes(b"".join(lines[:6]) + cut)  # five rows and a part of the sixth
        capsys.readouterr()
        main(["predict", str(probe), str(new), "--csv", str(out)])
        said = capsys.readouterr().out
        assert "5 of 14 images are in" in said and "8 of 9 images predicted" in said
        assert [row["path"] for row in rows_of(out)] == [row["path"] for row in rows_of(whole)]
        assert len(rows_of(tmp_path / "out_patients.csv")) == 4


def test_a_mended_file_is_tried_again_and_nothing_else(probe, new, tmp_path, capsys):
    out = tmp_path / "out.csv"
    words = ["predict", str(probe), str(new), "--csv", str(out)]
    assert main(words) == 1
    shutil.copy(new / "nobody.png", new / "b" / "broken.png")
    capsys.readouterr()
    assert main(words) == 0
    assert "1 image predicted" in capsys.readouterr().out
    rows = rows_of(out)
    assert len(rows) == 14 and not any(row["error"] for row in rows)
    before = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == before


def test_errors_of_pictures_that_are_not_asked_for_stay(probe, new, tmp_path):
    out = tmp_path / "out.csv"
    main(["predict", str(probe), str(new), "--csv", str(out)])
    assert main(["predict", str(probe), str(new / "a"), "--csv", str(out)]) == 0
    assert sum(bool(row["error"]) for row in rows_of(out)) == 1


def one_line(capsys, words) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_another_files_content_is_never_touched(probe, new, tmp_path, capsys):
    out = tmp_path / "out.csv"
    out.write_text("name,diagnosis\nx,y\n")
    assert "has the columns name, diagnosis" in one_line(capsys, [probe, new, "--csv", out])
    assert out.read_text() == "name,diagnosis\nx,y\n"
    main(["predict", str(probe), str(new / "a"), "--csv", str(tmp_path / "own.csv")])
    text = (tmp_path / "own.csv").read_text()
    model = rows_of(tmp_path / "own.csv")[0]["model"]
    for changed, word in (
        (text.replace(model, "0" * 12), "holds answers of the model 000000000000"),
        (re.sub(r",research only,.*\n", "\n", text, count=2), "columns"),
    ):
        out.write_text(changed)
        assert word in one_line(capsys, [probe, new, "--csv", out])
        assert out.read_text() == changed
    assert "is a folder" in one_line(capsys, [probe, new, "--csv", tmp_path])
    assert "cannot be written" in one_line(capsys, [probe, new, "--csv", out / "below_a_file.csv"])


def test_what_is_not_there_is_said_before_anything_is_loaded(probe, tmp_path, capsys):
    assert "no image or folder" in one_line(capsys, [probe, tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    assert "no images in" in one_line(capsys, [probe, tmp_path / "empty"])


def test_a_run_without_patients_gives_no_verdicts(make_run, cells, new, tmp_path, capsys):
    run = make_run(
        "ZeroShotCLIP", cells, tmp_path / "run", "DATASET.PATIENT_PATTERN", "stem", shots="0"
    )
    out = tmp_path / "out.csv"
    main(["predict", str(run), str(new / "a"), "--csv", str(out)])
    assert not (tmp_path / "out_patients.csv").exists()
    assert not any(row["patient_id"] or row["positive_probability"] for row in rows_of(out))


def test_folders_tell_the_patient_where_names_do_not():
    from cerviclip.app.table.verdicts import PatientFinder

    patient_of = PatientFinder(r"(P\d{3})")
    assert patient_of("P001_a.png") == patient_of("P001/a.png") == patient_of("x/P001/b/a.png")
    assert patient_of("P001/P002_a.png") == "P002" and patient_of("a.png") == ""
    assert PatientFinder("")("P001.png") == PatientFinder("stem")("P001.png") == ""


@pytest.mark.parametrize("score, says", [(0.9, True), (0.1, False), (None, False)])
def test_the_line_on_screen_says_what_is_unlike_the_training(score, says):
    from cerviclip.app.answer import Prediction
    from cerviclip.app.predict_command import in_words

    answer = Prediction(("a", "b"), (0.9, 0.1), ("b",), ood_score=score, ood_threshold=0.5)
    assert in_words(answer).startswith("a 90.0 %, positive 10.0 %")
    caution = ". Caution: the image is less like the training images (distance 0.9) than 95 % of "
    assert in_words(answer).endswith(f"{caution}the val images (threshold 0.5).") is says
    assert ("raining images" in in_words(answer)) is says


def test_the_csv_names_pictures_as_the_pdf_does(probe, new, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    pytest.importorskip("fpdf")
    out, pdf = tmp_path / "out.csv", tmp_path / "report.pdf"
    words = ["predict", str(probe), str(new / "b"), "--csv", str(out)]
    main(words)
    assert [row["number"] for row in rows_of(out)] == list(map(str, range(1, 8)))
    main([*words, "--pdf", str(pdf), str(new / "a")])  # goes on, with more pictures in one report
    main(
        [
            "predict",
            str(probe),
            str(new / "a"),
            str(new / "b"),
            "--csv",
            str(out),
            "--pdf",
            str(pdf),
        ]
    )
    rows = rows_of(out)
    numbers = [int(row["number"]) for row in rows]
    assert sorted(numbers) == list(range(1, 14)) and numbers != sorted(numbers)
    pages = "".join("".join(p.extract_text().split()) for p in pypdf.PdfReader(pdf).pages)
    for row in rows:
        assert row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()
        if not row["error"]:
            name = f"Image{row['number']}of13SHA-256ofthefile:{row['sha256']}"
            assert name in pages, row["path"]
    main(["predict", str(probe), str(new / "a"), "--csv", str(out)])
    assert {row["number"] == "" for row in rows_of(out) if "/b/" in row["path"]} == {True}
    assert list(rows[0])[-2:] == ["number", "sha256"]  # who reads by position reads on


def test_ctrl_c_says_what_the_csv_holds(probe, predictor, new, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out.csv"
    words = ["predict", str(probe), str(new), "--csv", str(out)]
    real = type(predictor).predict_iter

    def stopped(self, source, on_read=None):
        yield from real(self, list(source)[:5], on_read)
        raise KeyboardInterrupt

    monkeypatch.setattr("cerviclip.app.predict_command._ROWS", 5)
    monkeypatch.setattr(type(predictor), "predict_iter", stopped)
    assert main(words) == 130
    said = f"interrupted: 5 of 14 images have a row in {out} and stay; the same command continues\n"
    assert capsys.readouterr().err.endswith(said)
    monkeypatch.undo()
    main(words)
    assert "5 of 14 images are in" in capsys.readouterr().out and len(rows_of(out)) == 14


def test_the_folder_above_a_run_names_the_runs(probe, new, tmp_path, capsys):
    for name in "abcdefg":
        shutil.copytree(probe, tmp_path / "runs" / name / "seed_1")
    above, runs = tmp_path / "runs", [tmp_path / "runs" / name / "seed_1" for name in "abcdefg"]
    for words in (
        ["predict", above, new], ["explain", above, new], ["export", above, tmp_path / "e"],
        ["serve", above], ["web", above], ["errors", above], ["robustness", above],
        ["attention", above, new], ["train", "--eval-only", "--model-dir", above],
    ):  # fmt: skip
        capsys.readouterr()
        assert main([*map(str, words)]) == 2, words
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and ", and more" in error, error
        assert [str(run) in error for run in runs] == [True] * 5 + [False] * 2, words


def test_a_csv_of_an_older_version_goes_on(probe, new, tmp_path):
    out = tmp_path / "out.csv"
    words = ["predict", str(probe), str(new / "a"), "--csv", str(out)]
    main(words)
    lines = out.read_text().splitlines()
    out.write_text("".join(line.rsplit(",", 2)[0] + "\n" for line in lines[:4]))
    assert main(words) == 0
    rows = rows_of(out)
    assert [row["number"] for row in rows] == list("123456")
    assert [bool(row["sha256"]) for row in rows] == [False] * 3 + [True] * 3


def test_a_path_of_nothing_is_not_the_working_folder(probe, capsys):
    """An unset variable of the shell predicted every picture below the working folder."""
    assert "a PATH is empty" in one_line(capsys, [probe, ""])


def test_a_table_is_not_lost_to_the_report_of_its_name(probe, new, tmp_path, capsys):
    out, same = tmp_path / "out", tmp_path / "new" / ".." / "out"
    argv = [probe, new / "nobody.png", "--csv", out, "--pdf", same]
    assert "name two files" in one_line(capsys, argv) and not out.exists()


def test_a_folder_of_scans_says_how_they_are_read(probe, tmp_path, capsys):
    for name in ("1.dcm", "2.DCM"):
        (tmp_path / "scans" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "scans" / name).touch()
    said = one_line(capsys, [probe, tmp_path / "scans"])
    assert "they hold 2 .dcm" in said and "FOLDER/*.dcm" in said


def test_a_pipe_is_told_and_not_waited_for(probe, predictor, new, capsys):
    os.mkfifo(new / "pipe.png")
    assert main(["predict", str(probe), str(new)]) == 1
    assert "pipes, sockets or devices, not read: new/pipe.png" in capsys.readouterr().out
    assert "is no file" in predictor.predict(new / "pipe.png").error


def test_why_nothing_is_left_for_a_report_is_said(probe, new, tmp_path, capsys):
    pytest.importorskip("fpdf")
    folder = tmp_path / "no_text"
    folder.mkdir()
    shutil.copy(new / "nobody.png", os.fsencode(folder) + b"/\xff.png")
    assert main(["predict", str(probe), str(folder), "--pdf", str(tmp_path / "r.pdf")]) == 2
    said = capsys.readouterr()
    assert "no image is left" in said.err and "its name is not UTF-8" in said.out
