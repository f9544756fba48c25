"""Prompt sets: descriptions of each class in words, read from YAML or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cerviclip.places import PROMPTS
from dassl.errors import MissingFileError, UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where it is there

Descriptions = dict[str, dict[str, list[str]]]


def load_descriptions(source: str | Path, classnames: Sequence[str]) -> Descriptions:
    """Prompt sets for the given classes.

    The file holds ``{prompt set: {class name: text or list of texts}}``, or a single set
    ``{class name: ...}``, which is then called ``descriptions``.

    Args:
        source: a path, or the name of a file in ``configs/prompts``; "" gives no prompt sets.
        classnames: every set must describe each of them; others are left out.
    """
    if not source:
        return {}
    path = _find(source)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # JSON is YAML
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"descriptions {path} are not valid YAML or JSON: {detail}") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"descriptions {path} must map prompt sets or class names to texts")
    if any(name in content for name in classnames):
        content = {"descriptions": content}
    return {str(name): _one_set(path, name, texts, classnames) for name, texts in content.items()}


def _find(source: str | Path) -> Path:
    path = Path(source).expanduser()
    for candidate in (path, PROMPTS / path, PROMPTS / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    raise MissingFileError(
        f"no descriptions at {path} nor in {PROMPTS}; check DATASET.DESCRIPTIONS"
    )


def _one_set(
    path: Path, name: str, content: Any, classnames: Sequence[str]
) -> dict[str, list[str]]:
    if not isinstance(content, dict):
        raise UserError(f'prompt set "{name}" in {path} must map class names to texts')
    texts = {}
    for classname in classnames:
        value = content.get(classname)
        lines = [value] if isinstance(value, str) else value
        if not lines or not all(isinstance(line, str) and line.strip() for line in lines):
            raise UserError(f'prompt set "{name}" in {path} has no texts for class {classname}')
        texts[classname] = [" ".join(line.split()) for line in lines]
    return texts
