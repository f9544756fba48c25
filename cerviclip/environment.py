"""Environment variables: the store's number format and the cache's folder. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

STORE_DTYPE = "CERVICLIP_STORE_DTYPE"
USUAL_STORE_DTYPE = "float16"


def store_dtype() -> str:
    """The number format that features are stored in now; an empty variable counts as none."""
    return os.environ.get(STORE_DTYPE) or USUAL_STORE_DTYPE


def cache_folder() -> Path:
    """``$CERVICLIP_CACHE``, or ``~/.cache/cerviclip``: features, ROIs and hashes of files."""
    return Path(os.environ.get("CERVICLIP_CACHE") or Path.home() / ".cache" / "cerviclip")
