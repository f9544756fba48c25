"""The hash of a configuration: what changes numbers changes it, and nothing else does."""

import hashlib

import pytest
import yaml
from yacs.config import CfgNode

from cerviclip.runs.settings.config_hash import canonical, config_hash, differing_keys, flatten
from cerviclip.runs.settings.files.named_files import paths_to_watch
from dassl.config import get_cfg_default, merge_opts
from helpers import write_images


@pytest.fixture
def cfg():
    return get_cfg_default()


@pytest.mark.parametrize(
    "key, value",
    [("OPTIM.LR", 0.5), ("SEED", 3), ("DATASET.NUM_SHOTS", 2), ("TEST.EXTERNAL", ("HuaxiOCT",)),
     ("TRAINER.NAME", "CoOp"), ("MODEL.BACKBONE.NAME", "RN50")],
)  # fmt: skip
def test_what_changes_numbers_changes_the_hash(cfg, key, value):
    before = config_hash(cfg)
    cfg.merge_from_list([key, value])
    assert config_hash(cfg) != before


@pytest.mark.parametrize(
    "key, value",
    [("OUTPUT_DIR", "x"), ("DATASET.ROOT", "/data"), ("DATALOADER.NUM_WORKERS", 0), ("RESUME", "x"),
     ("VERBOSE", False), ("USE_CUDA", False), ("TRAIN.PRINT_FREQ", 1)],
)  # fmt: skip
def test_paths_workers_verbosity_and_device_do_not(cfg, key, value):
    before = config_hash(cfg)
    cfg.merge_from_list([key, value])
    assert config_hash(cfg) == before


def test_intervals_of_before_have_the_hash_of_before_and_the_new_ones_are_named(cfg):
    tree = flatten(cfg)
    before = {key: value for key, value in tree.items() if key != "TEST.INTERVALS"}
    old = {config_hash(before | {"TEST.INTERVALS": how}) for how in ("", "bootstrap")}
    assert old == {config_hash(before)} != {config_hash(cfg)}
    assert differing_keys(before, cfg) == ["TEST.INTERVALS ('absent' -> 'few_patients')"]


def test_a_file_counts_by_its_content_not_its_path(cfg, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/w.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"weights")
    hashes = []
    for name in ("a/w.pt", "b.pt"):
        cfg.MODEL.INIT_WEIGHTS = str(tmp_path / name)
        hashes.append(config_hash(cfg))
    assert hashes[0] == hashes[1]
    (tmp_path / "b.pt").write_bytes(b"other weights")
    assert config_hash(cfg) != hashes[0]


def test_a_path_in_the_backbones_name_counts_by_content(cfg, tmp_path):
    for name in ("one.pt", "two.pt"):
        (tmp_path / name).write_bytes(b"weights")
    hashes = set()
    for name in ("one.pt", "two.pt"):
        cfg.MODEL.BACKBONE.NAME = f"open_clip:ViT-B-16:{tmp_path / name}"
        hashes.add(config_hash(cfg))
    assert len(hashes) == 1


def test_the_architecture_before_a_path_counts_beside_the_files_content(cfg, tmp_path):
    file = tmp_path / "w.pt"
    file.write_bytes(b"weights")
    content = hashlib.sha256(b"weights").hexdigest()
    for arch in ("ViT-B-16", "ViT-L-14"):
        cfg.MODEL.BACKBONE.NAME = f"open_clip:{arch}:{file}"
        assert canonical(cfg)["MODEL.BACKBONE.NAME"] == f"open_clip:{arch}:{content}"


def test_an_absent_file_counts_by_its_name_alone(cfg):
    hashes = {}
    for path in ("/here/w.pt", "/there/w.pt", "/here/v.pt"):
        cfg.MODEL.INIT_WEIGHTS = path
        hashes[path] = config_hash(cfg)
    assert hashes["/here/w.pt"] == hashes["/there/w.pt"] != hashes["/here/v.pt"]


