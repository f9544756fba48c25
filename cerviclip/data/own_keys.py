"""Config keys of a single data set: ``DATASET.<NAME>.<KEY>``, with their defaults beside its code.

A data set's module calls `add_keys` in its ``extend_cfg``; the class reads them with `keys_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from yacs.config import CfgNode

from dassl.errors import UserError, did_you_mean


def add_keys(cfg: CfgNode, section: str, defaults: Mapping[str, Any]) -> None:
    """Add ``DATASET.<section>`` with its defaults to a configuration."""
    cfg.DATASET[section] = CfgNode(dict(defaults))


def keys_of(cfg: CfgNode, section: str, defaults: Mapping[str, Any]) -> SimpleNamespace:
    """The data set's own keys.

    The configuration of another data set's training, whose external centre this is, has none of
    them: then the defaults count.
    """
    return SimpleNamespace(**{**defaults, **cfg.DATASET.get(section, {})})


def one_of(key: str, value: str, known: Sequence[str]) -> str:
    """A value that must be one of a few words, in any case of the letters.

    Raises:
        UserError: it is none of them.
    """
    by_word = {word.casefold(): word for word in known}
    found = by_word.get(str(value).strip().casefold())
    if found is None:
        shown = ", ".join(word or '""' for word in known)
        raise UserError(
            f'DATASET.{key} is "{value}"; it takes {shown}{did_you_mean(str(value), known)}'
        )
    return found
