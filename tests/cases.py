"""What tests over all trainers and data sets must know of each: its test file exports a ``CASE``.

A new method is its file, one yaml and one test file; nothing that lists methods is edited.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cerviclip.plugins import discover

TESTS = Path(__file__).resolve().parent

#: One trainer of each kind: what the bare tests take where all of them would need minutes. The slow
#: tests take all.
SAMPLE = (
    *("ZeroShotCLIP", "LinearProbe", "TipAdapterF", "CoOp", "MaPLe", "CLIPLoRA", "SAVLT"),
    *("TransCLIP", "CNNBaseline"),
)


@dataclass(frozen=True)
class TrainerCase:
    """How a trainer runs in seconds on a tiny CLIP and images of three colours.

    ``opts`` are KEY, VALUE, KEY, VALUE ... on top of the fixtures' short schedule.
    """

    trainer: str
    opts: tuple[Any, ...] = ()
    backbone: str = "CLIP"  # the tiny one; of another name random weights are taken
    second_name_of: str = ""  # a subclass of one line, which shares the other's yaml files
    #: Title: more opts. Each is a kind of training step that must not wait for its device
    #: (tests/trainers/test_no_waiting.py); none for what is fitted in one go or trains nothing.
    steps: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    #: Opts with which a run on stored features must give the logits of a run on pixels.
    stored: tuple[Any, ...] = ()

    @property
    def shots(self) -> int:
        entry = discover()["trainer"].get(self.trainer)
        return 4 if entry is None or entry.needs_training else 0

    @property
    def run_options(self) -> dict[str, Any]:
        """Keywords of the fixtures ``run``, ``build`` and ``flags`` of tests/trainers."""
        return {"backbone": self.backbone, "shots": self.shots}


@dataclass(frozen=True)
class DatasetCase:
    """How a data set is pointed at small data: keys of cfg.DATASET, and what writes the data."""

    dataset: str
    write: Callable[[Path], Any]  # below the root that it is given
    options: Mapping[str, Any] = field(default_factory=dict)


@cache
def trainer_cases() -> dict[str, TrainerCase]:
    """The case of each trainer in ``trainers/``, by its name."""
    return {case.trainer: case for case in _exported("trainers", TrainerCase)}


@cache
def dataset_cases() -> dict[str, DatasetCase]:
    """The case of each data set in ``datasets/``, by its name."""
    return {case.dataset: case for case in _exported("datasets", DatasetCase)}


def registered(kind: str) -> dict[str, Path]:
    """The project's own trainers or data sets, and the file of each."""
    entries = discover()[kind].items()
    return {n: Path(e.source) for n, e in entries if e.module.startswith(f"cerviclip.{kind}s.")}


def what_is_missing(kind: str) -> list[str]:
    """A line for each registered name without a case, and for each case without a name."""
    cases = trainer_cases() if kind == "trainer" else dataset_cases()
    case_class = f"{kind.capitalize()}Case"
    files = registered(kind)
    lines = [
        f"{name} ({file.parent.name}/{file.name}) has no case: write CASE = {case_class}({name!r}, "
        f"...) into tests/{kind}s/test_{file.stem}.py; tests/cases.py says what it holds"
        for name, file in files.items()
        if name not in cases
    ]
    lines += [f"a CASE in tests/{kind}s names {n!r}, which nothing registers" for n in cases
              if n not in files]  # fmt: skip
    return lines


def _exported(folder: str, kind: type) -> Iterator[Any]:
    """What the test files of a folder have as ``CASE``: one case, or a tuple of them."""
    for path in sorted((TESTS / folder).glob("test_*.py")):
        if not re.search(r"^CASE = ", path.read_text(encoding="utf-8"), re.MULTILINE):
            continue
        spec = importlib.util.spec_from_file_location(f"case_of_{folder}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        exported = module.CASE if isinstance(module.CASE, tuple) else (module.CASE,)
        for case in exported:
            assert isinstance(case, kind), f"CASE in {path} is no {kind.__name__}: {case!r}"
            yield case
