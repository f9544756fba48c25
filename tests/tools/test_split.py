"""``cerviclip split``: files, folders, and a published set that repeats a sweep."""

from __future__ import annotations

import json
import os

import pytest
from data_fixtures import write_center, write_oct

from cerviclip.data.files.hashes import image_hashes
from cerviclip.tools.split import main
from dassl.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oct")
    write_oct(folder)
    return folder


def split(root, out, *words):
    return main([*words, "--root", str(root), "--out", str(out)])


def test_folds_as_files_test_each_patient_once(root, tmp_path):
    assert split(root, tmp_path / "s", "MixedCenterOCT", "--folds", "3") == 0
    files = sorted((tmp_path / "s").glob("*.json"))
    assert [file.name for file in files] == [f"MixedCenterOCT-fold{n}of3.json" for n in (1, 2, 3)]
    tested = [row["path"] for f in files for row in json.loads(f.read_text())["test"]]
    assert len(tested) == len(set(tested)) == 5 * 7 * 3
    with pytest.raises(UserError, match="there already"):
        split(root, tmp_path / "s", "MixedCenterOCT", "--folds", "3")


@pytest.mark.parametrize("how", ["--copy", "--symlink"])
def test_folders_hold_the_parts(root, tmp_path, how):
    out = tmp_path / "f"
    assert split(root, out, "MixedCenterOCT", "--ratio", "0.5", "0.2", "0.3", how) == 0
    record = json.loads((out / "split.json").read_text())
    for part in ("train", "val", "test"):
        found = sorted(path.name for path in (out / part).glob("*/*.png"))
        assert found == sorted(os.path.basename(row["path"]) for row in record[part])
    one = next((out / "test").glob("*/*.png"))
    assert one.is_symlink() == (how == "--symlink") and one.stat().st_size


def test_folders_among_the_images_are_refused(root, tmp_path):
    inside = root / "mixed" / "images" / "parts"
    with pytest.raises(UserError, match="lies in .* read as one of its classes"):
        split(root, inside, "MixedCenterOCT", "--copy")
    assert not inside.exists()


def test_by_center_leaves_each_out(root, tmp_path):
    assert split(root, tmp_path, "CervixOCTDomains", "--by", "center") == 0
    records = [json.loads(f.read_text()) for f in sorted(tmp_path.glob("*.json"))]
    assert [record["left_out"] for record in records] == ["mixed", "huaxi", "xiangya"]
    for record in records:
        assert {row["domain"] for row in record["test"]} == {record["left_out"]}
        assert record["left_out"] not in {r["domain"] for r in record["train"] + record["val"]}

    assert split(root, tmp_path / "f", "CervixOCTDomains", "--by", "center", "--symlink") == 0
    for n, record in enumerate(records, start=1):
        found = (tmp_path / "f" / f"fold{n}of3" / "test").glob("*/*.png")
        assert len(list(found)) == len(record["test"])


def test_flags_that_contradict_are_refused(root, tmp_path):
    for words in (["MixedCenterOCT", "--repeats", "2"], ["MixedCenterOCT", "--by", "center"], []):
        with pytest.raises(UserError):
            split(root, tmp_path, *words)


def repeated(root, *opts, name="MixedCenterOCT"):
    """A data set that repeats a file."""
    from cerviclip.runs.settings.configure import dataset_cfg
    from dassl.data.datasets import build_dataset

    return build_dataset(dataset_cfg(name, str(root), opts))


def drawn_record(root, tmp_path, name="MixedCenterOCT", *opts):
    from cerviclip.runs.settings.configure import dataset_cfg
    from dassl.data.datasets import build_dataset

    cfg = dataset_cfg(name, str(root), ["DATASET.NUM_SHOTS", 2, *opts])
    cfg.SEED = 3
    data = build_dataset(cfg)
    file = tmp_path / "split.json"
    file.write_text(json.dumps(data.split_record))
    return data, file


