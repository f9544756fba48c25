"""Python, the packages that the project needs, and its extras; by metadata, without imports."""

from __future__ import annotations

import platform
import sys
from collections import defaultdict
from importlib import metadata

from packaging.requirements import Requirement

from cerviclip.app.doctor.check import FAULT, NOTE, OK, Check
from cerviclip.places import install_hint
from dassl._version import __version__

LEAST_PYTHON = (3, 10)
DISTRIBUTION = "cerviclip"
_NAMED = ("torch", "torchvision", "numpy", "pillow")  # whose versions decide on numbers
_FOR_DEVELOPERS = ("test", "browser", "coverage", "mutants", "release", "docs")


def check_python() -> Check:
    found = f"CerviCLIP {__version__}, Python {platform.python_version()}"
    if sys.version_info < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return Check("Python", FAULT, found, f"install Python {least} or later")
    return Check("Python", OK, found)


def check_packages() -> list[Check]:
    """The packages of the core, a line for each extra, and one for all extras of developers."""
    try:
        wanted = list(map(Requirement, metadata.requires(DISTRIBUTION) or []))
    except metadata.PackageNotFoundError:
        found = "the project is not installed; it runs from its folder"
        return [Check("packages", NOTE, found, f"{install_hint()} to have its packages checked")]
    extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    groups = by_extra(wanted, extras)
    checks = [_core(groups.pop("", []))]
    others = [name for name in sorted(groups) if name not in _FOR_DEVELOPERS]
    return checks + [_extra(name, groups[name]) for name in others] + _for_developers(groups)


def by_extra(wanted: list[Requirement], extras: list[str]) -> dict[str, list[Requirement]]:
    """Extra -> what it asks for; "" -> what the core asks for on this machine."""
    groups: dict[str, list[Requirement]] = defaultdict(list)
    for one in wanted:
        if one.name == DISTRIBUTION:  # an extra made of others
            continue
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            groups[""].append(one)
            continue
        for extra in extras:
            if one.marker.evaluate({"extra": extra}):
                groups[extra].append(one)
    return dict(groups)


def lacking(wanted: list[Requirement]) -> list[str]:
    """``name (wants >=2, has 1.9)`` of each that is absent or of another version."""
    found = []
    for one in wanted:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            found.append(one.name)
            continue
        if not one.specifier.contains(version, prereleases=True):
            found.append(f"{one.name} (wants {one.specifier}, has {version})")
    return found


def _core(wanted: list[Requirement]) -> Check:
    missing = lacking(wanted)
    if missing:
        return Check("packages", FAULT, f"lacks {', '.join(missing)}", install_hint())
    named = ", ".join(f"{name} {metadata.version(name)}" for name in _NAMED)
    return Check("packages", OK, f"all {len(wanted)}: {named}")


def _extra(name: str, wanted: list[Requirement]) -> Check:
    missing = lacking(wanted)
    if not missing:
        return Check(f"extra {name}", OK, ", ".join(one.name for one in wanted))
    remedy = f"{install_hint(name)} if you need it"
    return Check(f"extra {name}", NOTE, f"lacks {', '.join(missing)}", remedy)


def _for_developers(groups: dict[str, list[Requirement]]) -> list[Check]:
    """What is wanted by those alone who change the project."""
    every = {name: groups[name] for name in _FOR_DEVELOPERS if name in groups}
    if not every:
        return []
    lacks = [name for name, wanted in every.items() if lacking(wanted)]
    if not lacks:
        return [Check("extras of developers", OK, ", ".join(every))]
    remedy = f"{install_hint(','.join(lacks))} to change the project itself"
    return [Check("extras of developers", NOTE, f"not whole: {', '.join(lacks)}", remedy)]
