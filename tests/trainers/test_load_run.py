"""load_run, --eval-only and --resume: what does not belong to a run is refused in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cerviclip.engine.task import Task
from cerviclip.runs.run.load import load_run
from dassl.errors import UserError, cli_main
from helpers import tiny_clip_state_dict, write_images

CLASSES = ("red", "green", "blue")


@pytest.fixture
def own_root(tmp_path, image_root):
    """A data folder that a test may change."""
    return shutil.copytree(image_root, tmp_path / "own")


def one_line(capsys, words) -> str:
    """The error of a command that fails by the user's fault."""
    import train

    capsys.readouterr()
    assert cli_main(train.main, list(map(str, words))) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def rename(root, names: dict[str, str]) -> None:
    """Class folders under other names, at once."""
    for old in names:
        (root / "cells" / old).rename(root / "cells" / f"{old}.tmp")
    for old, new in names.items():
        (root / "cells" / f"{old}.tmp").rename(root / "cells" / new)


TRAINED = "was trained on blue, green, red; the data have "


@pytest.mark.parametrize("name", ["LinearProbe", "CoOp"])
def test_eval_only_refuses_other_classes_by_name(name, run, own_root, capsys):
    folder, _ = run(name, "DATASET.CLASSES", "('blue','green','red')")
    evaluate = ["--eval-only", "--model-dir", folder]
    swapped = one_line(capsys, [*evaluate, "DATASET.CLASSES", "('red','green','blue')"])
    assert f"{folder} {TRAINED}red, green, blue" in swapped
    assert not (folder / "eval").exists()
    rename(own_root, {"red": "aa", "green": "bb", "blue": "cc"})
    others = one_line(capsys, [*evaluate, "--root", own_root, "DATASET.CLASSES", "()"])
    assert f"{TRAINED}aa, bb, cc" in others


def test_resume_and_a_second_start_refuse_other_classes_by_name(flags, own_root, tmp_path, capsys):
    import train

    folder = tmp_path / "run"
    words = ["--output-dir", str(folder), *flags("CoOp"), "DATASET.ROOT", str(own_root)]
    assert train.main(words) == 0
    (folder / "results.json").unlink()  # as if it had been killed
    rename(own_root, {"red": "blue", "blue": "red", "green": "groen"})
    assert f"{folder} {TRAINED}blue, groen, red" in one_line(capsys, words)
    other = ["--output-dir", tmp_path / "other", "--resume", folder, *words[2:]]
    assert f"{folder} {TRAINED}blue, groen, red" in one_line(capsys, other)
    assert not (tmp_path / "other").exists()


def test_a_run_of_before_there_was_task_json_is_loaded_from_its_other_files(run):
    folder, _ = run("ZeroShotCLIP", "DATASET.TEMPLATES", "('cells, {}',)", shots=0)
    task = Task.load(folder)
    assert task.templates == ("cells, {}",) and task.classnames == tuple(sorted(CLASSES))
    (folder / "task.json").unlink()
    assert load_run(folder).task == task
    (folder / "split.json").unlink()
    assert load_run(folder).task == task
    (folder / "predictions.csv").unlink()
    with pytest.raises(UserError, match="does not say its classes"):
        load_run(folder)


def test_an_old_run_of_an_unknown_data_set_is_refused_since_its_texts_are_unknown(run):
    folder, _ = run("ZeroShotCLIP", shots=0)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("FolderDataset", "GoneOCT"))
    assert load_run(folder).task.dataset == "FolderDataset"
    (folder / "task.json").unlink()
    with pytest.raises(UserError, match="nothing here registers its data set GoneOCT"):
        load_run(folder)