def test_a_draw_is_repeated_exactly_and_a_changed_one_is_refused(tmp_path):
    write_center(tmp_path / "mixed/images", patients=7, frames=3)
    data, file = drawn_record(tmp_path, tmp_path)
    again = repeated(tmp_path, "DATASET.DRAW_FILE", str(file))
    for part in ("train_x", "val", "test"):
        of_first, of_second = ([d.impath for d in getattr(x, part)] for x in (data, again))
        assert of_first == of_second
    assert (again.split_hash, again.draw_hash) == (data.split_hash, data.draw_hash)
    assert again.split_record == data.split_record

    record = json.loads(file.read_text())
    record["train"].reverse()
    (tmp_path / "changed.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="does not hold the draw"):
        repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "changed.json"))

    without = data.split_record | {"test": data.split_record["test"][1:]}
    (tmp_path / "fewer.json").write_text(json.dumps(without))
    with pytest.raises(UserError, match="does not hold the test images"):
        repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "fewer.json"))
    older = {key: value for key, value in data.split_record.items() if key != "test_hash"}
    (tmp_path / "older.json").write_text(json.dumps(older))
    as_before = repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "older.json"))
    assert as_before.split_record["test"] == data.split_record["test"]

    long = [*data.split_record["train"], {"path": "9" * 5000, "label": 0, "patient": ""}]
    (tmp_path / "long.json").write_text(json.dumps(data.split_record | {"train": long}))
    with pytest.raises(UserError, match="1 of .* images differ"):  # no OSError of the system's
        repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "long.json"))

    one, two = (tmp_path / row["path"] for row in data.split_record["test"][:2])
    hashes = {row["path"]: image_hashes().sha256(tmp_path / row["path"])[:16]
              for row in data.split_record["test"]}  # fmt: skip
    file.write_text(json.dumps(data.split_record | {"images": hashes}))
    one.unlink()
    two.write_bytes(two.read_bytes() + b"other")
    first = data.split_record["test"][0]["path"]
    said = f"2 of .* images differ.*1 are missing.*1 have another.*first: {first}"
    with pytest.raises(UserError, match=said):
        repeated(tmp_path, "DATASET.DRAW_FILE", str(file))


def test_a_repeated_split_is_looked_at_as_any_other(tmp_path):
    """A patient in two parts, and a second file that would say otherwise."""
    write_center(tmp_path / "mixed/images", patients=7, frames=3)
    _, file = drawn_record(tmp_path, tmp_path)
    record = json.loads(file.read_text())
    record["test"].append({**record["train"][0], "path": _sibling(tmp_path, record)})
    (tmp_path / "leak.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="leak.json puts 1 patient in two parts"):
        repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "leak.json"))
    record["test"][-1]["patient"] = "by the file another one"
    (tmp_path / "odd.json").write_text(json.dumps(record))
    with (
        pytest.warns(UserWarning, match="odd.json puts images in two parts that by their files'"),
        pytest.raises(UserError, match="does not hold the test images"),
    ):
        repeated(tmp_path, "DATASET.DRAW_FILE", str(tmp_path / "odd.json"))
    words = ["DATASET.DRAW_FILE", str(file), "DATASET.SPLIT_FILE", str(file)]
    with pytest.raises(
        UserError, match="split of MixedCenterOCT, and the run is DATASET.SPLIT_FILE as w"
    ):
        repeated(tmp_path, *words)


def test_a_draw_of_a_list_without_class_folders_is_repeated(tmp_path):
    """An image that lies in the image folder itself is known by the folder alone."""
    from data_fixtures import CLASSES

    write_center(tmp_path / "cysts", patients=6, frames=1, classes=CLASSES[:2])
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = ["path,label"]
    for image in sorted((tmp_path / "cysts").glob("*/*.png")):
        image.rename(flat / image.name)
        rows.append(f"{image.name},{image.parent.name}")
    (flat / "list.csv").write_text("\n".join(rows) + "\n")
    words = ["DATASET.FOLDER", "flat", "DATASET.FILE", "list.csv"]
    words += ["DATASET.PATIENT_PATTERN", r"_(P\d+)_"]
    data, file = drawn_record(tmp_path, tmp_path, "FolderDataset", *words)
    again = repeated(tmp_path, *words, "DATASET.DRAW_FILE", str(file), name="FolderDataset")
    assert again.split_record == data.split_record and len(data.train_x) == 4


