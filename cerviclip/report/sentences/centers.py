"""Centres of a federation that share a data set: each is told of under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cerviclip.report.study import Part, Study
from cerviclip.runs.report.groups import Group
from cerviclip.runs.settings.folders import WAYS, center_named

POOLED = "all centres (pooled)"
_LOCAL, _FEDERATED, _POOLED_WAY = WAYS
_FIRST = (_FEDERATED, _LOCAL, _POOLED_WAY)  # whose run tells of a centre's data


def views(part: Part) -> list[Part]:
    """The part, or one of each centre where runs of a federation share its data set.

    Centres come in the order of their runs, the pooled images of all after them, and runs that are
    of no federation last, under the name of the data set.
    """
    found: dict[tuple[Path, str], list[Group]] = {}
    for group in part.groups:
        found.setdefault(_place(group.runs[0]), []).append(group)
    if len(found) < 2:
        return [part]
    places = sorted(found, key=lambda place: (place[1] in ("", POOLED), place[1] == ""))
    names = [name for _, name in places]
    return [
        _view(part, found[root, name], name and name + f" of {root.name}" * (names.count(name) > 1))
        for root, name in places
    ]


def all_views(study: Study) -> list[Part]:
    """`views` of each data set."""
    return [view for part in study.parts for view in views(part)]


def centers_of(part: Part) -> list[str]:
    """The centres of a federation that share a data set; none of any other."""
    return [view.shown for view in views(part) if view.shown and not view.shown.startswith(POOLED)]


def _place(run: Mapping[str, Any]) -> tuple[Path, str]:
    """Folder of the federation and the centre that a run is of; no centre for any other run."""
    folder = Path(run["folder"]).absolute()
    name = center_named(folder, run["variant"])
    if not name:
        return Path(), ""
    return folder.parent.parent, POOLED if folder.parent.name == _POOLED_WAY else name


def _view(part: Part, groups: list[Group], name: str) -> Part:
    """What the runs of one centre say; the run in detail is told of as it is."""
    if part.featured in groups:
        return replace(part, groups=groups, shown=name)
    featured = min(groups, key=lambda group: _order(group.runs[0]))
    return replace(part, groups=groups, featured=featured, run=featured.runs[0], shown=name)


def _order(run: Mapping[str, Any]) -> int:
    way = Path(run["folder"]).absolute().parent.name
    return _FIRST.index(way) if way in _FIRST else len(_FIRST)
