"""Our transforms for an adopted trainer, where they are asked for. Needs no torch."""

from __future__ import annotations

from typing import Any

from cerviclip.places import CONFIGS
from dassl.config.yaml_file import merged_tree

#: What our own prompt learners read images by.
BASE = CONFIGS / "trainers" / "_base_" / "prompt_learning.yaml"


def transform_opts(whose: str) -> tuple[Any, ...]:
    """Overrides that give a run ``ours``; none for ``theirs``. The size stays the yaml's."""
    if whose != "ours":
        return ()
    keys = {f"INPUT.{key}": value for key, value in merged_tree(BASE)["INPUT"].items()}
    keys.pop("INPUT.SIZE", None)
    pairs = [(key, tuple(v) if isinstance(v, list) else v) for key, v in keys.items()]
    return ("ADOPT.TRANSFORMS", "ours", *(part for pair in pairs for part in pair))