def test_weights_that_moved_are_named_and_others_refused(run, clip_file, tmp_path):
    from safetensors.torch import save_file

    moved = shutil.copy(clip_file, tmp_path / "clip.safetensors")
    folder, _ = run("LinearProbe", "MODEL.INIT_WEIGHTS", moved)
    (tmp_path / "clip.safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(UserError, match="clip.safetensors are not there; say where they are now"):
        load_run(folder)
    load_run(folder, weights=tmp_path / "moved.safetensors")
    save_file(tiny_clip_state_dict(seed=1), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="the run's backbone has weights"):
        load_run(folder, weights=tmp_path / "other.safetensors")


def change_config(folder, section: str, **values) -> None:
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    tree["TRAINER"][section].update(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def test_a_checkpoint_that_does_not_fit_is_one_line(run):
    folder, _ = run("CoOp", "TRAINER.COOP.N_CTX", 4)
    change_config(folder, "COOP", N_CTX=5)
    with pytest.raises(UserError, match="does not fit this configuration: ctx has shape") as error:
        load_run(folder)
    assert "\n" not in str(error.value)


def test_a_run_that_is_not_done_is_loaded_by_its_epoch_alone(run):
    folder, _ = run("CoOp", "OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_FREQ", 1)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "status": "failed"}))
    with pytest.raises(UserError, match="failed, not done; finish it, or name one"):
        load_run(folder)
    first, last = (load_run(folder, epoch=n).trainer.prompt_learner.ctx for n in (1, 2))
    assert not torch.equal(first, last)


def test_what_is_no_run_and_what_is_no_device_are_one_line(tmp_path, run):
    with pytest.raises(UserError, match="no run in .*no config.yaml"):
        load_run(tmp_path)
    folder, _ = run("ZeroShotCLIP", shots=0)
    with pytest.raises(UserError, match="device 'tpu'; take cpu or cuda"):
        load_run(folder, device="tpu")


def test_a_loaded_model_asks_for_no_images_and_leaves_the_generators_alone(run, image_root):
    folder, _ = run("TipAdapterF")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    cfg, task, trainer = load_run(folder, device="cpu")
    assert torch.equal(torch.rand(3), wanted)
    assert cfg.TRAINER.NAME == "TipAdapterF" and task == trainer.task
    assert len(trainer.head.keys) == 12  # 4 shots of 3 classes
    with pytest.raises(UserError, match="TipAdapterF asks for images of FolderDataset"):
        trainer.train()
    paths = sorted((image_root / "cells").rglob("*.png"))[:3]
    pixels = torch.stack([trainer.tfm_test(Image.open(p).convert("RGB")) for p in paths])
    with torch.no_grad():
        probs = trainer.model_inference(pixels).double().softmax(1).numpy()
    np.testing.assert_allclose(trainer.predict_images(paths), probs, rtol=0, atol=1e-6)
    assert trainer.predict_images([]).shape == (0, 3)


def test_pictures_of_any_mode_are_read_as_files_are(run, tmp_path):
    folder, _ = run("LinearProbe")
    trainer = load_run(folder).trainer
    write_images(tmp_path, {"x": 1})
    colour = Image.open(next((tmp_path / "x").iterdir()))
    for mode in ("L", "RGBA", "P", "1"):
        path = tmp_path / f"{mode}.png"
        colour.convert(mode).save(path)
        file, memory = trainer.predict_images([path, Image.open(path)])
        assert np.array_equal(file, memory)
    with pytest.raises(UserError, match="does not exist"):
        trainer.predict_images([tmp_path / "none.png"])


@pytest.mark.parametrize("edit", ["order", "names", "positive"])
def test_a_task_that_was_edited_gives_no_answers(run, edit):
    """Outputs are numbered: another order of the names gave each answer another class."""
    copy, _ = run("LinearProbe", "DATASET.POSITIVE", "('red',)")
    values = json.loads((copy / "task.json").read_text())
    names = values["classnames"]
    if edit == "positive":
        values["positive"] = [name for name in names if name not in values["positive"]][:1]
    else:
        values["classnames"] = names[::-1] if edit == "order" else ["blue", "another", "red"]
    (copy / "task.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"task.json has the .*classes .*take both as the run"):
        load_run(copy)
