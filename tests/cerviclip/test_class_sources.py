"""Stand-ins have the attribute that the real classes have, over files, bases and import forms."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from cerviclip.class_sources import ClassSources

BASES = """
class Plain: ...

class Frozen(Plain):
    learns = False

class Learns(Plain):
    learns: bool = True

class Declared:
    learns: bool
"""
METHODS = """
import abc
from . import Still, bases
from .bases import Declared, Frozen, Learns, Plain as Simple
import zoo.bases as far
from zoo.bases import Learns as Again

class First(Frozen): ...
class TwoBases(Declared, Frozen): ...
class OrderCounts(Learns, Frozen): ...
class OtherOrder(Frozen, Learns): ...
class Diamond(First, Learns, Simple): ...
class BesideAnother(abc.ABC, Still): ...
class ByModule(bases.Frozen): ...
class ByAlias(Declared, far.Frozen): ...
class OwnSaysSo(Frozen):
    other = 1
    learns = True
class Absolute(Again): ...
class Nothing(Simple): ...
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .bases import Frozen as Still")
    (folder / "bases.py").write_text(BASES)
    (folder / "methods.py").write_text(METHODS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "zoo"]:
        del sys.modules[name]


def test_every_class_inherits_as_python_says(zoo):
    sources = ClassSources("learns")
    real = importlib.import_module("zoo.methods")
    names = [name for name in vars(real) if f"class {name}(" in METHODS]
    assert len(names) == 11
    answers = {}
    for name in names:
        seen = sources.stand_in(zoo / "methods.py", name)
        answers[name] = getattr(seen, "learns", None)
        assert answers[name] == getattr(getattr(real, name), "learns", None), name
        ours = [c.__name__ for c in getattr(real, name).__mro__ if c.__module__ != "abc"]
        assert [c.__name__ for c in seen.__mro__] == ours, name
    assert set(answers.values()) == {True, False, None}


def test_bases_that_no_file_holds_or_python_refuses(zoo):
    (zoo / "odd.py").write_text(
        "import nowhere\nfrom elsewhere import Gone\nfrom .bases import Frozen, Plain\n"
        "class Lost(nowhere.Base, Gone, call(), Frozen): ...\n"
        "class Disordered(Plain, Frozen): ...\n"
        "class Circle(Circle): ...\n"
    )
    sources = ClassSources("learns")
    assert sources.stand_in(zoo / "odd.py", "Lost").learns is False
    assert not hasattr(sources.stand_in(zoo / "odd.py", "Disordered"), "learns")
    assert sources.stand_in(zoo / "odd.py", "Circle").__mro__[1:] == (object,)
    assert sources.stand_in(zoo / "odd.py", "Absent") is None
    assert sources.stand_in(zoo / "no_file.py", "Absent") is None