def test_a_split_of_centres_is_not_repeated_as_one_data_set(root, tmp_path):
    assert split(root, tmp_path, "CervixOCTDomains", "--by", "center") == 0
    file = tmp_path / "CervixOCTDomains-fold1of3.json"
    with pytest.raises(UserError, match="fold1of3.json is of a data set made of centres; .*FOLD"):
        repeated(root, "DATASET.DRAW_FILE", str(file))


def _sibling(root, record):
    """Another image of the first training patient, which no part names."""
    named = {row["path"] for part in ("train", "val", "test") for row in record[part]}
    patient = record["train"][0]["patient"]
    found = (path for path in sorted(root.rglob(f"*_{patient}_*.png")))
    return next(p for p in (os.path.relpath(f, root) for f in found) if p not in named)


@pytest.mark.slow
def test_a_published_set_repeats_a_sweep(zoo_free_sweep, tmp_path):
    """Runs on the published set have the draws and the scores of the sweep's own runs."""
    run, root = zoo_free_sweep
    first = run(tmp_path / "a")
    assert main(["--publish", str(tmp_path / "a"), str(tmp_path / "set")]) == 0
    manifest = json.loads((tmp_path / "set/manifest.json").read_text())["files"]
    assert [(f["shots"], f["draw_seed"]) for f in manifest] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(f["with_image_hashes"] for f in manifest)
    assert str(root) not in "".join(f.read_text() for f in (tmp_path / "set").iterdir())
    second = run(tmp_path / "b", "--split", str(tmp_path / "set"))
    assert len(first) == 4 and first == second
    file = tmp_path / "set" / manifest[0]["file"]
    file.write_text(file.read_text() + " ")
    with pytest.raises(UserError, match="has changed"):
        run(tmp_path / "c", "--split", str(tmp_path / "set"))


@pytest.fixture
def zoo_free_sweep(root, tmp_path):
    from cerviclip.runs.sweep.command import main as sweep

    yaml = tmp_path / "s.yaml"
    yaml.write_text(
        "datasets: [MixedCenterOCT]\nexternal: []\nbackbone: PhantomCLIP\nshots: [1, 2]\n"
        "draws: 2\ntrainers: [LinearProbe]\nopts: {DATASET.NUM_SHOTS_VAL: 1}\n"
    )

    def run(out, *words):
        assert (
            sweep(["--sweep", str(yaml), "--root", str(root), "--output-dir", str(out), *words])
            == 0
        )
        found = {}
        for path in sorted(out.rglob("results.json")):
            results = json.loads(path.read_text())
            key = (results["shots"], results["seed"])
            found[key] = (results["split_hash"], results["draw_hash"], results["centers"])
        return found

    return run, root


def test_other_shots_than_a_files_are_led_to_the_split_file(root, tmp_path):
    """For train and for a sweep: a split to draw from is another key than a draw to repeat."""
    from cerviclip.runs.settings.configure import setup_cfg
    from cerviclip.runs.settings.plan import make_plan
    from cerviclip.runs.settings.requests import RunRequest, SweepRequest

    _, file = drawn_record(root, tmp_path)
    request = RunRequest(
        trainer="LinearProbe", dataset="MixedCenterOCT", backbone="PhantomCLIP", root=str(root),
        shots=4, opts=("DATASET.DRAW_FILE", str(file)),
    )  # fmt: skip
    with pytest.raises(UserError, match="draw of 2 shots, and 4 are asked.*DATASET.SPLIT_FILE"):
        setup_cfg(request)
    sweep = SweepRequest(
        datasets=("MixedCenterOCT",), trainers=("LinearProbe",), shots=(4, "full"), root=str(root),
        split=str(file),
    )  # fmt: skip
    with pytest.raises(UserError, match="shots 4, full and.*it has .* 2 shots.*DATASET.SPLIT_FILE"):
        make_plan(sweep)
