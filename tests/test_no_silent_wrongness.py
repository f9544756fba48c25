"""Ways to a wrong number by configuration: each is refused in one line or marked in results.json.

A patient of the training in the test, a choice made on the test set, random transforms at test, and
weights of one network in another. docs/audit.md lists the ways that are closed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_fixtures import zoo  # noqa: F401

from cerviclip.runs.results_json import read_results
from dassl.errors import UserError, cli_main
from helpers import tiny_clip_state_dict, write_images

# What a run warns of goes to its log and to results.json; here it is no error.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")

CLASSES = ("blue", "green", "red")
PATTERN = r"(P\d{7})"
SHORT = (
    *("DATASET.FOLDER", "cells", "DATALOADER.NUM_WORKERS", "0", "INPUT.SIZE", "(32, 32)"),
    *("DATALOADER.TEST.BATCH_SIZE", "16"),
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Two CLIPs of one architecture with other weights."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clips")
    for seed in (0, 1):
        save_file(tiny_clip_state_dict(seed=seed), folder / f"clip{seed}.safetensors")
    return [folder / f"clip{seed}.safetensors" for seed in (0, 1)]


@pytest.fixture
def root(tmp_path) -> Path:
    """``cells``: three classes of eight patients with two images each."""
    write_images(tmp_path / "data" / "cells", dict.fromkeys(CLASSES, 16), patients=8)
    return tmp_path / "data"


@pytest.fixture
def train(root, clips, tmp_path, capsys):
    """``train(KEY, VALUE, ..., trainer=, flags=)``: status, the error's line, the run's folder."""
    import train as script

    def make(
        *opts: object,
        trainer: str = "LinearProbe",
        pattern: str = PATTERN,
        weights: Path | None = None,
        flags: tuple[object, ...] = (),
        to: str = "run",
    ) -> tuple[int, str, Path]:
        folder = tmp_path / to
        empty = tmp_path / "empty.yaml"
        empty.touch()
        words = [
            *("--trainer", trainer, "--dataset", "FolderDataset", "--root", root),
            *("--backbone", "CLIP", "--weights", weights or clips[0], "--config-file", empty),
            *("--shots", "2", "--output-dir", folder, *flags, *SHORT),
            *(("DATASET.PATIENT_PATTERN", pattern) if pattern else ()),
            *opts,
        ]
        capsys.readouterr()
        status = cli_main(script.main, list(map(str, words)))
        return status, told(capsys), folder

    return make


@pytest.fixture
def evaluate(tmp_path, capsys):
    """``evaluate(folder, flag, ...)``: status, error's line, the evaluation's folder."""
    import train as script

    def make(folder: Path, *words: object) -> tuple[int, str, Path]:
        out = tmp_path / "evaluated"
        shutil.rmtree(out, ignore_errors=True)
        capsys.readouterr()
        arguments = ["--eval-only", "--model-dir", folder, "--output-dir", out, *words]
        status = cli_main(script.main, list(map(str, arguments)))
        return status, told(capsys), out

    return make


def told(capsys) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip()


def results(folder: Path) -> dict:
    found = read_results(folder)
    assert found is not None
    return found


def refused(ended: tuple[int, str, Path], *words: str) -> None:
    """Status 2, one line with these words, and no results."""
    status, error, folder = ended
    assert status == 2, error
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and all(word in lines[0] for word in words), error
    assert not (folder / "results.json").exists()


def rows(root: Path) -> list[dict[str, str]]:
    return [
        {"path": f"{path.parent.name}/{path.name}", "label": path.parent.name,
         "patient": path.name.split("_")[2]}
        for path in sorted((root / "cells").rglob("*.png"))
    ]  # fmt: skip


def honest_split(root: Path) -> dict[str, list[dict[str, str]]]:
    """Patients 0-3 of each class in train, 4-5 in val, 6-7 in test."""
    split: dict[str, list] = {"train": [], "val": [], "test": []}
    for row in rows(root):
        number = int(row["patient"][1:]) % 10_000
        part = "train" if number < 4 else "val" if number < 6 else "test"
        split[part].append(row)
    return split


def write_split(root: Path, split: object) -> Path:
    (root / "split.json").write_text(json.dumps(split))
    return root / "split.json"


# -- a patient of the training in the test ------------------------------------------------------


def leaked(split: dict[str, list]) -> dict[str, list]:
    """One image of a training patient moved to the test."""
    return split | {"train": split["train"][1:], "test": [*split["test"], split["train"][0]]}


def test_a_split_file_with_a_patient_in_two_parts(train, root):
    file = write_split(root, leaked(honest_split(root)))
    refused(train("DATASET.SPLIT_FILE", file), "in two parts")


def test_a_split_file_that_gives_each_image_a_patient_of_its_own(train, root):
    """The names of the files tell another story."""
    split = leaked(honest_split(root))
    for part in split.values():
        for row in part:
            row["patient"] = row["path"]
    status, _, folder = train("DATASET.SPLIT_FILE", write_split(root, split))
    assert status == 0
    assert any("by their files' names" in text for text in results(folder)["warnings"])


@pytest.mark.parametrize("form", ["csv", "folders"])
def test_ready_made_parts_with_a_patient_in_two(train, root, form):
    split = leaked(honest_split(root))
    if form == "csv":
        lines = [f"{r['path']},{r['label']},{part}" for part in split for r in split[part]]
        (root / "cells" / "list.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")
        refused(train("DATASET.FILE", "list.csv"), "in two parts")
        return
    for part, own in split.items():
        for row in own:
            target = root / "parts" / part / row["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "cells" / row["path"], target)
    refused(train("DATASET.FOLDER", "parts"), "in two parts")


def test_an_image_in_two_parts_and_val_that_is_the_test(train, root):
    split = honest_split(root)
    refused(train("DATASET.SPLIT_FILE", write_split(root, split | {"val": split["test"]})), "twice")


def test_a_leak_that_is_asked_for_is_marked(train, root):
    file = write_split(root, leaked(honest_split(root)))
    status, _, folder = train("DATASET.SPLIT_FILE", file, "DATASET.SPLIT_BY", "image")
    assert status == 0
    assert results(folder)["flow"]["leaks"]["patients_in_two_parts"]["count"] == 1
    status, _, folder = train("DATASET.SPLIT_BY", "image", to="by_image")
    assert status == 0
    assert any("split by image" in text for text in results(folder)["warnings"])


def test_a_pattern_that_tells_nothing_is_marked(train):
    status, _, folder = train(pattern=r"img_(\d+)", to="frames")
    assert status == 0 and results(folder)["warnings"]
    status, _, folder = train(pattern="", to="none")
    assert status == 0
    assert any("whose images" in text for text in results(folder)["warnings"])
    assert "no patient ids" in results(folder)["centers"]["test"]["note"]
    refused(train(pattern=r"(Q\d+)", to="absent"), "hold no patient")


def test_patients_that_count_anew_in_each_class_are_marked(train, root):
    for n, row in enumerate(rows(root)):  # the same eight people in each class
        path = root / "cells" / row["path"]
        path.rename(path.with_name(f"M0001_2021_P{n % 8:07d}_img_{n:03d}.png"))
    status, _, folder = train("DATASET.PATIENT_PER_CLASS", "True")
    assert status == 0
    assert any("several classes" in text for text in results(folder)["warnings"])


def test_an_external_centre_of_the_training(train, root):
    """The folder itself, copies under other names, and other images of the same patients."""
    center = ("DATASET.EXTERNAL_FOLDERS", "{Other: other}")
    shutil.copytree(root / "cells", root / "other")
    refused(train(*center), "belong to")
    for n, path in enumerate(sorted((root / "other").rglob("*.png"))):
        path.rename(path.with_name(f"M0001_2021_P99{n:05d}_x.png"))
    refused(train(*center), "belong to")
    shutil.rmtree(root / "other")
    write_images(root / "other", dict.fromkeys(CLASSES, 6), patients=3, seed=2)
    for n, path in enumerate(sorted((root / "other").rglob("*.png"))):
        path.rename(path.with_name(f"M0001_2021_P{n % 8:07d}_other_{n}.png"))
    status, _, folder = train(*center)
    found = results(folder)
    assert status == 0 and any("not external" in text for text in found["warnings"])
    assert found["flow"]["leaks"]["centers"]["Other"]["shared_patient_ids"] > 0


def test_an_evaluation_on_images_or_patients_of_the_training(train, evaluate, root):
    status, _, folder = train()
    assert status == 0
    refused(evaluate(folder, "DATASET.SPLIT_SEED", "7"), "SPLIT_SEED")
    refused(evaluate(folder, "--seed", "7"), "SEED")
    split = honest_split(root)  # another split of the same images
    refused(evaluate(folder, "DATASET.SPLIT_FILE", write_split(root, split)), "trained")


def test_an_evaluation_of_a_run_without_its_split_is_marked(train, evaluate):
    _, _, folder = train()
    (folder / "split.json").unlink()
    status, _, out = evaluate(folder)
    assert status == 0
    assert any("no split.json" in text for text in results(out)["warnings"])


def test_a_draw_file_that_was_edited(train, root, tmp_path):
    _, _, folder = train()
    record = json.loads((folder / "split.json").read_text())
    file = tmp_path / "draw.json"
    moved = record | {"test": [*record["test"], record["train"][0]], "train": record["train"][1:]}
    file.write_text(json.dumps(moved))
    refused(train(flags=("--split", file), to="moved"), str(file))
    record["train"][0]["patient"] = record["test"][0]["patient"]
    file.write_text(json.dumps(record))
    refused(train(flags=("--split", file), to="renamed"), "in two parts")


# -- a choice made on the test set ------------------------------------------------------------


@pytest.mark.parametrize(
    "key, value",
    [
        ("TEST.FINAL_MODEL", "best_test"),
        ("TEST.FINAL_MODEL", "best"),
        ("TEST.SPLIT", "train"),
        ("TEST.SPLIT", "validation"),
        ("DATALOADER.TEST.SAMPLER", "RandomClassSampler"),
        ("DATALOADER.TEST.SAMPLER", "SeqDomainSampler"),
    ],
)
def test_words_that_would_mean_the_test_set_or_a_sample_of_it(train, key, value):
    refused(train(key, value), key, value)


def test_the_best_epoch_without_val_images_is_not_chosen_on_test(zoo, capsys):  # noqa: F811
    """Dassl takes the test set for want of val; here the last epoch is deployed."""
    import train as script

    argv = zoo.argv("ZooLinear", "2", "--output-dir", str(zoo.out / "run"))
    argv += ["TEST.FINAL_MODEL", "best_val"]
    assert cli_main(script.main, argv) == 0
    found = results(zoo.out / "run")
    assert not found["test_read_early"] and found["search"]["choices"]["epoch"]["labels"] == 30


def test_a_trainer_that_reads_the_test_set_early_is_marked(zoo):  # noqa: F811
    import train as script

    argv = zoo.argv("ZooPeeker", "2", "--output-dir", str(zoo.out / "run"))
    assert cli_main(script.main, argv) == 0
    assert results(zoo.out / "run")["test_read_early"] is True


def test_a_search_on_val_has_no_number_under_test(train):
    status, _, folder = train("TEST.SPLIT", "val")
    assert status == 0 and list(results(folder)["centers"]) == ["val"]


# -- random transforms at test -------------------------------------------------------------


def probabilities(folder: Path) -> np.ndarray:
    from cerviclip.runs.predictions import read_predictions

    return np.concatenate([found.probs for found in read_predictions(folder)])


def test_transforms_and_views_of_the_training_do_not_reach_the_test(train):
    """A method that learns nothing gives the same numbers whatever the training's images are."""
    plain = train("INPUT.TRANSFORMS", "('normalize',)", trainer="ZeroShotCLIP", to="plain")
    names = "'random_resized_crop','random_flip','colorjitter','gaussian_noise','cutout'"
    random = "('" + names.replace("'", "").replace(",", "','") + "','normalize')"
    wild = train("INPUT.TRANSFORMS", random, trainer="ZeroShotCLIP", to="wild")
    views = train(
        "INPUT.TRANSFORMS", random, "INPUT.FEATURE_VIEWS", "4", "DATALOADER.K_TRANSFORMS", "3",
        trainer="ZeroShotCLIP", to="views",
    )  # fmt: skip
    assert [ended[0] for ended in (plain, wild, views)] == [0, 0, 0]
    for ended in (wild, views):
        assert np.array_equal(probabilities(plain[2]), probabilities(ended[2]))


