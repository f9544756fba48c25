"""What an ensemble is made of: it has no training and reads no image of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cerviclip.runs.ensemble import MEAN
from cerviclip.runs.report.groups import Group, member_label
from cerviclip.runs.report.tables import row_labels
from cerviclip.runs.settings.run_key import shots_words

PREPARED = (
    "the predictions of other runs were joined; each of these prepared images as its own method "
    "does, and the ensemble itself reads no image."
)


def members_of(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs that an ensemble joins; none of any other run."""
    return list((run.get("ensemble") or {}).get("members") or ())


def how_joined(run: Mapping[str, Any]) -> str:
    """``the mean of their probabilities``, or the stacking."""
    if run["ensemble"]["how"] == MEAN:
        return "the mean of their probabilities"
    return "a logistic regression on their log-probabilities, fitted on val (stacking)"


def ensemble_rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of settings in the place of a training."""
    made_of = "; ".join(_member(member) for member in members_of(run))
    return [
        ("training", "none of its own; each run that it is made of was trained as its method is"),
        ("made of", made_of),
        ("joined by", how_joined(run)),
    ]


def _member(member: Mapping[str, Any]) -> str:
    shots = (
        "" if member["shots"] == 0 else f", {shots_words(member['shots'])}, seed {member['seed']}"
    )
    fold = f", fold {member['fold']}" if member.get("fold") else ""
    return f"{member_label(member)}{shots}{fold}"


def what_it_is(group: Group) -> str:
    """``An ensemble of 3 methods: the mean of their probabilities``; "" for any other method."""
    if not group.members:
        return ""
    joined = how_joined(group.runs[0])
    return f"An ensemble of the runs of {', '.join(group.members)}: {joined}."


def ensemble_sentence(groups: Sequence[Group]) -> str:
    """Which methods are ensembles, or that none is."""
    labels = row_labels(groups)
    names = dict.fromkeys(labels[group.row] for group in groups if group.members)
    if not names:
        return "No models are combined into an ensemble."
    return f"Ensembles of models: {', '.join(names)}; the table above says of which."
