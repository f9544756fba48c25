"""Imports of a repository that would fail, or end the process, where it is run as it is."""

from __future__ import annotations

import sys
import types

import pytest

from cerviclip.adopt.repository import find_repositories
from cerviclip.adopted import surroundings
from cerviclip.adopted.failures import one_line
from cerviclip.adopted.imports import _arguments, extend, import_past_packages, run_script
from cerviclip.adopted.placeholders import Silent, absent, inherited, missing_packages, stand_in_for
from dassl.config import get_cfg_default

SCRIPT = """
import argparse
import os
def main(args):
    raise RuntimeError("the script is not run")
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", default=0.5)
    args = parser.parse_args()
    main(args)
    os._exit(0)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository's folder, first on the path; modules and finders are as before afterwards."""
    finders, modules = list(sys.meta_path), dict(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.meta_path[:] = finders
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_package_that_imports_what_is_not_there_is_left_out(root):
    write(root, "methods_x/__init__.py", "from .one import *\nfrom .gone import *\n")
    write(root, "methods_x/one.py", "A = 1\n")
    write(root, "methods_x/two.py", "from .one import A\nB = A + 1\n")
    notes: list[str] = []
    assert import_past_packages("methods_x.two", root, notes).B == 2
    (note,) = notes
    assert note.startswith("methods_x/__init__.py is left out") and "line 2" in note
    assert "imports methods_x.gone, a file that the repository does not have" in note


def test_what_fails_in_the_file_itself_is_the_error(root):
    write(root, "methods_y/__init__.py", "from .one import A\n")
    write(root, "methods_y/one.py", "A = nothing\n")
    with pytest.raises(NameError, match="nothing"):
        import_past_packages("methods_y.one", root, [])
    assert "methods_y" not in sys.modules
    write(root, "methods_z.py", "import sys\nsys.exit(3)\n")
    with pytest.raises(SystemExit) as caught:
        import_past_packages("methods_z", root, [])
    assert one_line(caught.value, root) == "methods_z.py, line 2: ends the process (exit status 3)"


def test_nothing_of_a_script_runs_behind_its_arguments(tmp_path):
    write(tmp_path, "train.py", SCRIPT)
    space, notes = run_script(tmp_path / "train.py")
    args = _arguments(tmp_path / "train.py", space, notes)
    assert args.rate == 0.5 and args.forgotten is None and args.forgotten is None
    assert notes == ["train.py reads args.forgotten, which its parser does not have: None"]


def test_a_folder_without_init_comes_before_an_installed_package(root):
    write(root, "yaml/loader_of_theirs.py", "MARK = 'theirs'\n")
    for name in [n for n in sys.modules if n.split(".")[0] == "yaml"]:
        del sys.modules[name]
    sys.meta_path.insert(0, surroundings._OwnFolders(root))
    assert __import__("yaml.loader_of_theirs").loader_of_theirs.MARK == "theirs"


def test_names_that_transformers_had(root, monkeypatch):
    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            if name == "CLIPImageProcessor":
                return "the new one"
            raise AttributeError(name)

    class Loader:
        def create_module(self, spec):
            return None

        def exec_module(self, module):
            sys.modules["transformers"] = Lazy("transformers")

    monkeypatch.setitem(sys.modules, "transformers", types.ModuleType("transformers"))
    surroundings._WithOldNames(Loader()).exec_module(sys.modules["transformers"])
    assert sys.modules["transformers"].CLIPFeatureExtractor == "the new one"
    with pytest.raises(AttributeError, match="Unknown"):
        _ = sys.modules["transformers"].Unknown


def test_a_logger_that_is_not_installed_does_nothing(root, monkeypatch):
    import cerviclip.adopted.placeholders as placeholders

    monkeypatch.setattr(placeholders, "_there", lambda name: name not in ("swanlab", "tensorboard"))
    write(root, "x.py", "import swanlab\nfrom torch.utils.tensorboard import SummaryWriter\n")
    assert set(missing_packages(root)) == {"swanlab", "tensorboard"}
    sys.modules.pop("torch.utils.tensorboard", None)
    stand_in_for(["swanlab", "tensorboard"])
    import swanlab
    from torch.utils.tensorboard import SummaryWriter

    with swanlab.init(project="x") as run:
        run.config["rate"] = 1
        assert not swanlab.run and list(run.steps) == []
    SummaryWriter("folder").add_scalar("loss", 0.5, 1)
    assert isinstance(SummaryWriter(), Silent)


def test_a_class_that_inherits_from_an_absent_one_is_known(monkeypatch):
    monkeypatch.setattr("cerviclip.adopted.placeholders.inherited", inherited)
    base = absent("learning_of_nobody", "Learner")
    type("MAML", (base,), {"__module__": "trainers.meta"})
    assert inherited.pop("learning_of_nobody.Learner") == "trainers.meta.MAML"


def test_defaults_of_a_repositorys_own_are_added(root):
    write(
        root,
        "own_defaults_x.py",
        "from yacs.config import CfgNode as CN\n_C = CN()\n_C.TEST = CN()\n_C.TEST.SPLIT = 'val'\n"
        "_C.TEST.RESULTS_AT = 'there'\ndef get_cfg_default():\n    return _C.clone()\n",
    )
    own = "from own_defaults_x import get_cfg_default\ndef extend_cfg(cfg):\n    cfg.EXTENDED = 1\n"
    write(root, "a_test.py", own.replace("= 1", "= 2"))
    write(root, "x_train.py", own)
    write(root, "trainers/mine.py", "@TRAINER_REGISTRY.register()\nclass Mine(TrainerX): ...\n")
    (found,) = find_repositories(root)
    cfg = get_cfg_default()
    (note,) = extend(cfg, found, found.trainers["Mine"])
    assert cfg.TEST.RESULTS_AT == "there" and cfg.TEST.SPLIT == "test" and cfg.EXTENDED == 1
    assert note == "x_train.py has defaults of its own (own_defaults_x): TEST.RESULTS_AT"


def test_a_device_that_the_script_is_told_is_cuda(root):
    script = SCRIPT.replace("--rate", "--device").replace("default=0.5", "default=''")
    functions = "def reset_cfg(cfg, args):\n    cfg.DEVICE = args.device\ndef extend_cfg(cfg):\n"
    script = script.replace("def main", f"{functions}    pass\ndef main")
    write(root, "train.py", script)
    write(root, "trainers/mine.py", "@TRAINER_REGISTRY.register()\nclass Mine(TrainerX): ...\n")
    (found,) = find_repositories(root)
    cfg = get_cfg_default()
    extend(cfg, found, found.trainers["Mine"])
    assert cfg.DEVICE == "cuda"
