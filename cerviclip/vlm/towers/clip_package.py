"""Import of the ``clip`` package, whose ``pkg_resources`` need ``import dassl`` has seen to."""

from __future__ import annotations

import importlib
import types

from dassl import _compat
from dassl.errors import UserError


def import_clip() -> types.ModuleType:
    """The ``clip`` package with its ``clip.model``, where there is pkg_resources or not."""
    _compat.supply_pkg_resources()
    try:
        clip = importlib.import_module("clip")
        importlib.import_module("clip.model")
    except ImportError as error:
        raise UserError(
            f"the clip package cannot be imported ({error}); install it: pip install clip-anytorch"
        ) from error
    return clip
