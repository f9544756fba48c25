"""Prompt sets: descriptions of each class in words, read from YAML or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip.data.files.names import near_equal
from cerviclip.places import PROMPTS
from dassl.config.yaml_file import read_typed
from dassl.errors import MissingFileError, UserError
from dassl.paths import at_home, is_file

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
    path = find_descriptions(source)
    if path is None:
        raise MissingFileError(
            f"no descriptions at {source} nor in {PROMPTS}; check DATASET.DESCRIPTIONS"
        )
    # JSON is yaml.
    file = read_typed(path, "descriptions file", "prompt sets or class names with texts")
    content = _keys_as_typed(file.tree, file.typed)
    if not content:
        raise UserError(f"descriptions file {path} is empty; map class names to texts")
    if any(name in content for name in classnames):
        content = {"descriptions": content}
    return {str(name): _one_set(path, name, texts, classnames) for name, texts in content.items()}


def find_descriptions(source: str | Path) -> Path | None:
    """The file that a path, or the name of a file in ``configs/prompts``, means."""
    path = at_home(source)
    candidates = (path, PROMPTS / path, PROMPTS / f"{path}.yaml")
    return next((candidate for candidate in candidates if is_file(candidate)), None)


def _keys_as_typed(tree: dict[Any, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """The mapping with the text of its keys: 07 and no are names of classes here."""
    return {
        name: _keys_as_typed(value, below) if isinstance(value, dict) else value
        for value, (name, below) in zip(tree.values(), typed.items(), strict=True)
    }


def _one_set(
    path: Path, name: str, content: Any, classnames: Sequence[str]
) -> dict[str, list[str]]:
    if not isinstance(content, dict):
        hint = _other_spelling(name, classnames)
        raise UserError(f'prompt set "{name}" in {path} must map class names to texts{hint}')
    texts = {}
    for classname in classnames:
        value = content.get(classname)
        lines = [value] if isinstance(value, str) else value
        sound = isinstance(lines, list) and all(isinstance(t, str) and t.strip() for t in lines)
        if not lines or not sound:
            hint = "".join(_other_spelling(str(key), [classname]) for key in content)
            if value is not None and not isinstance(value, (str, list, dict)):
                hint = f"; {value!r} is no text: quote it"
            raise UserError(
                f'prompt set "{name}" in {path} has no texts for class {classname}{hint}'
            )
        texts[classname] = [" ".join(line.split()) for line in lines]
    return texts


def _other_spelling(name: str, classnames: Sequence[str]) -> str:
    """A hint where a name is a class's but for capitals, blanks, dashes or underscores."""
    for classname in classnames:
        if name != classname and near_equal([name, classname]):
            return f"; the class is spelled {classname}, not {name}"
    return ""
