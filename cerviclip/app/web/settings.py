"""What ``cerviclip web`` was asked for, as it goes to the process that serves the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class WebSettings:
    """Settings of a page.

    Attributes:
        runs: folders of runs to predict with.
        results: folders of runs to show tables and curves of.
        images: folders of pictures to review.
        reviews: where the readers' journals go.
        classes: of a review without a model.
        samples: folder of sample pictures; "" for none.
        weights: the backbone's file, if moved.
        device: ``cpu``, ``cuda`` or "".
        plugins: modules or files that register trainers.
        class_info: a yaml of the user's own.
        language: ``en``, ``zh`` or "" (the browser's).
        demo: no run was named: the demo model.
        audit_log: file in which every answer stands before it is shown; "" for none.
    """

    runs: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    reviews: str = "reviews"
    classes: tuple[str, ...] = ()
    samples: str = ""
    weights: str = ""
    device: str = ""
    plugins: tuple[str, ...] = ()
    class_info: str = ""
    language: str = ""
    demo: bool = False
    audit_log: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WebSettings:
        """The settings that `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        lists: dict[str, Any] = {k: tuple(v) for k, v in found.items() if isinstance(v, list)}
        return cls(**(found | lists))
