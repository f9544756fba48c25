"""One run: its files, its states, and that nothing of it leaks into the next."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import accuracy_score, roc_auc_score

from cerviclip import plugins
from cerviclip.evaluation.names import BLOCKS
from cerviclip.locks import AtWorkError, claimed
from cerviclip.runs.measured import measure_files
from cerviclip.runs.results_json import KEYS, read_results
from cerviclip.runs.run import runner
from cerviclip.runs.run.runner import run_one, state_of
from cerviclip.runs.settings.config_hash import config_hash
from dassl.errors import UserError

SCHEMA_CENTER = {
    "n_images", "n_patients", "accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece",
    "per_class", "confusion_matrix", "binary",
}  # fmt: skip


def read(folder, name="results.json"):
    return json.loads((folder / name).read_text())


def test_a_run_leaves_every_file_of_the_contract(zoo):
    results = run_one(zoo.cfg(), echo=False)
    folder = zoo.out / "run"
    tables = ("history.csv", "predictions.csv", "val_predictions.csv")
    for name in ("config.yaml", "log.txt", "split.json", *tables):
        assert (folder / name).stat().st_size > 0, name
    assert (folder / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "history.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "model" / "model.pth.tar-2").is_file()
    assert all(any(path.iterdir()) for path in folder.iterdir() if path.is_dir())
    assert read_results(folder) == results


def test_results_have_the_schema_to_the_letter(zoo):
    results = run_one(zoo.cfg(), echo=False)
    assert tuple(results) == KEYS
    written = read(zoo.out / "run")
    assert tuple(written) == KEYS and written["schema_version"] == 2
    assert all(results[block] for block in BLOCKS)
    assert measure_files(zoo.out / "run") == {block: written[block] for block in BLOCKS}
    assert results["status"] == "done" and results["error"] is None
    assert (results["dataset"], results["trainer"], results["variant"]) == (
        "ZooMain", "ZooLinear", "default",
    )  # fmt: skip
    assert results["shots"] == 2 and results["seed"] == 1
    assert results["draw_hash"] == "zoo-2-1" and results["split_hash"] == "zoo-split"
    assert re.fullmatch("[0-9a-f]{64}", results["config_hash"])
    assert results["positive_classes"] == ["alpha"]
    assert results["test_read_early"] is False
    assert list(results["centers"]) == ["test", "ZooFar"]
    for entry in results["centers"].values():
        assert SCHEMA_CENTER <= set(entry)
    assert "seconds" in results["runtime"] and "device" in results["runtime"]
    assert "NaN" not in (zoo.out / "run" / "results.json").read_text()


def test_full_shots_are_called_full(zoo):
    assert run_one(zoo.cfg(shots="full"), echo=False)["shots"] == "full"


def test_missing_class_at_a_center_is_missing(zoo):
    far = run_one(zoo.cfg(), echo=False)["centers"]["ZooFar"]
    assert far["per_class"]["gamma"]["support"] == 0
    assert far["per_class"]["gamma"]["recall"]["value"] is None
    recalls = [far["per_class"][c]["recall"]["value"] for c in ("alpha", "beta")]
    assert far["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))


def test_predictions_file_gives_the_results_back(zoo):
    results = run_one(zoo.cfg(), echo=False)
    with open(zoo.out / "run" / "predictions.csv") as handle:
        rows = [row for row in csv.DictReader(handle) if row["center"] == "test"]
    assert len(rows) == results["centers"]["test"]["n_images"] == 30
    assert not rows[0]["path"].startswith("/")
    label, hat = [r["label"] for r in rows], [r["prediction"] for r in rows]
    test = results["centers"]["test"]
    assert 100 * accuracy_score(label, hat) == pytest.approx(test["accuracy"]["value"])
    probs = np.array([[float(r[f"p_{c}"]) for c in ("alpha", "beta", "gamma")] for r in rows])
    assert probs.sum(axis=1) == pytest.approx(1)
    auc = roc_auc_score([x == "alpha" for x in label], probs[:, 0])
    assert auc == pytest.approx(test["binary"]["auc"]["value"])
    assert {r["patient_id"] for r in rows} and all(r["patient_id"] for r in rows)


def test_split_file_names_who_was_drawn(zoo):
    run_one(zoo.cfg(), echo=False)
    record = read(zoo.out / "run", "split.json")
    assert len(record["train"]) == 6 and len(record["test"]) == 30
    assert set(record["train"][0]) == {"path", "label", "patient"}
    assert not record["train"][0]["path"].startswith("/")
    assert record["hash"]


def test_log_is_a_tee_with_upstreams_lines(zoo, capsys):
    run_one(zoo.cfg())
    log = (zoo.out / "run" / "log.txt").read_text()
    assert "***************\n** Config **\n***************" in log
    printed = log[log.index("Loading trainer") :]
    assert printed in (out := capsys.readouterr().out) and "** Config **" not in out
    assert re.search(r"epoch \[1/2\] batch \[1/\d+\]", log)
    assert "=> result\n* total: 30\n* correct: " in log
    assert len(re.findall(r"^\* accuracy: \d+\.\d%$", log, flags=re.M)) == 1
    assert "Finish training" in log and "ZooFar: 24 images" in log
    assert log.index("Finish training") < log.index("=> result")


def test_console_is_given_back_and_stays_silent_in_sweeps(zoo, capsys):
    before = sys.stdout
    run_one(zoo.cfg(), echo=False)
    assert sys.stdout is before
    assert capsys.readouterr().out == ""
    assert "=> result" in (zoo.out / "run" / "log.txt").read_text()


def test_history_has_a_line_per_epoch(zoo):
    run_one(zoo.cfg(OPTIM__MAX_EPOCH="3"), echo=False)
    with open(zoo.out / "run" / "history.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["loss"]) > 0 and float(rows[0]["lr"]) == pytest.approx(0.2)


def test_a_history_of_the_trainers_own_is_not_taken_for_ours(zoo, monkeypatch):
    """Published trainers keep lists of losses under this name."""
    cfg = zoo.cfg()
    kind = plugins.ensure_loaded("trainer", "ZooLinear")
    before_train = kind.before_train

    def with_history(self):
        before_train(self)
        self.history = {"loss": []}

    monkeypatch.setattr(kind, "before_train", with_history)
    assert run_one(cfg, echo=False)["status"] == "done"
    with open(zoo.out / "run" / "history.csv") as handle:
        assert [row["epoch"] for row in csv.DictReader(handle)] == ["1", "2"]


def test_same_run_twice_is_equal_but_for_runtime(zoo):
    first = run_one(zoo.cfg(), echo=False)
    predictions = (zoo.out / "run" / "predictions.csv").read_bytes()
    again = run_one(zoo.cfg(), echo=False, fresh=True)
    assert first.pop("runtime") != again.pop("runtime")
    assert first == again
    assert predictions == (zoo.out / "run" / "predictions.csv").read_bytes()


def test_other_seed_other_draw(zoo):
    one = run_one(zoo.cfg(), echo=False)
    two = run_one(
        zoo.cfg("ZooLinear", "2", "--seed", "2", "--output-dir", str(zoo.out / "two")), echo=False
    )
    assert one["draw_hash"] != two["draw_hash"]
    assert one["config_hash"] != two["config_hash"]


def test_reading_the_test_set_early_is_recorded(zoo):
    assert run_one(zoo.cfg("ZooPeeker"), echo=False)["test_read_early"] is True


def test_trainer_that_trains_nothing_is_scored_as_it_is(zoo):
    results = run_one(zoo.cfg("ZooConstant"), echo=False)
    assert (results["shots"], results["seed"]) == (0, 0)
    assert results["centers"]["test"]["accuracy"]["value"] == pytest.approx(100 / 3)


# -- states ------------------------------------------------------------------------------------


def test_finished_run_is_read_not_made_again(zoo, monkeypatch):
    first = run_one(zoo.cfg(), echo=False)
    monkeypatch.setattr(runner, "_run_in", lambda *a, **k: pytest.fail("ran again"))
    assert run_one(zoo.cfg(), echo=False) == first


@pytest.mark.parametrize("key, value", [("OPTIM__LR", "0.1"), ("TEST__EXTERNAL", "[]")])
def test_other_configuration_in_the_folder_is_an_error_naming_the_key(zoo, key, value):
    run_one(zoo.cfg(), echo=False)
    before = (zoo.out / "run" / "results.json").read_bytes()
    with pytest.raises(UserError, match=key.replace("__", ".")) as caught:
        run_one(zoo.cfg(**{key: value}), echo=False)
    assert "--fresh" in str(caught.value)
    assert (zoo.out / "run" / "results.json").read_bytes() == before


def test_workers_verbosity_and_paths_are_no_other_configuration(zoo):
    run_one(zoo.cfg(), echo=False)
    cfg = zoo.cfg(DATALOADER__NUM_WORKERS="3", VERBOSE="False", USE_CUDA="False")
    assert state_of(zoo.out / "run", cfg) == "done"


def test_fresh_replaces_only_when_the_successor_is_done(zoo, monkeypatch):
    run_one(zoo.cfg(), echo=False)
    before = (zoo.out / "run" / "results.json").read_bytes()
    (zoo.out / "run" / "log.txt-old").write_text("of the old run")

    def fail(self):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(runner.Run, "score", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            run_one(zoo.cfg(OPTIM__LR="0.1"), echo=False, fresh=True)
    assert (zoo.out / "run" / "results.json").read_bytes() == before
    assert [p.name for p in zoo.out.iterdir()] == ["run"]
    results = run_one(zoo.cfg(OPTIM__LR="0.1"), echo=False, fresh=True)
    assert results["config_hash"] != json.loads(before)["config_hash"]
    assert not (zoo.out / "run" / "log.txt-old").exists()
    assert yaml.safe_load((zoo.out / "run" / "config.yaml").read_text())["OPTIM"]["LR"] == 0.1
    assert results["runtime"]["output_dir"] == str(zoo.out / "run")


@pytest.mark.parametrize("fresh", [False, True])
def test_what_no_run_wrote_is_never_deleted(zoo, monkeypatch, fresh):
    folder = zoo.out / "run"
    if fresh:
        run_one(zoo.cfg(), echo=False)
    else:
        with pytest.raises(RuntimeError):
            run_one(zoo.cfg("ZooBroken"), echo=False)
        monkeypatch.setenv("ZOO_MENDED", "1")
    cfg = zoo.cfg("ZooLinear" if fresh else "ZooBroken")
    (folder / "old_study").mkdir()
    (folder / "old_study" / "notes.txt").write_text("mine")
    before = (folder / "results.json").read_bytes()
    with pytest.raises(UserError, match="old_study"):
        run_one(cfg, echo=False, fresh=fresh)
    assert (folder / "old_study" / "notes.txt").read_text() == "mine"
    assert (folder / "results.json").read_bytes() == before
    (folder / "old_study").rename(zoo.root / "old_study")
    (folder / "eval" / "20260101T000000Z").mkdir(parents=True)
    assert run_one(cfg, echo=False, fresh=fresh)["status"] == "done"
    assert (folder / "eval" / "20260101T000000Z").is_dir()


@pytest.fixture
def dead():
    """The number of a process that was."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_killed_while_replacing_leaves_a_whole_run(zoo, dead):
    first = run_one(zoo.cfg(), echo=False)
    (zoo.out / "run").rename(zoo.out / f".run.old-{dead}")
    (zoo.out / f".run.new-{dead}").mkdir()
    assert run_one(zoo.cfg(), echo=False) == first
    assert [p.name for p in zoo.out.iterdir()] == ["run"]


