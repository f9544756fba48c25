"""What the environment says of a run's settings. Needs no torch."""

from __future__ import annotations

import os

STORE_DTYPE = "CERVICLIP_STORE_DTYPE"
USUAL_STORE_DTYPE = "float16"


def store_dtype() -> str:
    """The number format that features are stored in now; an empty variable counts as none."""
    return os.environ.get(STORE_DTYPE) or USUAL_STORE_DTYPE
