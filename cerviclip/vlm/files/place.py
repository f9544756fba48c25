"""Where OpenAI's weight files lie. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where the ``clip`` package keeps its downloads; a file put there by hand is found as well."""
    return Path(os.path.expanduser("~/.cache/clip"))
