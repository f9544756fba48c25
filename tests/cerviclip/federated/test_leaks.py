"""What several centres of a federation on one machine have in common is found before training."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from cerviclip.federated import command
from cerviclip.federated.leaks import (
    NOT_LOOKED_FOR,
    check_centers,
    images_of,
    sentences,
    warnings_of,
)
from cerviclip.federated.plan import find_plan, read_plan
from cerviclip.federated.record import RECORD, folder_of, read_record, write_leaks
from dassl.errors import UserError

WHOLE = {"rounds": [], "bytes_up": 1, "bytes_down": 1, "encrypted": True}


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(command, "_check_installed", lambda insecure: None)


def copies(tmp_path, count, rename):
    """The first files of a class of ``east``, copied to ``west`` under their name or another."""
    for path in sorted((tmp_path / "east" / "a").iterdir())[:count]:
        shutil.copy(path, tmp_path / "west" / "a" / rename.format(path.name))


@pytest.mark.parametrize("rename", ["{}", "M0001_2021_P0777777_{}"])
def test_an_image_of_two_centres_is_refused_before_anything_is_trained(
    plan, tmp_path, installed, rename
):
    copies(tmp_path, 5, rename)
    with pytest.raises(UserError, match=r"^5 of the 41 images of centre west are of centre east"):
        command.run_here(plan, tmp_path / "out")
    assert not list(tmp_path.glob("out/*/*/results.json"))


def test_pixels_saved_anew_are_the_same_image(plan, tmp_path, installed):
    path = min((tmp_path / "east" / "a").iterdir())
    Image.open(path).save(tmp_path / "west" / "a" / f"{path.stem}.bmp")
    with pytest.raises(UserError, match=r"^1 of the 37 images of centre west is of centre east"):
        command.run_here(plan, tmp_path / "out")


def test_a_folder_that_is_named_twice_is_refused(write_plan, tmp_path, installed):
    path = write_plan()
    path.write_text(path.read_text().replace(str(tmp_path / "west"), str(tmp_path / "east")))
    with pytest.raises(UserError, match=r"^36 of the 36 images of centre west"):
        command.run_here(read_plan(path), tmp_path / "out")


def test_an_external_centre_is_none_of_the_federations(write_plan, tmp_path, installed):
    """Local training may be tested there, the averaged weights have learned from it."""
    path = write_plan()
    site = f"{{dataset: FolderDataset, root: {tmp_path / 'east'}"
    opts = f", opts: {{DATASET.EXTERNAL_FOLDERS: {{elsewhere: {tmp_path / 'west'}}}}}"
    path.write_text(path.read_text().replace(site, site + opts))
    with pytest.raises(UserError, match=r"centre east is tested on elsewhere .* centre west"):
        command.run_here(read_plan(path), tmp_path / "out")


def test_centres_of_other_classes_are_refused_before_training(plan, tmp_path, installed):
    (tmp_path / "west" / "c").rename(tmp_path / "west" / "d")
    with pytest.raises(UserError, match=r"centres east and west have different classes \(a, b, c;"):
        command.run_here(plan, tmp_path / "out")


def test_patients_with_the_same_name_are_told_and_put_on_record(plan, tmp_path, capsys):
    first, second = sorted((tmp_path / "west" / "a").iterdir())[:2]
    for path, patient in ((first, "P0000000"), (second, "P0000001")):  # patients of east
        path.rename(path.with_name(f"M0001_2021_{patient}_img_new.png"))
    leaks = command._leaks_between(plan, tmp_path / "out", True)
    said = capsys.readouterr().out
    assert "Warning: centres east and west share 2 patient ids (such as P0000000)" in said
    assert [pair["shared_patient_ids"] for pair in leaks] == [0, 2, 0]
    (tmp_path / RECORD).write_text(json.dumps(WHOLE))
    write_leaks(tmp_path, leaks)
    assert read_record(tmp_path)["leaks"] == leaks
    assert any("share 2 patient ids" in text for text in sentences(leaks))


def test_patients_whom_nobody_knows_are_no_finding(write_plan, tmp_path):
    path = write_plan()
    path.write_text(path.read_text().replace("DATASET.PATIENT_PATTERN: '(P\\d{7})', ", ""))
    leaks = check_centers(images_of(read_plan(path), tmp_path / "out"))
    assert {pair["shared_patient_ids"] for pair in leaks} == {None} and warnings_of(leaks) == []
    assert "east and north have patients in common is not known" in " ".join(sentences(leaks))


def test_where_images_stay_apart_the_table_says_that_nobody_looked(plan, tmp_path):
    """A record of a server, and runs that were carried together."""
    out = tmp_path / "out"
    out.mkdir()
    (out / RECORD).write_text(json.dumps(WHOLE))
    assert command._leaks_between(plan, out, to_do=False) is not None, "the images are here"
    shutil.rmtree(tmp_path / "west")
    assert command._leaks_between(plan, out, to_do=False) is None
    assert sentences(read_record(out).get("leaks")) == [NOT_LOOKED_FOR]
    clean = [{"centers": ["east", "west"], "images_in_both": 0, "shared_patient_ids": 0}]
    write_leaks(out, clean)
    assert sentences(read_record(out)["leaks"]) == [
        "No image of one centre was found at another, as the same file or as a copy, and no "
        "patient id of one centre at another."
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantom_coop", "phantom_lora"])
def test_centres_that_share_a_data_set_pass_with_images_of_their_own(name, tmp_path):
    plan = read_plan(find_plan(name), str(tmp_path))
    found = images_of(plan, tmp_path / "out")
    leaks = check_centers(found)
    assert [pair["images_in_both"] for pair in leaks] == [0, 0, 0] and warnings_of(leaks) == []
    assert not folder_of(tmp_path / "out", "local", "mixed").exists()