def test_images_without_any_transform_give_no_number(train):
    status, error, folder = train("INPUT.NO_TRANSFORM", "True")
    assert status != 0 and error.count("\n") == 0
    assert not (folder / "results.json").exists() or results(folder)["status"] == "failed"


@pytest.mark.slow
def test_variants_of_images_in_the_test_are_marked(train, root):
    for path in sorted((root / "cells").rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.name}.aug03-mirror.png"))
    status, _, folder = train()
    assert status == 0 and results(folder)["warnings"] == []
    status, _, folder = train("DATASET.TEST_VARIANTS", "True", to="asked")
    assert status == 0
    assert any("TEST_VARIANTS" in text for text in results(folder)["warnings"])


# -- weights of one network in another -------------------------------------------------------


def test_a_run_on_another_backbones_weights(train, evaluate, clips):
    status, _, folder = train()
    assert status == 0
    refused(evaluate(folder, "--weights", clips[1]), "weights")
    refused(evaluate(folder, "--backbone", "PhantomCLIP"), "MODEL.BACKBONE.NAME")
    refused(evaluate(folder, "--backbone", "open_clip:ViT-B-32"), "MODEL.BACKBONE.NAME")
    from cerviclip.runs.run.load import load_run

    with pytest.raises(UserError, match="weights"):
        load_run(folder, clips[1])


