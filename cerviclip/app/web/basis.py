"""What an answer's calibrated values and thresholds are, and on how many patients they rest.

In words for the page, the command and PDFs alike. Needs neither Streamlit nor fpdf2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cerviclip.evaluation.measures.sample import FEWEST_EVENTS, is_few
from cerviclip.evaluation.measures.thresholds.operating_points import same_threshold

if TYPE_CHECKING:
    from cerviclip.app.answer import Prediction
    from cerviclip.app.web.texts import Texts
    from cerviclip.evaluation.measures import Home

_MOST_DIGITS = 6  # of a threshold in percent


def by_threshold(thresholds: Mapping[str, float]) -> list[tuple[list[str], str]]:
    """Names of the operating points that have one threshold, and the threshold in percent.

    It has as many digits as it takes to tell it from the others.
    """
    named = same_threshold(thresholds)
    for digits in range(1, _MOST_DIGITS + 1):
        said = [f"{100 * threshold:.{digits}f} %" for threshold in named.values()]
        if len(set(said)) == len(named):
            break
    return list(zip(map(list, named), said, strict=True)) if named else []


def point_titles(t: Texts, names: Sequence[str]) -> list[str]:
    """How operating points are called."""
    return [t.maybe(f"point_{name}", name) for name in names]


def coinciding(t: Texts, thresholds: Mapping[str, float], on: str) -> list[str]:
    """A sentence on each threshold that several operating points share.

    Args:
        t: of a language.
        thresholds: operating point -> its threshold, in 0-1.
        on: the images that it was chosen on, such as ``val``.
    """
    return [
        t(
            "points_coincide",
            **{"n": len(names), "names": joined(t, point_titles(t, names)), "threshold": said},
            on=part(t, on),
        )
        for names, said in by_threshold(thresholds)
        if len(names) > 1
    ]


def calibrations(t: Texts, answer: Prediction, on: str) -> str:
    """How an answer's values were calibrated, and that two calibrations need not agree; "" where
    it has no calibrated value."""
    one, two = answer.calibrated is not None, answer.calibrated_positive
    found = [t("temperature_note", on=part(t, on))] if one else []
    if two is not None:
        found.append(t("isotonic_note", on=part(t, on)))
        if one:
            best = answer.best_by_class
            total = f"{100 * sum(best[name] for name in answer.positive):.1f} %"
            found.append(t("two_calibrations", temperature=total, isotonic=f"{100 * two:.1f} %"))
    return t("sentence_gap").join(found)


def rests_on(t: Texts, home: Home) -> str:
    """On how few patients all rests that was chosen on val; "" where they are enough.

    They are few where results.json notes it (`is_few`).
    """
    counts = home.counts
    there = {
        "what_thresholds": home.thresholds,
        "what_calibration": home.temperature or home.isotonic,
        "what_lists": home.conformal,
    }
    what = [t(key) for key, value in there.items() if value]
    if not what or not counts.get("n_images") or not is_few(counts):
        return ""
    unit = "patients" if home.patients_known else "images"
    on = part(t, home.chosen_on)
    numbers = {"patients": counts["n_patients"], "images": counts["n_images"]}
    found = [t(f"few_{unit}", what=joined(t, what), on=on, **numbers)]
    if "events" in counts:
        events = {"events": counts["events"], "others": counts["non_events"]}
        found.append(t(f"few_{unit}_events", **events))
    return t("sentence_gap").join([*found, t("few_means", least=FEWEST_EVENTS)])


def part(t: Texts, name: str) -> str:
    """How the part of a split is called: ``val`` if none is named."""
    return t.maybe(f"part_{name or 'val'}", name)


def joined(t: Texts, names: Sequence[str]) -> str:
    """``a, b and c`` in a language."""
    if len(names) < 2:
        return "".join(names)
    return t("between").join(names[:-1]) + t("between_last") + names[-1]
