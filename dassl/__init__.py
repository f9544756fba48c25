"""Dassl's public API, maintained: the engine under CerviCLIP and under code for Dassl 0.6.3.

Importing this package is cheap (no torch) and registers nothing.
"""

from dassl import _compat as _compat
from dassl._version import __version__

__all__ = ["__version__"]

_compat.supply_pkg_resources()
