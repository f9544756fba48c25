"""What is known of each release: where it is to be had, its licence, tree, counts and hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from cerviclip.places import CONFIGS
from dassl.errors import UnknownNameError, did_you_mean

FILE = CONFIGS / "releases.yaml"


@dataclass(frozen=True)
class Release:
    """An entry of ``configs/releases.yaml``; empty where nobody has said so."""

    homepage: str
    licence: str
    home: str
    tree: Sequence[str] = ()
    images: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def releases() -> dict[str, Release]:
    """Every release by the data set's name."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: Release(**entry) for name, entry in content.items()}


def release_of(dataset: str) -> Release:
    """The release that a data set reads.

    Raises:
        UnknownNameError: it is made of other sets, rendered, or somebody's own.
    """
    known = releases()
    if dataset not in known:
        raise UnknownNameError(
            f"no release is known of {dataset!r}{did_you_mean(dataset, known)}; there are "
            f"{', '.join(known)}"
        )
    return known[dataset]


def compare_counts(release: Release, counts: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """(what, read, known) for each known count; "all" is the number of images."""
    rows = [(name, counts.get(name, 0), known) for name, known in release.classes.items()]
    if release.images:
        rows.append(("all", sum(counts.values()), release.images))
    return rows