def test_files_of_subgroups_count_by_content_and_column(cfg, tmp_path):
    """Also where a colon stands in the path."""
    for place in ("a:1", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "patients.csv").write_text("patient,age\nP1,30\n")
    before = config_hash(cfg)

    def subgroups(*specs):
        cfg.TEST.SUBGROUPS = tuple(f"{tmp_path}/{spec}" for spec in specs)
        return config_hash(cfg)

    age = subgroups("b/patients.csv:age")
    assert age == subgroups("a:1/patients.csv:age") != before
    assert len({age, subgroups("b/patients.csv:site"), subgroups("b/gone.csv:age")}) == 3
    assert subgroups("b/gone.csv:age") != subgroups("b/other.csv:age")
    both = subgroups("b/patients.csv:age", "b/patients.csv:site")
    assert both not in (age, subgroups("b/patients.csv:site"))
    (tmp_path / "b/patients.csv").write_text("patient,age\nP1,31\n")
    assert subgroups("b/patients.csv:age") != age
    cfg.TEST.SUBGROUPS = ()
    assert config_hash(cfg) == before


def test_further_backbones_count_by_name_and_content(cfg, tmp_path):
    for place, content in (("a", b"weights"), ("b", b"weights"), ("c", b"others")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "w.pt").write_bytes(content)
    cfg.TRAINER.FEATURECOMBINATION = CfgNode({"BACKBONES": ()})
    hashes = {}
    for text in ("RN50", "timm:resnet50", "UNI={}/a/w.pt", "UNI={}/b/w.pt", "UNI={}/c/w.pt",
                 "CONCH={}/a/w.pt", "UNI={}/gone.pt", "UNI={}/lost.pt"):  # fmt: skip
        cfg.TRAINER.FEATURECOMBINATION.BACKBONES = (text.format(tmp_path),)
        hashes[text] = config_hash(cfg)
    assert hashes["UNI={}/a/w.pt"] == hashes["UNI={}/b/w.pt"]
    assert len(set(hashes.values())) == len(hashes) - 1
    cfg.TRAINER.FEATURECOMBINATION.BACKBONES = ("RN50", "timm:resnet50")
    assert canonical(cfg)["TRAINER.FEATURECOMBINATION.BACKBONES"] == ["RN50", "timm:resnet50"]


@pytest.mark.parametrize(
    "key, folder",
    [("DATASET.FILE", ""), ("DATASET.FILE", "mine"), ("DATASET.SPLIT_FILE", ""),
     ("DATASET.SPLIT_FILE", "mine"), ("TRAINER.ROI.CHECKPOINT", None)],
)  # fmt: skip
def test_a_file_counts_by_its_content_wherever_it_is_looked_for(cfg, tmp_path, key, folder):
    """Relative to the data's root, or to its folder; a segmenter's checkpoint as it is named."""
    cfg.DATASET.ROOT = str(tmp_path)
    cfg.TRAINER.ROI = CfgNode({"CHECKPOINT": ""})
    (tmp_path / "mine").mkdir()
    cfg.DATASET.FOLDER = "mine"
    file = tmp_path / (folder or "") / "list.csv"
    file.write_text("path,label\n")
    cfg.merge_from_list([key, str(file) if folder is None else "list.csv"])
    before = config_hash(cfg)
    file.write_text("path,label\na.png,b\n")
    assert config_hash(cfg) != before


@pytest.mark.parametrize("key", ["DATASET.FOLDER", "DATASET.EXTERNAL_FOLDERS.clinic"])
def test_a_folder_counts_by_its_images_not_its_path(cfg, tmp_path, key):
    images = [write_images(tmp_path / place / "mine", {"a": 2}, size=8) for place in "xy"]
    cfg.DATASET.ROOT = str(tmp_path / "x")
    hashes = []
    for name in (str(tmp_path / "x/mine"), str(tmp_path / "y/mine"), "mine"):
        merge_opts(cfg, [key, name])
        hashes.append(config_hash(cfg))
    assert len(set(hashes)) == 1
    images[0][0].rename(images[0][0].with_name("other.png"))
    assert config_hash(cfg) != hashes[0]
    merge_opts(cfg, [key, str(tmp_path / "y/mine")])
    assert config_hash(cfg) == hashes[0]
    (tmp_path / "y/mine").rename(tmp_path / "y/enhanced")
    merge_opts(cfg, [key, str(tmp_path / "y/enhanced")])
    assert config_hash(cfg) != hashes[0]


