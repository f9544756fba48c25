"""Fonts of PDF files and figures: DejaVu Sans for Latin, Greek and Cyrillic, an installed one for
Chinese.

DejaVu Sans comes with matplotlib. A Chinese font has many megabytes, so none is shipped: one of
``CHINESE`` is looked for where the system keeps its fonts.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

#: How the files of fonts with Chinese begin, the first that is found is taken.
CHINESE = (
    *("NotoSansCJKsc-Regular", "NotoSansSC-Regular", "NotoSansCJK-Regular", "NotoSansCJK"),
    *("SourceHanSansSC-Regular", "SourceHanSans-Regular", "wqy-microhei", "wqy-zenhei"),
    *("DroidSansFallbackFull", "msyh", "simhei", "PingFang", "Hiragino Sans GB"),
)
REMEDY = "apt-get install fonts-noto-cjk"
_BLANKS = "\xa0\u202f"  # that break no line; Python calls them not printable
UNKNOWN = "?"  # stands for a character that no font has


class FontFile(NamedTuple):
    """A font in a file; ``number`` is its place in a collection (.ttc)."""

    path: Path
    number: int = 0


def plain_fonts() -> tuple[Path, Path]:
    """DejaVu Sans, regular and bold."""
    spec = importlib.util.find_spec("matplotlib")  # its import would take a second
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"


@lru_cache(maxsize=1)
def chinese_font() -> FontFile | None:
    """The first installed font of `CHINESE`; None where there is none."""
    files = [path for folder in _folders() for path in sorted(folder.rglob("*.[ot]t[fc]"))]
    for start in CHINESE:
        for path in files:
            if path.stem.lower().startswith(start.lower()):
                return FontFile(path, _simplified(path))
    return None


def _folders() -> list[Path]:
    """Where Linux, macOS and Windows keep fonts, those of the user first."""
    home = Path.home()
    every = [
        *(home / ".local/share/fonts", home / ".fonts", home / "Library/Fonts"),
        *(Path("/usr/local/share/fonts"), Path("/usr/share/fonts")),
        *(Path("/Library/Fonts"), Path("/System/Library/Fonts")),
        Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
    ]
    return [folder for folder in every if folder.is_dir()]


def _simplified(path: Path) -> int:
    """The place of the font with simplified forms in a collection; 0 for a single font."""
    from fontTools.ttLib import TTCollection

    if path.suffix.lower() not in (".ttc", ".otc"):
        return 0
    with TTCollection(str(path), lazy=True) as collection:
        names = [str(font["name"].getDebugName(1)) for font in collection.fonts]
    return next((i for i, name in enumerate(names) if name.endswith("SC")), 0)


@lru_cache(maxsize=4)
def characters_of(font: FontFile) -> frozenset[int]:
    """Code points that a font has a glyph for."""
    from fontTools.ttLib import TTFont

    number = font.number if font.path.suffix.lower() in (".ttc", ".otc") else -1
    with TTFont(str(font.path), fontNumber=number, lazy=True) as file:
        return frozenset(file.getBestCmap())


class Shown:
    """Text as the fonts at hand can show it; keeps account of what they cannot.

    Attributes:
        missing: characters that no font has.
        chinese: the font for what DejaVu Sans lacks, once some text has needed it.
    """

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.chinese: FontFile | None = None
        self._plain = characters_of(FontFile(plain_fonts()[0]))

    def __call__(self, text: str) -> str:
        """The text, with `UNKNOWN` for each character that cannot be shown."""
        return "".join(map(self._one, text))

    def is_plain(self, text: str) -> bool:
        """Whether DejaVu Sans has all characters."""
        return all(ord(char) in self._plain for char in text if char != "\n")

    def _one(self, char: str) -> str:
        visible = char.isprintable() or char in _BLANKS
        if char == "\n" or (visible and ord(char) in self._plain):
            return char
        font = chinese_font() if char.isprintable() else None
        if font is not None and ord(char) in characters_of(font):
            self.chinese = font
            return char
        self.missing.add(char)
        return UNKNOWN
