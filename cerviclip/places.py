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
