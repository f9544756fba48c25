"""Parts of a run's results that tests of the draft change."""

from __future__ import annotations

from typing import Any

from cerviclip.report.study import Part


def training_source(part: Part) -> dict[str, Any]:
    """The entry of ``flow.sources`` that the run was trained on."""
    (source,) = (s for s in part.run["flow"]["sources"].values() if s["role"] == "training")
    return source
