"""``AuditedRun``: the files of one run, each read once, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cerviclip.data.split.patient_grouped import PARTS
from cerviclip.data.split.record import read_split_record
from cerviclip.runs.audit.domains import domains_of
from cerviclip.runs.audit.findings import Finding, relative
from cerviclip.runs.predictions import (
    PREDICTIONS,
    VAL_PREDICTIONS,
    Predictions,
    read_predictions,
)
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.shapes import listed, name, parse_json
from dassl.config import read_yaml
from dassl.errors import UserError
from dassl.paths import is_file


@dataclass
class AuditedRun:
    """One run.

    Attributes:
        folder: where its results.json lies.
        root: the audited folder.
        results: of the newest schema.
        findings: what is wrong with its files.
    """

    folder: Path
    root: Path
    results: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    @property
    def where(self) -> str:
        return relative(self.folder, self.root)

    @property
    def done(self) -> bool:
        return self.results["status"] == "done"

    @property
    def ensemble(self) -> bool:
        """Made of finished runs: it has no configuration of its own."""
        return bool(self.results.get("ensemble"))

    @property
    def key(self) -> RunKey:
        return RunKey.of_results(self.results)

    def note(self, kind: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, self.where, text))

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """config.yaml; None where there is none or it cannot be read."""
        if self.ensemble:
            return None
        try:
            return read_yaml(self.folder / "config.yaml", "config file")
        except UserError as error:
            self._lost("config.yaml", error)
            return None

    @cached_property
    def split(self) -> dict[str, Any] | None:
        """split.json, each row with path, label and patient; None likewise."""
        try:
            record = read_split_record(self.folder / "split.json")
            for part in PARTS:
                record[part] = [dict(row) for row in record.get(part) or ()]
                _ = [(row["path"], row["label"], row["patient"]) for row in record[part]]
            if "draw_hash" in record:
                _ = [record[key] for key in ("classes", "hash", "dataset", "version")]
            return record
        except (OSError, ValueError, KeyError) as error:
            self._lost("split.json", error)
            return None

    @cached_property
    def joins(self) -> bool:
        """Whether its split joins several data sets: its word counts where config.yaml's data set
        may do so, or is not known here."""
        return "sources" in (self.split or {}) and domains_of(self.option("DATASET", "NAME")) != ()

    @cached_property
    def task(self) -> dict[str, Any] | None:
        """task.json: the classes and the positive group; None likewise."""
        try:
            content = self._json("task.json")
            for key in ("classnames", "positive"):
                listed(name)(content.get(key) or [], key)
            return content
        except (OSError, ValueError) as error:
            self._lost("task.json", error)
            return None

    @cached_property
    def predictions(self) -> dict[str, Predictions] | None:
        """Those of predictions.csv by centre; None likewise."""
        try:
            return {p.center: p for p in read_predictions(self.folder)}
        except (OSError, UserError) as error:
            self._lost(PREDICTIONS, error)
            return None

    @cached_property
    def val(self) -> Predictions | None:
        """Those of val_predictions.csv; None where there is none, which may be right."""
        path = self.folder / VAL_PREDICTIONS
        if not is_file(path):
            return None
        try:
            found = read_predictions(path)
        except (OSError, UserError) as error:
            self._lost(VAL_PREDICTIONS, error)
            return None
        return found[0] if found else None

    def option(self, section: str, key: str, default: Any = None) -> Any:
        """``SECTION.KEY`` of config.yaml."""
        part = (self.config or {}).get(section)
        return part.get(key, default) if isinstance(part, Mapping) else default

    def _json(self, name: str) -> dict[str, Any]:
        content = parse_json((self.folder / name).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        return content

    def _lost(self, name: str, error: Exception) -> None:
        if not is_file(self.folder / name):
            self.note("missing_file", f"there is no {name}")
        else:
            self.note("unreadable", f"{name}: {error}")
