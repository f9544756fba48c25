"""Paths of the project's own folders: beside the package in a checkout, inside it when installed.

``trainers/``, ``datasets/``, ``configs/`` and ``tools/`` are importable as ``cerviclip.trainers``
and so on in both cases. Under their own names they would shadow other projects' (Hugging Face's
``datasets`` for one). Imports nothing heavy.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
#: The folder that holds ``trainers/``, ``datasets/``, ``configs/`` and ``tools/``.
HOME = PACKAGE if (PACKAGE / "trainers").is_dir() else PACKAGE.parent
ROOMS = ("trainers", "datasets", "configs", "tools")

CONFIGS = HOME / "configs"
PROMPTS = CONFIGS / "prompts"
ASPECTS = CONFIGS / "aspects"
SWEEPS = CONFIGS / "sweeps"
RECIPES = CONFIGS / "recipes"
CHAINS = CONFIGS / "chains"
CHOSEN = CONFIGS / "chosen"
FEDERATIONS = CONFIGS / "federations"


def install_hint(extra: str = "") -> str:
    """How to get the project's own packages, or those of an extra, in words for a person.

    Args:
        extra: a name of ``[project.optional-dependencies]``; "" for the core alone.
    """
    brackets = f"[{extra}]" if extra else ""
    if HOME == PACKAGE:  # installed from a wheel
        return f'pip install "cerviclip{brackets}"'
    where = f'".{brackets}"' if brackets else "."
    return f"pip install -e {where} in the folder of the checkout"


def make_rooms_importable() -> None:
    """Let ``cerviclip.trainers`` mean ``trainers/`` in a checkout, and so on."""
    if HOME == PACKAGE:
        return
    for room in ROOMS:
        name = f"cerviclip.{room}"
        if name in sys.modules or not (HOME / room).is_dir():
            continue
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(HOME / room)]
        sys.modules[name] = importlib.util.module_from_spec(spec)
        setattr(sys.modules["cerviclip"], room, sys.modules[name])
