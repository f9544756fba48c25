"""Few-shot adaptation of vision-language models for cervical imaging, on Dassl's API.

    import cerviclip

    cerviclip.list_trainers()
    run = cerviclip.train(dataset="PhantomOCT", trainer="CoOp", backbone="PhantomCLIP", shots=16)
    sweep = cerviclip.sweep("demo", trainers=["CoOp", "SAVLT"], shots=[1, 4], seeds=[1, 2, 3])
    table = cerviclip.read_results("output")
    backbone = cerviclip.load_backbone("PhantomCLIP")
    answer = cerviclip.Predictor.from_run(run.folder).predict("new.png")

``import cerviclip`` loads neither torch nor a trainer; the names above load what they need when
they are used (cerviclip/api.py).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cerviclip.places import make_rooms_importable
from dassl._version import __version__ as __version__
from dassl.errors import UserError as UserError

if TYPE_CHECKING:
    from cerviclip.api import RunResult as RunResult
    from cerviclip.api import SweepResult as SweepResult
    from cerviclip.api import list_backbones as list_backbones
    from cerviclip.api import list_datasets as list_datasets
    from cerviclip.api import list_trainers as list_trainers
    from cerviclip.api import load_backbone as load_backbone
    from cerviclip.api import read_results as read_results
    from cerviclip.api import sweep as sweep
    from cerviclip.api import train as train
    from cerviclip.app.predictor import Predictor as Predictor

__all__ = [
    "Predictor",
    "RunResult",
    "SweepResult",
    "UserError",
    "__version__",
    "list_backbones",
    "list_datasets",
    "list_trainers",
    "load_backbone",
    "read_results",
    "sweep",
    "train",
]

make_rooms_importable()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Predictor":  # the app stands above the runs, which the api belongs to
        return importlib.import_module("cerviclip.app.predictor").Predictor
    from cerviclip import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