def test_what_a_process_at_work_writes_to_stays(zoo):
    """Also one of another machine, whose number is nobody's here."""
    folder = zoo.out / "a[1]"
    cfg = zoo.cfg("ZooLinear", "2", "--output-dir", str(folder))
    theirs, others = zoo.out / ".a[1].new-1", zoo.out / ".a1.new-1"
    for path in (theirs, others):
        path.mkdir(parents=True)
    with claimed(folder), pytest.raises(AtWorkError, match="is at work on"):
        run_one(cfg, echo=False)
    assert theirs.is_dir() and not folder.exists()
    run_one(cfg, echo=False)
    assert others.is_dir() and not theirs.exists()


# -- resume ------------------------------------------------------------------------------------


def stop_while_scoring(patch):
    patch.setattr(runner.Run, "score", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))


def test_a_failed_run_goes_on_from_its_own_checkpoints(zoo, monkeypatch):
    whole = run_one(zoo.cfg("ZooLinear", "2", "--output-dir", str(zoo.out / "whole")), echo=False)
    cfg = zoo.cfg("ZooLinear", "2", "--resume", str(zoo.out / "run"))

    def fail(self):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(runner.Run, "score", fail)
        with pytest.raises(RuntimeError):
            run_one(cfg, echo=False)
    again = run_one(cfg, echo=False)
    assert again["centers"] == whole["centers"]
    logs = "".join(path.read_text() for path in (zoo.out / "run").glob("log.txt*"))
    assert "will resume training" in logs
    with pytest.raises(UserError, match="--fresh.*--resume"):
        run_one(cfg, echo=False, fresh=True)


