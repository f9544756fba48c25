"""results.md says what its numbers are of."""

import pytest

from cerviclip.runs.report.groups import group_runs
from cerviclip.runs.sweep.about import about_lines


@pytest.fixture
def run(tmp_path):
    def make(seed=1, fold="", positive=("CIN2", "CIN3"), **centers):
        folder = tmp_path / f"{seed}{fold[:1]}"
        folder.mkdir()
        external = f"{{HospitalB: {tmp_path}/their/images_b}}"
        data = f"{{FOLDER: '', FILE: {tmp_path}/mine/cases.csv, EXTERNAL_FOLDERS: {external}}}"
        (folder / "config.yaml").write_text(f"DATASET: {data}\n")
        return {
            "status": "done", "dataset": "FolderDataset", "trainer": "T", "backbone": "B",
            "variant": "default", "shots": 4, "fold": fold, "seed": seed, "test_read_early": False,
            "centers": centers, "positive_classes": list(positive), "folder": str(folder),
        }  # fmt: skip

    return make


def test_group_sizes_and_names_of_folders(run, tmp_path):
    test = {"n_images": 1200, "n_patients": 60}
    nameless = {"n_images": 199, "n_patients": 199, "uncertainty": {"unit": "image"}}
    [line] = about_lines(group_runs([run(test=test, HospitalB=nameless)]))
    assert line == (
        "- FolderDataset (list cases.csv); positive group: CIN2, CIN3; "
        "test: 1,200 images of 60 patients; "
        "HospitalB (folder images_b): 199 images, patients not known"
    )
    assert str(tmp_path) not in line


def test_runs_that_differ_are_spans_and_what_is_gone_is_left_out(run, tmp_path):
    runs = [run(n, f"{n}/2", (), test={"n_images": n, "n_patients": 1}) for n in (1, 2)]
    (tmp_path / "11" / "config.yaml").unlink()
    [line] = about_lines(group_runs(runs))
    assert line == "- FolderDataset; positive group: none; test: 1 to 2 images of 1 patient"


def test_the_title_is_told_instead_of_the_registered_name(run):
    one = run(test={"n_images": 1}) | {"runtime": {"title": "Cervix OCT"}}
    assert about_lines(group_runs([one]))[0].startswith("- Cervix OCT (list cases.csv); ")
