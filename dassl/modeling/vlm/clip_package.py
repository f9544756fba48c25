"""Import of the ``clip`` package, which asks for a module that setuptools no longer has.

``clip.clip`` begins with ``from pkg_resources import packaging``, only to compare torch's version.
Where that module is gone, a stand-in holding ``packaging`` lives for the length of that one import.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

from dassl.errors import UserError


def import_clip() -> types.ModuleType:
    """The ``clip`` package with its ``clip.model``, where there is pkg_resources or not."""
    stand_in = None
    if "clip" not in sys.modules and "pkg_resources" not in sys.modules:
        if importlib.util.find_spec("pkg_resources") is None:
            import packaging
            import packaging.version

            stand_in = types.ModuleType("pkg_resources")
            stand_in.packaging = packaging  # type: ignore[attr-defined]
            sys.modules["pkg_resources"] = stand_in
    try:
        clip = importlib.import_module("clip")
        importlib.import_module("clip.model")
    except ImportError as error:
        raise UserError(
            f"the clip package cannot be imported ({error}); install it: pip install clip-anytorch"
        ) from error
    finally:
        if stand_in is not None and sys.modules.get("pkg_resources") is stand_in:
            del sys.modules["pkg_resources"]
    return clip