def test_resume_of_nothing_is_an_error_that_names_it(zoo):
    wrong = zoo.out / "rnu"
    cfg = zoo.cfg("ZooLinear", "2", "--resume", str(wrong))
    with pytest.raises(UserError, match="rnu: there is no such folder"):
        run_one(cfg, echo=False)
    wrong.mkdir(parents=True)
    with pytest.raises(UserError, match="rnu: no checkpoint"):
        run_one(cfg, echo=False)
    assert [p.name for p in zoo.out.iterdir()] == ["rnu"]


def test_resume_of_another_configuration_names_the_key(zoo):
    first = zoo.out / "first"
    flags = ["--resume", str(first)]
    run_one(zoo.cfg("ZooLinear", "2", "--output-dir", str(first)), echo=False)
    with pytest.raises(UserError, match=r"first.*OPTIM\.LR \(0\.2 -> 0\.1\)"):
        run_one(zoo.cfg("ZooLinear", "2", *flags, OPTIM__LR="0.1"), echo=False)
    (first / "config.yaml").unlink()
    with pytest.raises(UserError, match="first.*config_hash"):
        run_one(zoo.cfg("ZooLinear", "2", *flags, OPTIM__LR="0.1"), echo=False)
    assert run_one(zoo.cfg("ZooLinear", "2", *flags), echo=False)["status"] == "done"
    (first / "results.json").unlink()  # of a program that says nothing of its settings
    other = zoo.cfg("ZooLinear", "2", *flags, "--output-dir", str(zoo.out / "x"), OPTIM__LR="0.1")
    assert run_one(other, echo=False)["status"] == "done"