def test_another_activation_interpolation_or_size_under_the_same_weights(train, evaluate):
    _, _, folder = train()
    for key, value in (
        ("INPUT.INTERPOLATION", "nearest"),
        ("INPUT.SIZE", "(48, 48)"),
        ("INPUT.PIXEL_STD", "[1.0, 1.0, 1.0]"),
        ("MODEL.BACKBONE.NAME", "ViT-B/16"),
    ):
        refused(evaluate(folder, key, value), key)


@pytest.mark.slow
def test_another_setting_of_the_method_is_marked(train, evaluate):
    _, _, folder = train(trainer="TipAdapter")
    status, _, out = evaluate(folder, "TRAINER.TIPADAPTER.ALPHA", "9.0")
    if status == 0:
        assert any("TIPADAPTER.ALPHA" in text for text in results(out)["warnings"])


@pytest.mark.slow
def test_going_on_under_other_weights_or_from_an_unknown_training(train, clips, tmp_path):
    status, _, folder = train("OPTIM.MAX_EPOCH", "1", trainer="CoOp")
    assert status == 0
    other = train(
        "OPTIM.MAX_EPOCH", "1", trainer="CoOp", weights=clips[1], flags=("--resume", folder), to="b"
    )
    refused(other, "--resume")
    stranger = tmp_path / "stranger"
    shutil.copytree(folder, stranger)
    for name in ("config.yaml", "results.json", "split.json"):
        (stranger / name).unlink()
    refused(
        train("OPTIM.MAX_EPOCH", "2", trainer="CoOp", weights=clips[1],
              flags=("--resume", stranger), to="c"),
        "weights",
    )  # fmt: skip
    status, _, known = train(
        "OPTIM.MAX_EPOCH", "2", trainer="CoOp", flags=("--resume", stranger), to="d"
    )
    assert status == 0
    assert any("no split.json" in text for text in results(known)["warnings"])


