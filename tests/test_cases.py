"""A method or data set without a case is told what to write."""

from __future__ import annotations

from pathlib import Path

import cases
import pytest


@pytest.mark.parametrize("kind, case", [("trainer", "TrainerCase"), ("dataset", "DatasetCase")])
def test_one_line_says_what_to_write_and_where(monkeypatch, kind, case):
    found = cases.registered(kind)
    assert found and cases.what_is_missing(kind) == []
    more = found | {"Nova": Path(f"{kind}s/nova.py")}
    monkeypatch.setattr(cases, "registered", lambda kind: more)
    [line] = cases.what_is_missing(kind)
    assert f"Nova ({kind}s/nova.py) has no case: write CASE = {case}('Nova', ...)" in line
    assert f"tests/{kind}s/test_nova.py" in line


def test_a_case_of_nothing_is_named(monkeypatch):
    less = {n: path for n, path in cases.registered("trainer").items() if n != "CoOp"}
    monkeypatch.setattr(cases, "registered", lambda kind: less)
    [line] = cases.what_is_missing("trainer")
    assert "'CoOp', which nothing registers" in line
