"""An export gives the run's answers without trainer, data or weights file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from cerviclip import Predictor
from cerviclip.app.export.graph import Program
from cerviclip.app.export_command import main
from dassl.errors import UserError


@pytest.fixture(scope="module")
def exported(probe, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "out"
    assert main([str(probe), str(out)]) == 0
    return out


def test_an_export_answers_as_its_run(predictor, exported, cells, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(exported, moved)
    other = Predictor.from_export(moved)
    paths = sorted(cells.rglob("*.png"))[::5]
    ours, theirs = predictor.predict(paths), other.predict(paths)
    wanted = np.array([a.probabilities for a in ours])
    assert np.ptp(wanted, axis=0).max() > 1e-4
    np.testing.assert_allclose([a.probabilities for a in theirs], wanted, rtol=0, atol=1e-6)
    for one, two in zip(ours, theirs, strict=True):
        assert one.conformal_sets == two.conformal_sets and one.reasons == two.reasons
        assert one.ood_score == pytest.approx(two.ood_score, abs=1e-5)
        assert one.ood_threshold == two.ood_threshold
        assert [n.path for n in one.neighbours] == [n.path for n in two.neighbours]
    assert other.model_id == predictor.model_id


def test_the_folder_names_no_place_of_this_machine(probe, exported, clip_weights):
    text = (exported / "export.json").read_text() + (exported / "MODEL_CARD.md").read_text()
    assert str(probe) not in text and str(clip_weights.parent) not in text
    for word in ("Intended use", "Research use only", "Training data", "Caveats"):
        assert word in text


def test_a_changed_export_is_refused(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "bad")
    with open(tmp_path / "bad" / "model.safetensors", "ab") as handle:
        handle.write(b"0")
    with pytest.raises(UserError, match="is not the one that export.json belongs to"):
        Predictor.from_export(tmp_path / "bad")
    with pytest.raises(UserError, match="no export in"):
        Predictor.from_export(tmp_path)


@pytest.mark.parametrize("name", ["reading.json", "task.json", "train_features.safetensors"])
def test_every_file_that_answers_depend_on_is_checked(exported, tmp_path, name):
    bad = shutil.copytree(exported, tmp_path / "bad")
    content = (bad / name).read_bytes()
    (bad / name).write_bytes(content + b"\n")
    with pytest.raises(UserError, match=f"{name} is not the one of the export"):
        Predictor.from_export(bad)
    (bad / name).unlink()
    with pytest.raises(UserError, match=f"{name} was lost"):
        Predictor.from_export(bad)
    (bad / name).write_bytes(content)
    assert Predictor.from_export(bad).classnames


@pytest.mark.parametrize("key", ["identity", "input", "results"])
def test_a_changed_record_is_refused(exported, tmp_path, key):
    bad = shutil.copytree(exported, tmp_path / "bad")
    record = json.loads((bad / "export.json").read_text())
    changed = "0" * 64 if key == "identity" else {**record[key], "other": 1}
    (bad / "export.json").write_text(json.dumps(record | {key: changed}))
    with pytest.raises(UserError, match="export.json was changed after it was written"):
        Predictor.from_export(bad)


def test_an_export_of_before_the_hashes_is_read(exported, predictor, tmp_path):
    old = shutil.copytree(exported, tmp_path / "old")
    record = json.loads((old / "export.json").read_text())
    left = {key: value for key, value in record.items() if key not in ("files", "sha256")}
    assert len(left) == len(record) - 2
    (old / "export.json").write_text(json.dumps(left))
    assert Predictor.from_export(old).model_id == predictor.model_id


def test_a_program_calls_nothing_but_aten(exported):
    values = json.loads((exported / "export.json").read_text())["programs"]["head"]
    values["steps"][0][1] = "builtins.eval"
    with pytest.raises(UserError, match="builtins.eval"):
        Program.from_json(values, {})


def test_another_folder_is_not_written_over(probe, cells):
    with pytest.raises(UserError, match="holds something else"):
        main([str(probe), str(cells)])


def test_an_export_is_replaced_whole_and_its_place_is_printed(probe, exported, tmp_path, capsys):
    out = shutil.copytree(exported, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="something else than an export .notes.txt.; name a new"):
        main([str(probe), str(out)])
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    (out / "model.onnx").write_bytes(b"of the model before")
    assert main([str(probe), str(out)]) == 0
    assert f"replaced {out}: model.safetensors" in capsys.readouterr().out
    assert not (out / "model.onnx").exists() and Predictor.from_export(out).classnames
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_export_leaves_the_one_before(probe, exported, tmp_path, monkeypatch):
    from cerviclip.app.export import folder

    out = shutil.copytree(exported, tmp_path / "out")
    (out / "MODEL_CARD.md").write_text("of the model before")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_record", full)
    with pytest.raises(OSError, match="No space"):
        main([str(probe), str(out)])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_is_loaded_in_silence(exported, capsys):
    capsys.readouterr()
    Predictor.from_export(exported)
    assert capsys.readouterr().out == ""


def test_an_export_into_a_linked_folder_goes_where_the_link_leads(exported, probe, tmp_path):
    """The link was replaced by a folder, and its own folder kept the old export."""
    target, link = tmp_path / "disk" / "export", tmp_path / "out"
    shutil.copytree(exported, target)
    (target / "task.json").write_text("{}")
    link.symlink_to(target)
    assert main([str(probe), str(link)]) == 0
    assert link.is_symlink() and (target / "task.json").read_text() != "{}"
    assert [path.name for path in target.parent.iterdir()] == ["export"]


def test_what_a_killed_export_left_goes_with_the_next(probe, tmp_path, capsys):
    """Of another process's name; the next export writes under its own."""
    left = tmp_path / ".out.new-1"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    other = tmp_path / ".other.new-1"
    other.mkdir()
    assert main([str(probe), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.new-1", "out"]


def test_an_export_that_was_killed_between_two_names_is_put_back(probe, exported, tmp_path):
    shutil.copytree(exported, tmp_path / ".out.old-1")
    assert main([str(probe), str(tmp_path / "out")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_exports_do_not_write_to_one_place(probe, tmp_path, capsys):
    from cerviclip.cli import main as cli
    from cerviclip.locks import claimed

    with claimed(tmp_path / "out"):
        (tmp_path / ".out.new-1").mkdir()  # of the one that is at work
        assert cli(["export", str(probe), str(tmp_path / "out")]) == 2
        assert (tmp_path / ".out.new-1").is_dir()
    assert "is at work on" in capsys.readouterr().err