def test_a_model_of_other_classes(train, evaluate):
    _, _, folder = train()
    refused(evaluate(folder, "DATASET.CLASSES", "('red','green','blue')"), "was trained on")
    refused(evaluate(folder, "DATASET.CLASSES", "('red','green')", "DATASET.CLASS_MAP",
                     "{blue: ''}"), "was trained on")  # fmt: skip


# -- sweeps and Python --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opts, word",
    [
        ("TEST.SPLIT: validation", "TEST.SPLIT"),
        ("TEST.FINAL_MODEL: best_test", "TEST.FINAL_MODEL"),
        ("DATASET.NUM_SHOTS: 4", "same run"),
        ("SEED: 5", "same run"),
        ("OUTPUT_DIR: here", "same run"),
    ],
)
def test_overrides_of_a_sweep(zoo, capsys, opts, word):  # noqa: F811
    import run_shell

    text = f"trainers:\n- {{trainer: ZooLinear, opts: {{{opts}}}}}\nshots: [1, 2]\nseeds: [1, 2]\n"
    assert cli_main(run_shell.main, zoo.sweep(text)) == 2
    assert word in told(capsys)


def test_the_same_in_python(root, clips, tmp_path):
    import cerviclip

    def make(opts: dict) -> object:
        return cerviclip.train(
            dataset="FolderDataset", trainer="LinearProbe", backbone="CLIP", weights=clips[0],
            root=root, shots=2, output_dir=tmp_path / "run", echo=False,
            opts={"DATASET.FOLDER": "cells", "DATASET.PATIENT_PATTERN": PATTERN, **opts},
        )  # fmt: skip

    file = write_split(root, leaked(honest_split(root)))
    for opts, word in (
        ({"DATASET.SPLIT_FILE": str(file)}, "in two parts"),
        ({"TEST": {"SPLIT": "train"}}, "TEST.SPLIT"),
        ({"TEST.FINAL_MODEL": "best_test"}, "TEST.FINAL_MODEL"),
    ):
        with pytest.raises(UserError, match=word):
            make(opts)
    assert not (tmp_path / "run" / "results.json").exists()
