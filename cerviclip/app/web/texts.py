"""Every word of the page and of reports: a yaml per language (``en.yaml``, ``zh.yaml``).

What page, command and reports say alike stands once, in the folder ``shared``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from dassl.errors import UserError

if TYPE_CHECKING:
    from cerviclip.app.answer import Prediction

FOLDER = Path(__file__).with_name("texts")
SHARED = FOLDER / "shared"
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
    """Key -> string of a language: those of a folder and the shared ones."""
    files = (SHARED / f"{language}.yaml", folder / f"{language}.yaml")
    shared, own = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    return shared | own


def likeness(t: Texts, answer: Prediction) -> tuple[str, bool] | None:
    """Whether a picture resembles the training images, in words, and whether that is a caution;
    None where the run cannot say."""
    unlike = answer.out_of_distribution
    if unlike is None:
        return None
    words = {"score": f"{answer.ood_score:.3g}", "threshold": f"{answer.ood_threshold:.3g}"}
    return t("ood_unlike" if unlike else "ood_like", **words), unlike


def possible_classes(t: Texts, answer: Prediction, title: Callable[[str], str]) -> str:
    """The classes that a picture may be of, in words; "" where the run cannot say.

    Args:
        t: of a language.
        answer: on the picture.
        title: how a class is called.
    """
    if not answer.conformal_set:
        return ""
    coverage = "–" if answer.coverage is None else f"{100 * answer.coverage:.1f} %"
    names = t("between").join(map(title, answer.conformal_set))
    return t("conformal", names=names, coverage=coverage)


def language_of(locale: str | None) -> str:
    """The page's language for a browser's (``zh-CN``); English for all that there is no file of."""
    short = (locale or "").split("-")[0].lower()
    return short if short in LANGUAGES else "en"