def test_failed_run_says_why_and_is_made_again(zoo, monkeypatch):
    with pytest.raises(RuntimeError, match="the zoo is on fire"):
        run_one(zoo.cfg("ZooBroken"), echo=False)
    results = read_results(zoo.out / "run")
    assert set(results) == set(KEYS)
    assert results["status"] == "failed"
    assert results["error"] == "RuntimeError: the zoo is on fire"
    assert "Traceback" in (zoo.out / "run" / "log.txt").read_text()
    monkeypatch.setenv("ZOO_MENDED", "1")
    assert run_one(zoo.cfg("ZooBroken"), echo=False)["status"] == "done"


def test_a_training_that_broke_leaves_its_losses(zoo, monkeypatch):
    """history.csv goes up to the batch before, whether or not a line was printed for it."""
    plain, calls = torch.nn.functional.cross_entropy, []

    def breaking(logits, labels):
        loss = plain(logits, labels)
        calls.append(loss.item())
        return loss * float("nan") if len(calls) == 5 else loss  # of three an epoch

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", breaking)
    with pytest.raises(FloatingPointError, match="epoch 2, batch 2, lr"):
        run_one(zoo.cfg("ZooLinear", "4", TRAIN__PRINT_FREQ="3"), echo=False)
    with open(zoo.out / "run" / "history.csv") as handle:
        losses = [float(row["loss"]) for row in csv.DictReader(handle)]
    assert losses == pytest.approx([sum(calls[:3]) / 3, calls[3]])


def test_unfinished_run_goes_on_to_the_same_numbers(zoo, monkeypatch):
    whole = run_one(zoo.cfg("ZooLinear", "2", "--output-dir", str(zoo.out / "whole")), echo=False)
    with monkeypatch.context() as patch:
        stop_while_scoring(patch)
        with pytest.raises(KeyboardInterrupt):
            run_one(zoo.cfg(), echo=False)
    assert state_of(zoo.out / "run", zoo.cfg()) == "unfinished"
    with pytest.raises(UserError, match=r"OPTIM\.LR"):
        state_of(zoo.out / "run", zoo.cfg(OPTIM__LR="0.1"))
    again = run_one(zoo.cfg(), echo=False)
    assert again["centers"] == whole["centers"]


def test_users_error_leaves_nothing_half_written(zoo, monkeypatch):
    from dassl.engine import TrainerX

    def refuse(self):
        raise UserError("image x.png cannot be read")

    monkeypatch.setattr(TrainerX, "run_epoch", refuse)
    with pytest.raises(UserError):
        run_one(zoo.cfg(), echo=False)
    assert not zoo.out.exists()
    (zoo.out / "run").mkdir(parents=True)
    (zoo.out / "run" / "note.txt").write_text("mine")
    with pytest.raises(UserError):
        run_one(zoo.cfg(), echo=False)
    assert [p.name for p in (zoo.out / "run").iterdir()] == ["note.txt"]
    with pytest.raises(UserError):
        run_one(zoo.cfg(), echo=False, keep_user_errors=True)
    assert "x.png" in read(zoo.out / "run")["error"]


def test_no_train_checks_and_leaves_nothing(zoo):
    assert run_one(zoo.cfg(), echo=False, train=False) == {}
    assert not zoo.out.exists()


def test_altering_the_shared_backbone_is_found_out(zoo, monkeypatch):
    prints = iter(["before", "after"])
    monkeypatch.setattr(runner.run_files, "backbone_fingerprint", lambda *a, **k: next(prints))
    with pytest.raises(RuntimeError, match="altered the shared backbone"):
        run_one(zoo.cfg(), echo=False)
    assert read(zoo.out / "run")["status"] == "failed"


def test_config_file_alone_gives_the_hash_back(zoo):
    cfg = zoo.cfg()
    results = run_one(cfg, echo=False)
    saved = yaml.safe_load((zoo.out / "run" / "config.yaml").read_text())
    assert config_hash(saved) == results["config_hash"] == config_hash(cfg)
    assert set(saved["TRAINER"]) == {"NAME", "ZOOLINEAR"}
    assert plugins.plugin_specs()
