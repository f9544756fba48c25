"""Runs of a federation in a table: each centre's test images under the centre's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cerviclip.evaluation.names import IN_DOMAIN
from cerviclip.runs.report.tables import Table
from cerviclip.runs.settings.folders import center_named

TEST_OF = "test of "


def _center_of(run: Mapping[str, Any]) -> str:
    return center_named(Path(run["folder"]).absolute(), run["variant"])


def tests_by_center(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The runs, those of a federation with the test images called by their centre: centres that
    share a data set have one ``test`` each, which are told apart by nothing else.

    Where all runs of a centre have one split, it is no longer held against those of others.
    """
    centers: dict[str, set[str]] = {}
    splits: dict[tuple[str, str, str], set[str]] = {}
    for run in runs:
        if name := _center_of(run):
            centers.setdefault(run["dataset"], set()).add(name)
            key = run["dataset"], name, run["fold"]
            splits.setdefault(key, set()).add(run.get("split_hash") or "")
    return [
        _renamed(run, name, len(splits[run["dataset"], name, run["fold"]]) == 1)
        if (name := _center_of(run)) and len(centers[run["dataset"]]) > 1
        else dict(run)
        for run in runs
    ]


def without_idle_rows(table: Table) -> Table:
    """The table without the rows of a centre's runs in the blocks of other centres."""
    blocks = [
        (center, [row for row in rows if set(row[1]) != {"-"} or not center.startswith(TEST_OF)])
        for center, rows in table.blocks
    ]
    return replace(table, blocks=blocks)


def _renamed(run: Mapping[str, Any], name: str, one_split: bool) -> dict[str, Any]:
    blocks = {
        f"{TEST_OF}{name}" if center == IN_DOMAIN else center: entry
        for center, entry in run["centers"].items()
    }
    return {**run, "centers": blocks, **({"split_hash": ""} if one_split else {})}
