"""``cerviclip pack``: a run on a pack gives the very results of a run without one."""

from __future__ import annotations

import json

import pytest

from cerviclip.data.images import cache as image_cache
from cerviclip.data.images.packs import Pack
from cerviclip.runs.run import command
from cerviclip.tools.pack import main
from dassl.errors import UserError, cli_main
from helpers import write_images

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*nothing tells whose images:UserWarning", "ignore:.*fewer than:UserWarning"
)
SETTINGS = [
    *("OPTIM.MAX_EPOCH", "1", "INPUT.RESIZE_FIRST", "48", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.SIZE", "(32, 32)", "DATASET.EXTERNAL_FOLDERS", "{B: ../far}"),
    *("MODEL.BACKBONE.PRETRAINED", "False", "TRAINER.CNNBASELINE.PREC", "fp32"),
]


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "own", {"a": 10, "b": 10}, size=64, patients=10)
    write_images(tmp_path / "far", {"a": 3, "b": 3}, size=64, patients=3, seed=1)
    yield tmp_path
    image_cache.disable()


def flags():
    return ["--trainer", "CNNBaseline", "--backbone", "torchvision:squeezenet1_1"]


def pack(root, *more):
    return main(
        [str(root / "own"), "--out", str(root / "pack"), *flags(), *more, "--opts", *SETTINGS]
    )


def run(root, name, *more):
    argv = ["--dataset", "FolderDataset", "--root", str(root / "own"), *flags(), "--shots", "2"]
    argv += ["--output-dir", str(root / name), *SETTINGS, *more]
    assert cli_main(command.main, argv) == 0
    results = json.loads((root / name / "results.json").read_text())
    return {k: v for k, v in results.items() if k not in ("runtime",)}


@pytest.mark.slow
def test_a_run_on_a_pack_reads_all_parts_from_it_and_gives_the_same(root, capsys, monkeypatch):
    plain = run(root, "plain")
    image_cache.disable()
    capsys.readouterr()
    assert pack(root) == 0
    said = capsys.readouterr().out
    # 20 own images behind two transforms, 6 of the centre behind the test's.
    assert "46 images of 26 files" in said and "edge=48" in said
    assert f"DATASET.PACKED {root / 'pack'}" in said
    opened = []
    monkeypatch.setattr("dassl.utils.images.decode_image", opened.append)
    packed = run(root, "packed", "DATASET.PACKED", str(root / "pack"))
    assert not opened
    assert packed == plain
    for name in ("predictions.csv", "split.json"):
        assert (root / "packed" / name).read_bytes() == (root / "plain" / name).read_bytes()
    shown = capsys.readouterr().out
    assert "images are read from it" in shown and "lacks" not in shown


def test_the_same_command_adds_what_has_come_since(root, capsys):
    assert pack(root, "--jobs", "1") == 0
    write_images(root / "own", {"a": 1, "b": 1}, size=64, seed=2)
    capsys.readouterr()
    assert pack(root) == 0
    assert "50 images of 28 files, 46 were there" in capsys.readouterr().out
    assert len(Pack(root / "pack")) == 50


@pytest.mark.slow
def test_images_packed_whole_come_with_the_way_to_less(root, capsys):
    opts = ["--opts", "INPUT.TRANSFORMS", "('random_resized_crop',)", "INPUT.SIZE", "(32, 32)"]
    opts += ["MODEL.BACKBONE.PRETRAINED", "False"]
    assert main([str(root / "own"), "--out", str(root / "pack"), *flags(), *opts]) == 0
    assert "training images are packed whole; INPUT.RESIZE_FIRST" in capsys.readouterr().out


def test_what_cannot_be_packed_is_said(root):
    with pytest.raises(UserError, match="--root goes with a data set's name"):
        pack(root, "--root", "x")
    with pytest.raises(UserError, match="no folder ./nowhere"):
        main(["./nowhere", "--out", str(root / "pack")])
    with pytest.raises(UserError, match="--jobs is -1"):
        pack(root, "--jobs", "-1")
