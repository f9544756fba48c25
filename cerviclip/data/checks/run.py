"""A whole check: survey, probes, rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from cerviclip.data.checks.copies import check_copies
from cerviclip.data.checks.findings import KINDS, ordered
from cerviclip.data.checks.layout import check_layout
from cerviclip.data.checks.pictures import check_pictures
from cerviclip.data.checks.probe import Probe, probe_all
from cerviclip.data.checks.report import Report
from cerviclip.data.checks.survey import Survey
from dassl.errors import UnknownNameError, did_you_mean


def check_survey(
    survey: Survey,
    jobs: int = 1,
    alike: bool = True,
    ignore: Iterable[str] = (),
    advance: Callable[[Probe], object] = lambda _: None,
) -> Report:
    """Look at every image of a survey and say what is wrong.

    Args:
        survey: of a data set or a folder.
        jobs: processes that decode.
        alike: look for nearly equal pictures too (imagehash).
        ignore: kinds of finding to leave out.
        advance: given each file's probe when it is done.

    Raises:
        UserError: an unknown kind, or no imagehash.
    """
    ignored = set(ignore)
    for kind in ignored - KINDS.keys():
        raise UnknownNameError(f"unknown finding {kind!r}{did_you_mean(kind, KINDS)}; see --kinds")
    paths = [entry.path for entry in survey.entries]
    probes = probe_all(str(survey.folder), paths, jobs, alike, advance)
    found = [
        *check_layout(survey),
        *check_pictures(survey, probes),
        *check_copies(survey, probes),
    ]
    kept = ordered([finding for finding in found if finding.kind not in ignored])
    return Report(survey, probes, kept, Counter(f.kind for f in found if f.kind in ignored))
