"""Repositories with a Dassl of their own: another name for it, and what it adds to ours."""

from __future__ import annotations

import importlib
import sys

import pytest

from cerviclip.adopt.repository import find_repositories, unreadable_trainers, walk
from cerviclip.adopt.scripts import keys_of_scripts
from cerviclip.adopt.spec import read_adoption
from cerviclip.adopted import own_dassl
from cerviclip.adopted.patches import additions
from cerviclip.adopted.trainer import unset_keys
from dassl import engine
from dassl.config import CfgNode, get_cfg_default
from dassl.engine import TrainerX
from dassl.errors import UnknownNameError, UserError

TRAINER = "from {dassl}.engine import TRAINER_REGISTRY, TrainerX\n@TRAINER_REGISTRY.register()\n"
FORK = """
import math
from torch.utils.nothing_of_the_kind import Writer
FACTOR = 3

def of_the_fork(x):
    return math.prod([x, FACTOR])

class Identity:
    pass

class TrainerFork(TrainerX):
    def twice(self):
        return of_the_fork(2)

class TrainerX:
    def added_method(self):
        return of_the_fork(5)

    def says_super(self):
        return super().train()
"""
USER = """
from my_dassl.engine import TRAINER_REGISTRY, TrainerFork
from torch.nn import Identity

@TRAINER_REGISTRY.register()
class Mine(TrainerFork):
    def forward_backward(self, batch):
        self.says_super()
        return self.added_method()
"""


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path = path.with_name(path.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def fork(tmp_path):
    """A repository whose Dassl is called my_dassl, and registers methods of its own."""
    return write(
        tmp_path / "repo",
        train="def extend_cfg(cfg):\n    pass\n",
        trainers__mine=USER,
        my_dassl__engine__trainer=FORK,
        my_dassl__engine__of_a_fork="VALUE = 7\n",
        my_dassl__engine__da__adda=TRAINER.format(dassl="my_dassl") + "class ADDA(TrainerX): ...\n",
        my_dassl__config__defaults="",
        my_dassl__data__data_manager="",
    )


@pytest.fixture
def clean():
    """Our Dassl and the finders as they were."""
    finders, modules, names = list(sys.meta_path), set(sys.modules), dict(vars(engine))
    of_trainer, methods = dict(vars(engine.trainer)), set(vars(TrainerX))
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    for module, before in ((engine, names), (engine.trainer, of_trainer)):
        for name in set(vars(module)) - set(before):
            delattr(module, name)
    for name in set(vars(TrainerX)) - methods:
        delattr(TrainerX, name)


def test_a_copy_by_another_name_is_dassl_and_its_trainers_are_not_listed(fork, clean):
    (found,) = find_repositories(fork)
    assert list(found.trainers) == ["Mine"] and found.root == fork
    assert found.patched_dassl() == fork / "my_dassl" and found.names_of_dassl() == ["my_dassl"]
    own_dassl.let_be_called(found.names_of_dassl())
    spec = engine.__spec__
    assert importlib.import_module("my_dassl.engine") is engine and engine.__spec__ is spec
    assert importlib.import_module("my_dassl.engine.trainer").TrainerX is TrainerX
    with pytest.raises(ModuleNotFoundError, match="dassl.engine.nowhere"):
        importlib.import_module("my_dassl.engine.nowhere")


def test_what_a_fork_adds_is_taken_from_it(fork, clean):
    patched = fork / "my_dassl"
    users = [p for p in walk(fork) if p.suffix == ".py" and patched not in p.parents]
    assert additions(patched, users) == [
        ("engine/trainer.py", name)
        for name in ("TrainerFork", "TrainerX.added_method", "TrainerX.says_super")
    ]
    assert own_dassl.take(patched, "engine/trainer.py", "TrainerFork")
    assert issubclass(engine.TrainerFork, TrainerX) and engine.TrainerFork.twice(None) == 6
    assert own_dassl.take(patched, "engine/trainer.py", "TrainerX.added_method")
    assert TrainerX.added_method(None) == 15
    assert not own_dassl.take(patched, "engine/trainer.py", "TrainerX.says_super")
    assert not hasattr(engine, "Identity")  # nobody imports it from Dassl
    own_dassl.bring_modules(patched)
    assert importlib.import_module("dassl.engine.of_a_fork").VALUE == 7
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("dassl.engine.of_nobody")


def test_the_trainers_of_dassl_itself_are_not_adopted(fork):
    for path in (fork / "trainers/mine.py", fork / "train.py"):
        path.unlink()
    with pytest.raises(UserError, match="registers no trainer.*of Dassl itself.*not adopted"):
        read_adoption(f"ADDA={fork}")


def test_of_two_files_of_one_name_the_nearest_counts(tmp_path):
    text = TRAINER.format(dassl="dassl") + "class Mine(TrainerX): ...\n"
    write(tmp_path, trainers__mine=text, trainers__copies__mine=text, train="")
    write(tmp_path, trainers__ipynb_checkpoints__other=text.replace("Mine", "Other"))
    (found,) = find_repositories(tmp_path)
    assert {t.module for t in found.trainers.values()} == {"trainers.mine"}


def test_files_that_this_python_cannot_read_are_named(tmp_path):
    broken = TRAINER.format(dassl="dassl") + "class New(TrainerX):\n    def f(self): return (\n"
    write(tmp_path, trainers__new=broken, draw_figures="print(\n")
    (line,) = unreadable_trainers(tmp_path)
    assert line.startswith("trainers/new.py, line 4: Python 3.") and "cannot read it" in line
    with pytest.raises(UserError, match=r"registers no trainer .*trainers/new.py, line 4"):
        read_adoption(f"New={tmp_path}")
    write(tmp_path, trainers__old=TRAINER.format(dassl="dassl") + "class Old(TrainerX): ...\n")
    with pytest.raises(UnknownNameError, match=r"no trainer 'New'.*trainers/new.py, line 4"):
        read_adoption(f"New={tmp_path}:New")


def test_a_yaml_in_a_folder_named_as_the_trainer(tmp_path):
    text = TRAINER.format(dassl="dassl") + "class Mine(TrainerX): ...\n"
    write(tmp_path, prompting__mine=text, train="")
    for folder in ("datasets", "Mine"):
        (tmp_path / "configs" / folder).mkdir(parents=True)
        (tmp_path / "configs" / folder / "vit_b16.yaml").touch()
    assert read_adoption(f"Mine={tmp_path}").config_for("ViT-B/16").endswith("Mine/vit_b16.yaml")


SCRIPT = """
DATASET=$1
TRAINER=Mine
DEPTH=9
ATT=shape
# TRAINER.MINE.OLD 3
python train.py --trainer ${TRAINER} --config-file configs/trainers/${TRAINER}/x.yaml \\
    TRAINER.MINE.DEPTH ${DEPTH} TRAINER.MINE.ATT_TEXT "${ATT}" TRAINER.MINE.CTX ${DATASET} \\
    DATASET.NUM_SHOTS 16 OPTIM.MAX_EPOCH 5.0
"""


def test_keys_that_scripts_set_are_named_where_a_run_fails(tmp_path):
    text = TRAINER.format(dassl="dassl") + "class Mine(TrainerX): ...\n"
    write(tmp_path, trainers__mine=text, train="")
    (tmp_path / "run.sh").write_text(SCRIPT)
    (tmp_path / "other.sh").write_text(SCRIPT.replace("Mine", "MineToo").replace("9", "8"))
    found = keys_of_scripts(tmp_path, "Mine")
    keys = {"TRAINER.MINE.DEPTH": "9", "TRAINER.MINE.ATT_TEXT": "shape", "OPTIM.MAX_EPOCH": "5.0"}
    assert found == keys
    cfg = get_cfg_default()
    cfg.TRAINER.MINE = CfgNode({"DEPTH": 9, "ATT_TEXT": "none"})
    cfg.OPTIM.MAX_EPOCH = 5
    said = unset_keys(read_adoption(f"Mine={tmp_path}"), cfg)
    assert said == "its scripts also set TRAINER.MINE.ATT_TEXT shape"
    cfg.TRAINER.MINE.ATT_TEXT = "shape"
    assert unset_keys(read_adoption(f"Mine={tmp_path}"), cfg) == ""
