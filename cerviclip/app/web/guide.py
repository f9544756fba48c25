"""Screening by age: what guidelines state, from ``configs/guide/screening.yaml``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import yaml

from cerviclip.places import CONFIGS

FILE = CONFIGS / "guide" / "screening.yaml"


class Rule(NamedTuple):
    """What one guideline states for an age.

    ``to`` is the last whole year, None for no end; ``caution`` says what of the text was not
    checked, "" where there is nothing to say.
    """

    title: str
    start: int
    to: int | None
    text: str
    note: str
    date: str
    source: str
    url: str
    caution: str = ""


@lru_cache(maxsize=1)
def read_guide() -> dict[str, Any]:
    """The file."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def rules_for(age: int, language: str) -> list[Rule]:
    """The rule of every guideline for an age in whole years."""
    found = []
    for guideline in read_guide()["guidelines"]:
        rules = guideline["rules"]
        number = max(i for i, rule in enumerate(rules) if rule["from"] <= age)
        end = rules[number + 1]["from"] - 1 if number + 1 < len(rules) else None
        found.append(
            Rule(
                guideline["title"][language],
                rules[number]["from"],
                end,
                rules[number][language],
                guideline["note"][language],
                str(guideline["date"]),
                guideline["source"],
                guideline["url"],
                guideline.get("caution", {}).get(language, ""),
            )
        )
    return found
