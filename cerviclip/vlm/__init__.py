"""Vision-language backbones behind one interface: loading, text encoding, prompts and LoRA.

Importing this package imports neither torch nor clip; the names below load their module when used.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "Backbone": "base",
    "Preprocess": "base",
    "TextTower": "base",
    "VisionTower": "base",
    "get_backbone": "loading",
    "load_backbone": "loading",
    "clear_backbones": "loading",
    "PromptLearner": "prompts",
    "class_texts": "prompts",
    "encode_class_texts": "prompts",
    "apply_lora": "learned.lora",
    "load_lora_state_dict": "learned.lora",
    "lora_parameters": "learned.lora",
    "lora_state_dict": "learned.lora",
    "AdaptedTower": "learned.adapted",
    "unfreeze": "learned.adapted",
    "text_prompts": "learned.deep_prompts",
    "vision_prompts": "learned.deep_prompts",
    "save_compact_clip": "files.compact",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
