"""Names are found without imports; plug-ins join in, and broken ones harm only their users."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cerviclip import plugins
from dassl.errors import DuplicateNameError, MissingFileError, UnknownNameError

GOOD = '''
"""A plug-in."""
from dassl.engine import TRAINER_REGISTRY, TrainerX

def extend_cfg(cfg):
    cfg.TRAINER.MYMETHOD = type(cfg)()
    cfg.TRAINER.MYMETHOD.TAU = 0.5

@TRAINER_REGISTRY.register()
class MyMethod(TrainerX):
    """My method in one line.

    More of it."""

@TRAINER_REGISTRY.register()
class MyOther(MyMethod):
    needs_training = False
'''


@pytest.fixture(autouse=True)
def no_plugins():
    plugins.reset_plugins()
    yield
    plugins.reset_plugins()


def write(tmp_path, text, name="my_plugin.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    return str(path)


def test_every_trainer_and_dataset_in_the_tree_is_found_with_a_line():
    found = plugins.discover()
    assert {"CoOp", "SAVLT", "ZeroShotCLIP", "ZeroshotCLIP", "CNNBaseline"} <= set(found["trainer"])
    assert {"PhantomOCT", "MixedCenterOCT", "Herlev", "FolderDataset"} <= set(found["dataset"])
    assert {"PhantomCLIP", "ViT-B/16"} <= set(found["backbone"])
    for entries in found.values():
        for name, entry in entries.items():
            assert entry.summary, name
            assert Path(entry.source).is_file(), name


def test_every_trainer_says_what_it_learns_and_shows_no_marks():
    for kind, entries in plugins.discover().items():
        for name, entry in entries.items():
            assert "`" not in entry.summary, name
            assert kind != "trainer" or entry.learns in ("nothing", "head", "prompts", "weights")


def test_names_are_what_importing_registers():
    """The reading of sources and the registries agree, for every module of ours."""
    from dassl.data.datasets import DATASET_REGISTRY
    from dassl.engine import TRAINER_REGISTRY

    for kind, registry in (("trainer", TRAINER_REGISTRY), ("dataset", DATASET_REGISTRY)):
        for name, entry in plugins.discover()[kind].items():
            registered = plugins.ensure_loaded(kind, name)
            assert registered.__name__ == name
            if kind == "trainer":
                assert getattr(registered, "needs_training", True) == entry.needs_training, name
        ours = {n for n in registry.registered_names() if not n.startswith("Fake")}
        assert ours == set(plugins.discover()[kind])


def test_needs_training_is_inherited_by_another_name():
    found = plugins.discover()["trainer"]
    assert found["ZeroShotCLIP"].needs_training is False
    assert found["ZeroshotCLIP"].needs_training is False
    assert found["CoOp"].needs_training is True


TWO_BASES = '''
from cerviclip.trainers.zeroshot_clip import ZeroShotCLIP
from dassl.engine import TRAINER_REGISTRY
from mixins import Fixed, Smooth

@TRAINER_REGISTRY.register()
class MixinFirst(Smooth, ZeroShotCLIP):
    """A mixin that says nothing stands before the trainer that does."""

@TRAINER_REGISTRY.register()
class FixedCoOp(Fixed, TRAINER_REGISTRY.get("ZeroShotCLIP")):
    """The mixin says it."""

@TRAINER_REGISTRY.register()
class Learns(Smooth, ZeroShotCLIP):
    needs_training = True
'''
MIXINS = """
class Smooth: ...
class Fixed:
    needs_training = False
