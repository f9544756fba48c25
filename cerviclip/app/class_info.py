"""What is known of a class: description, characteristics, risk, what is usually done; with sources.

The files are ``configs/class_info/<name>.yaml``: ``datasets`` that they are about, ``sources`` by a
short name, ``classes``. Each text is there in every language of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cerviclip.places import CONFIGS
from dassl.errors import MissingFileError, UserError

FOLDER = CONFIGS / "class_info"
FIELDS = ("description", "characteristics", "action")
RISKS = ("none", "low", "intermediate", "high", "cancer")


@dataclass(frozen=True)
class ClassInfo:
    """One class in one language.

    Attributes:
        name: the class in words.
        description: what it is.
        characteristics: what shows it in the picture.
        risk: one of `RISKS`; of the finding itself, if it is confirmed by a specialist.
        action: what guidelines say is usually done next; no advice.
        sources: references.
    """

    name: str
    description: str
    characteristics: str
    risk: str
    action: str
    sources: tuple[str, ...]


def class_info(dataset: str, classname: str, language: str, file: str = "") -> ClassInfo | None:
    """What the file about a data set says of a class; None where there is none.

    Args:
        dataset: registered name.
        classname: of the model.
        language: ``en`` or ``zh``.
        file: a file of the user's own instead.
    """
    paths = [Path(file)] if file else sorted(FOLDER.glob("*.yaml"))
    for path in paths:
        content = read_class_info(str(path))
        if not file and dataset not in content["datasets"]:
            continue
        entry = content["classes"].get(classname)
        if entry is None:
            return None
        texts = {key: entry[key][language] for key in ("name", *FIELDS)}
        sources = tuple(content["sources"][key] for key in entry["sources"])
        return ClassInfo(risk=entry["risk"], sources=sources, **texts)
    return None


@lru_cache(maxsize=32)
def read_class_info(path: str) -> Mapping[str, Any]:
    """A file, checked.

    Raises:
        UserError: it is not there, is no such file, or says of a class less than all.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"there is no class information {path}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is no yaml file ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or {"datasets", "sources", "classes"} - set(content):
        raise UserError(f"{path} needs the keys datasets, sources and classes")
    for name, entry in content["classes"].items():
        _check_class(path, name, entry, content["sources"])
    return content


def _check_class(path: str, name: str, entry: Any, sources: Mapping[str, str]) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{path}: class {name} has no fields")
    for key in ("name", *FIELDS):
        texts = entry.get(key)
        if not isinstance(texts, dict) or not all(texts.get(lang) for lang in ("en", "zh")):
            raise UserError(f"{path}: class {name} needs {key} in en and zh")
    if entry.get("risk") not in RISKS:
        raise UserError(f"{path}: risk of class {name} is one of {', '.join(RISKS)}")
    unknown = [key for key in entry.get("sources") or [""] if key not in sources]
    if unknown:
        raise UserError(f"{path}: class {name} names no source, or one not listed: {unknown[0]!r}")
