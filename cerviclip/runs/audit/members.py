"""Ensembles: made again from the predictions of the runs that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cerviclip.runs.audit.run_folder import AuditedRun
from cerviclip.runs.ensemble import TRAINER
from dassl.errors import UserError

_TOLERANCE = 1e-6  # of a probability; a stacking's fit moves the last digits
_OF_MEMBER = ("trainer", "variant", "backbone", "shots", "fold", "seed")


def check_name(run: AuditedRun) -> None:
    """What calls itself an ensemble stands in tables as one: it has no configuration, so none is
    checked."""
    if run.ensemble and run.key.trainer != TRAINER:
        text = f"it calls itself an ensemble, and its trainer is {run.key.trainer}"
        run.note("identity", f"{text}, not {TRAINER}")


def check_members(runs: Sequence[AuditedRun]) -> None:
    """The predictions of each ensemble are those that its members give, as they are now."""
    made = [run for run in runs if run.done and run.ensemble]
    there = {_key(run.results, run.results): run for run in runs if run.done} if made else {}
    for run in made:
        keys = [_key(run.results, member) for member in run.results["ensemble"]["members"]]
        members = [there.get(key) for key in keys]
        found = [member for member in members if member is not None]
        if run in found:
            run.note("identity", "ensemble: it names itself among its runs")
        elif len(found) < len(members):
            count = f"{len(members) - len(found)} of {len(members)}"
            run.note("not_checked", f"ensemble: {count} of its runs are not below this folder")
        else:
            if why := _other_members(run, found):
                run.note("identity", why)
            if why := _unlike(run, found):
                run.note("scores", why)


def _other_members(run: AuditedRun, members: Sequence[AuditedRun]) -> str:
    """Whether a member is another run now than the one that was joined; "" if none is."""
    for told, member in zip(run.results["ensemble"]["members"], members, strict=True):
        if told.get("config_hash", member.results["config_hash"]) != member.results["config_hash"]:
            return f"ensemble: {member.where} has another config_hash than the run that it joined"
    return ""


def _key(results: Mapping[str, Any], member: Mapping[str, Any]) -> tuple[Any, ...]:
    return (results["dataset"], *(member.get(name) for name in _OF_MEMBER))


def _unlike(run: AuditedRun, members: Sequence[AuditedRun]) -> str:
    """What the members do not give; "" if nothing."""
    from cerviclip.runs.ensemble import Ensemble

    results = [member.results | {"folder": str(member.folder)} for member in members]
    try:
        again = Ensemble(results, str(run.results["ensemble"].get("how")), run.key.variant)
        found = {p.center: p for p in again.combine()[0]}
    except (UserError, OSError) as error:
        return f"its runs make no ensemble: {error}"
    own = run.predictions or {}
    if found.keys() != own.keys():
        return f"it has predictions of {', '.join(own)}, its runs of {', '.join(found)}"
    for center, p in found.items():
        if p.paths != own[center].paths:
            return f"its images of {center} are others than those of its runs"
        off = np.abs(p.probs - own[center].probs).max(axis=1)
        if (off > _TOLERANCE).any():
            path = p.paths[int(off.argmax())]
            return f"its runs give other probabilities of {center}, such as for {path}"
    return ""