def test_images_in_the_root_itself_count_too(cfg, tmp_path):
    """Without it, a run over one hospital would count as finished for the next."""
    cfg.DATASET.NAME = "FolderDataset"
    hashes = []
    for place, count in (("x", 2), ("y", 3)):
        write_images(tmp_path / place / "train", {"a": count}, size=8)
        cfg.DATASET.ROOT = str(tmp_path / place)
        hashes.append(config_hash(cfg))
    assert hashes[0] != hashes[1]
    cfg.DATASET.NAME = "Herlev"  # reads a folder of its own below the root
    elsewhere = config_hash(cfg)
    cfg.DATASET.ROOT = str(tmp_path / "x")
    assert config_hash(cfg) == elsewhere


def test_an_image_at_any_depth_changes_the_hash_and_the_note(cfg, tmp_path):
    cfg.DATASET.ROOT, cfg.DATASET.FOLDER = str(tmp_path), "mine"
    write_images(tmp_path / "mine" / "train", {"a": 2}, size=8)
    before = config_hash(cfg)
    assert str(tmp_path / "mine" / "train" / "a") in paths_to_watch(flatten(cfg))
    (tmp_path / "mine" / "train" / "a" / "new.png").write_bytes(b"12345")
    assert config_hash(cfg) != before


def test_a_fold_is_in_the_hash_and_none_is_not(cfg):
    before = config_hash(cfg)
    old = yaml.safe_load(cfg.dump())
    del old["DATASET"]["FOLD"]
    assert config_hash(old) == before
    cfg.DATASET.FOLD = "3/10"
    assert config_hash(cfg) != before
    assert differing_keys(old, cfg) == ["DATASET.FOLD ('absent' -> '3/10')"]


def test_shots_by_class_are_not_in_the_hash_and_those_by_patient_are(cfg):
    before = config_hash(cfg)
    old = yaml.safe_load(cfg.dump())
    del old["DATASET"]["SHOTS_BY"]
    assert config_hash(old) == before
    cfg.DATASET.SHOTS_BY = "patient"
    assert differing_keys(old, cfg) == ["DATASET.SHOTS_BY ('absent' -> 'patient')"]


def test_how_features_are_stored_is_in_the_hash_where_it_is_unusual(cfg):
    before = config_hash(cfg)
    old = yaml.safe_load(cfg.dump())
    del old["INPUT"]["STORE_DTYPE"]
    assert config_hash(old) == before
    cfg.INPUT.STORE_DTYPE = "bfloat16"
    assert config_hash(cfg) != before
    assert differing_keys(old, cfg) == ["INPUT.STORE_DTYPE ('absent' -> 'bfloat16')"]


def test_differing_keys_show_both_values(cfg):
    other = cfg.clone()
    other.OPTIM.LR = 0.5
    other.OUTPUT_DIR = "elsewhere"
    assert differing_keys(cfg, other) == ["OPTIM.LR (0.0003 -> 0.5)"]


def test_a_key_that_is_empty_differs_from_one_that_is_absent():
    """In either of the two."""
    assert differing_keys({"A": {"B": None}}, {}) == ["A.B (None -> 'absent')"]
    assert differing_keys({}, {"A": {"B": None}}) == ["A.B ('absent' -> None)"]


def test_a_config_read_back_from_yaml_has_the_same_hash(cfg):
    assert config_hash(yaml.safe_load(cfg.dump())) == config_hash(cfg)
    assert "DATASET.SPLIT_RATIO" in canonical(cfg)


def test_a_title_changes_no_number(cfg):
    before = config_hash(cfg), canonical(cfg)
    cfg.DATASET.TITLE = "Cervix OCT, Hospital A"
    assert (config_hash(cfg), canonical(cfg)) == before and "DATASET.TITLE" not in before[1]
    assert differing_keys(get_cfg_default(), cfg) == []
