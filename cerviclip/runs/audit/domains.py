"""Which data sets a split may join, by the configuration: split.json's own word is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cerviclip import plugins
from cerviclip.data.split.folds import parse_fold
from dassl.errors import UserError


def domains_of(name: Any) -> tuple[str, ...] | None:
    """The domains of a registered data set, ``("*",)`` where DATASET.CENTERS alone names them.

    Returns:
        () for a data set that joins none; None for one that cannot be loaded here.
    """
    return _domains_of(str(name))


@lru_cache(maxsize=64)
def _domains_of(name: str) -> tuple[str, ...] | None:
    from cerviclip.data.centers.domains import CentersAsDomains  # brings torch

    try:
        kind = plugins.ensure_loaded("dataset", name)
    except UserError:
        return None
    if not (isinstance(kind, type) and issubclass(kind, CentersAsDomains)):
        return ()
    return tuple(kind.centers) or ("*",)


def sources_and_tested(options: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """The domains that are trained on, and those that are tested on.

    Args:
        options: DATASET of a config.yaml, where anything may stand.

    Returns:
        None where the data set or its options are not known here.
    """
    from cerviclip.data.centers.domains import sources_of  # brings torch

    domains = domains_of(options.get("NAME"))
    try:
        named, sources, targets = (
            _names(options.get(key)) for key in ("CENTERS", "SOURCE_DOMAINS", "TARGET_DOMAINS")
        )
        fold = parse_fold(options.get("FOLD") or "")
    except UserError:
        return None
    if not domains:
        return None
    used = list(dict.fromkeys(named)) or list(domains)
    if fold is None:
        sources = sources_of(used, sources)
        return sources, targets or sources
    left_out = used[fold.number - 1 : fold.number]
    return sources_of(used, sources, left_out[0] if left_out else None), left_out


def _names(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{value!r} is no list of names")
    return [str(name) for name in value]