"""


def test_needs_training_follows_every_base(tmp_path):
    write(tmp_path, MIXINS, "mixins.py")
    plugins.add_plugins([write(tmp_path, TWO_BASES)])
    found = plugins.discover()["trainer"]
    assert {n: found[n].needs_training for n in ("MixinFirst", "FixedCoOp", "Learns")} == {
        "MixinFirst": False,
        "FixedCoOp": False,
        "Learns": True,
    }
    assert found["MixinFirst"].base == "ZeroShotCLIP", "whose yaml files it shares"
    for name in ("MixinFirst", "FixedCoOp", "Learns"):
        assert plugins.ensure_loaded("trainer", name).needs_training == found[name].needs_training


def test_a_data_set_says_itself_that_it_is_rendered(tmp_path):
    found = plugins.discover()["dataset"]
    assert {name for name, entry in found.items() if entry.is_phantom} == {
        *("PhantomOCT", "PhantomHuaxi", "PhantomXiangya", "PhantomHuaxiB", "PhantomXiangyaB"),
        "PhantomDomains",
    }
    text = """
        from cerviclip.datasets.phantom_oct import PhantomOCT
        from dassl.data.datasets import DATASET_REGISTRY, DatasetBase

        @DATASET_REGISTRY.register()
        class Synthetic(PhantomOCT): ...

        @DATASET_REGISTRY.register()
        class PhantomLimb(DatasetBase): ...
        """
    plugins.add_plugins([write(tmp_path, text)])
    assert plugins.is_phantom("Synthetic") and not plugins.is_phantom("PhantomLimb")
    assert plugins.is_phantom("OfSomePhantom"), "of a plug-in that is not given: by its name"


def test_plugin_file_is_listed_and_loaded(tmp_path):
    plugins.add_plugins([write(tmp_path, GOOD)])
    entry = plugins.discover()["trainer"]["MyMethod"]
    assert entry.summary == "My method in one line." and entry.needs_training
    assert plugins.discover()["trainer"]["MyOther"].needs_training is False
    cls = plugins.ensure_loaded("trainer", "MyMethod")
    assert cls.__name__ == "MyMethod"
    assert plugins.extend_cfg_of(cls.__module__) is not None


def test_plugin_module_by_name_and_package(tmp_path, monkeypatch):
    package = tmp_path / "their_methods"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\n")
    (package / "inner.py").write_text(GOOD.replace("MyMethod", "TheirMethod"))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.add_plugins(["their_methods"])
    assert plugins.discover()["trainer"]["TheirMethod"].plugin == "their_methods"
    assert plugins.ensure_loaded("trainer", "TheirMethod").__name__ == "TheirMethod"


def test_a_plugin_may_hide_its_names_from_the_source(tmp_path):
    text = GOOD.replace("@TRAINER_REGISTRY.register()\nclass MyMethod", "class MyMethod")
    text += "\nREGISTER = getattr(TRAINER_REGISTRY, 'register')\nREGISTER(MyMethod)\n"
    plugins.add_plugins([write(tmp_path, text)])
    assert "MyMethod" not in plugins.discover()["trainer"]
    assert plugins.ensure_loaded("trainer", "MyMethod").__name__ == "MyMethod"


def test_broken_plugin_is_named_only_when_its_trainer_is_asked_for(tmp_path):
    broken = write(tmp_path, "import no_such_module\n" + GOOD, "broken.py")
    plugins.add_plugins([broken])
    assert plugins.ensure_loaded("trainer", "Vanilla").__name__ == "Vanilla"
    with pytest.raises(UnknownNameError) as caught:
        plugins.ensure_loaded("trainer", "MyMethod")
    message = str(caught.value)
    assert "broken.py" in message and "no_such_module" in message and "MyMethod" in message


def test_unknown_name_tells_of_plugins_that_failed(tmp_path):
    plugins.add_plugins([write(tmp_path, "raise ValueError('no licence')\n", "closed.py")])
    with pytest.raises(UnknownNameError) as caught:
        plugins.ensure_loaded("trainer", "Cooop")
    message = str(caught.value)
    assert "did you mean 'CoOp'" in message and "closed.py: ValueError: no licence" in message


def test_syntax_error_in_a_plugin_does_not_stop_the_listing(tmp_path):
    plugins.add_plugins([write(tmp_path, "TRAINER_REGISTRY = (\n", "typo.py")])
    assert "CoOp" in plugins.discover()["trainer"]
    with pytest.raises(UnknownNameError, match="typo.py: SyntaxError"):
        plugins.ensure_loaded("trainer", "Nothing")


def test_absent_plugins_are_errors(tmp_path):
    with pytest.raises(MissingFileError, match="none.py"):
        plugins.add_plugins([str(tmp_path / "none.py")])
    plugins.add_plugins(["no_such_plugin_module"])
    with pytest.raises(UnknownNameError, match="no_such_plugin_module"):
        plugins.ensure_loaded("trainer", "Nothing")


def test_entry_points_join_in(tmp_path, monkeypatch):
    (tmp_path / "installed_method.py").write_text(GOOD.replace("MyMethod", "Installed"))
    info = tmp_path / "installed_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dassl.plugins]\nours = installed_method\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.discover()["trainer"]["Installed"].plugin == "installed_method"
    assert plugins.ensure_loaded("trainer", "Installed").__name__ == "Installed"


@pytest.mark.slow
def test_an_installed_package_called_datasets_does_not_hide_ours(tmp_path, repo_dir):
    """Hugging Face's ``datasets`` is a regular package, and those win over namespace packages."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("raise ImportError('not this one')\n")
    code = """
        from cerviclip import plugins
        print(plugins.ensure_loaded("dataset", "PhantomOCT").__module__)
        print(plugins.ensure_loaded("trainer", "LinearProbe").__module__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={"PYTHONPATH": f"{tmp_path}:{repo_dir}", "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [
        "cerviclip.datasets.phantom_oct",
        "cerviclip.trainers.linear_probe",
    ], done.stderr


def test_import_dassl_registers_nothing_of_ours(repo_dir):
    code = "import dassl, dassl.engine as e; print(*sorted(e.TRAINER_REGISTRY.registered_names()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repo_dir, check=True
    )
    assert not {"CoOp", "SAVLT", "ZeroShotCLIP"} & set(done.stdout.split())
    assert "Vanilla" in done.stdout


def test_a_plug_in_under_a_name_that_exists_names_both_files(tmp_path):
    source = (
        "from dassl.engine import TRAINER_REGISTRY, TrainerX\n\n\n"
        "@TRAINER_REGISTRY.register()\nclass LinearProbe(TrainerX):\n    pass\n"
    )
    (tmp_path / "mine.py").write_text(source)
    plugins.add_plugins([str(tmp_path / "mine.py")])
    try:
        with pytest.raises(DuplicateNameError, match=r"LinearProbe.*mine\.py.*linear_probe\.py"):
            plugins.discover()
    finally:
        plugins.reset_plugins()
