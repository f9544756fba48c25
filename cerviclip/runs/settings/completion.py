"""What a shell may complete behind a flag: names of trainers, data sets and backbones, sweeps, and
config keys. Imports neither torch nor a trainer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dassl.errors import UserError

Completer = Callable[..., list[str]]


def offer(action: argparse.Action, completer: Completer) -> None:
    """Let argcomplete ask ``completer`` for the values of a flag."""
    action.completer = completer  # type: ignore[attr-defined]


def names_of(kind: str) -> Completer:
    """Completer of the registered names of a kind, those of ``--plugin`` among them."""

    def complete(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        from cerviclip import plugins

        with suppress(UserError):
            plugins.add_plugins(getattr(parsed_args, "plugins", None) or ())
        # of open_clip:<arch> the part that is fixed
        return [name.partition("<")[0] for name in plugins.discover()[kind]]

    return complete


def sweeps(**_: Any) -> list[str]:
    """Completer of the sweeps in configs/sweeps and configs/recipes."""
    from cerviclip.runs.settings.files.sweep_file import sweep_names

    return sweep_names()


def config_keys(**_: Any) -> list[str]:
    """Completer of the keys of the default tree; a trainer's own keys would take its import."""
    from cerviclip.runs.settings.config_hash import flatten
    from dassl.config import get_cfg_default

    return list(flatten(get_cfg_default()))
