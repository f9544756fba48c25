"""The whole report of a study."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from cerviclip.report.document import Document
from cerviclip.report.methods import introduction, methods
from cerviclip.report.results import closing, results
from cerviclip.report.sentences.centers import centers_of
from cerviclip.report.study import Study


def build_document(study: Study, figures: Path, csv_name: str = "report_runs.csv") -> Document:
    """The report; its figures are written to a folder, and `write_runs` writes the CSV."""
    names = ", ".join(
        part.name + (f" ({', '.join(centers_of(part))})" if centers_of(part) else "")
        for part in study.parts
    )
    ended = [str(run["runtime"].get("ended", "")) for run in study.done]
    last = max(ended) or datetime.now(timezone.utc).isoformat(timespec="seconds")
    document = Document(
        f"Methods and results: {names}",
        f"Draft by cerviclip report; last run ended {last[:10]}. In the terms of STARD-AI (2025), "
        "TRIPOD+AI (2024) and CLAIM (2024). Research use only.",
    )
    introduction(document, study)
    methods(document, study, csv_name)
    results(document, study, figures)
    closing(document, study)
    return document
