"""Every word of the page and of reports: a yaml per language (``en.yaml``, ``zh.yaml``)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

from dassl.errors import UserError

FOLDER = Path(__file__).with_name("texts")
LANGUAGES = {"en": "English", "zh": "中文"}


class Texts:
    """The strings of one language.

    Args:
        language: one of `LANGUAGES`.
        folder: where its yaml is; by default the page's.
    """

    def __init__(self, language: str, folder: Path = FOLDER) -> None:
        if language not in LANGUAGES:
            raise UserError(f"there is no language {language!r} (there are {', '.join(LANGUAGES)})")
        self.language = language
        self._strings = read_texts(language, folder)

    def __call__(self, key: str, **values: object) -> str:
        """A string with its ``{places}`` filled."""
        return self._strings[key].format(**values)

    def maybe(self, key: str, default: str) -> str:
        """A string if there is one, such as the title of a metric."""
        return self._strings.get(key, default)


@lru_cache(maxsize=2 * len(LANGUAGES))
def read_texts(language: str, folder: Path = FOLDER) -> dict[str, str]:
    """Key -> string of a language."""
    return yaml.safe_load((folder / f"{language}.yaml").read_text(encoding="utf-8"))


def language_of(locale: str | None) -> str:
    """The page's language for a browser's (``zh-CN``); English for all that there is no file of."""
    short = (locale or "").split("-")[0].lower()
    return short if short in LANGUAGES else "en"
