"""A stand-in for the one part of ``pkg_resources`` that copies of CLIP still import."""

from __future__ import annotations

import importlib.util
import sys
import types


def supply_pkg_resources() -> bool:
    """Put a minimal ``pkg_resources`` into ``sys.modules`` where setuptools no longer has one.

    Copies of OpenAI's ``clip.py`` run ``from pkg_resources import packaging`` to compare versions.

    Returns:
        True if the stand-in was installed, False if the real one is there (it is not imported).
    """
    if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources") is not None:
        return False
    import packaging
    import packaging.version

    module = types.ModuleType("pkg_resources", "The part of pkg_resources that CLIP code uses.")
    module.packaging = packaging  # type: ignore[attr-defined]
    module.parse_version = packaging.version.parse  # type: ignore[attr-defined]
    # pytest's syspath_prepend calls it wherever a pkg_resources is loaded.
    module.fixup_namespace_packages = lambda path, parent=None: None  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = module
    return True
