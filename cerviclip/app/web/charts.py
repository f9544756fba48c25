"""Plotly figures of the page. Colours are Okabe and Ito's, told apart by colour-blind readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cerviclip.runs.report.curves import COLOURS

if TYPE_CHECKING:
    from cerviclip.runs.predictions import Predictions

Figure = Any  # plotly.graph_objects.Figure

BLUE, ORANGE, GREY = COLOURS[0], COLOURS[1], "#8a8a8a"
_NOTE = 126  # px, the width of what is written at a bar
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def probability_chart(
    by_class: Mapping[str, float],
    positive: Sequence[str],
    names: Mapping[str, str],
    title: str,
    notes: Mapping[str, str],
) -> Figure:
    """Bars of the classes' probabilities in percent, the most probable on top.

    Args:
        by_class: class -> probability.
        positive: classes that count as disease, in another colour and with a mark on their name.
        names: class -> how the page calls it.
        title: of the axis.
        notes: class -> what is written at its bar.
    """
    import plotly.graph_objects as go

    order = sorted(by_class, key=lambda name: by_class[name])
    values = [100 * by_class[name] for name in order]
    labels = [_wrapped(names.get(n, n)) + (" ●" if n in positive else "") for n in order]
    bars = go.Bar(
        x=values, y=labels, orientation="h", text=[notes[name] for name in order],
        textposition="outside", cliponaxis=False,  # a long bar's text reaches into the margin
        marker_color=[ORANGE if n in positive else BLUE for n in order],
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    figure.update_xaxes(range=[0, 100], title=title, fixedrange=True)
    figure.update_yaxes(automargin=True, fixedrange=True)
    figure.update_layout(height=90 + 44 * len(order), margin={"l": 8, "r": _NOTE, "t": 8, "b": 8})
    return figure


def roc_chart(centers: Sequence[Predictions], positive: Sequence[str], axes: Sequence[str]) -> Any:
    """ROC curves of the positive group, a line per centre; None where none is defined."""
    import plotly.graph_objects as go
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = go.Figure()
    for number, (part, is_positive, score) in enumerate(_positive_scores(centers, positive)):
        false, true, _ = roc_curve(is_positive, score)
        name = f"{part.center} (AUC {roc_auc_score(is_positive, score):.3f})"
        figure.add_scatter(x=100 * false, y=100 * true, name=name, line=_line(number))
    if not figure.data:
        return None
    return _unit_square(figure, axes)


def reliability_chart(
    centers: Sequence[Predictions], positive: Sequence[str], axes: Sequence[str]
) -> Any:
    """Observed share of positives against the predicted probability, in ten bins of equal width."""
    import plotly.graph_objects as go
    from sklearn.calibration import calibration_curve

    figure = go.Figure()
    for number, (part, is_positive, score) in enumerate(_positive_scores(centers, positive)):
        observed, said = calibration_curve(is_positive, np.clip(score, 0, 1), n_bins=10)
        figure.add_scatter(
            x=100 * said, y=100 * observed, name=part.center, mode="lines+markers",
            line=_line(number),
        )  # fmt: skip
    if not figure.data:
        return None
    return _unit_square(figure, axes)


def shots_chart(groups: Sequence[Any], metric: str, center: str, axes: Sequence[str]) -> Figure:
    """A metric against shots, a line per method, bars of one deviation.

    Args:
        groups: of one data set (`cerviclip.runs.report.groups.Group`).
        metric: such as ``accuracy``.
        center: ``test`` or an external one.
        axes: titles of x and y.
    """
    import plotly.graph_objects as go

    from cerviclip.runs.report.tables import row_labels
    from cerviclip.runs.settings.run_key import shots_order

    figure = go.Figure()
    shots = [str(k) for k in sorted({g.shots for g in groups}, key=shots_order)]
    for number, (row, label) in enumerate(row_labels(groups).items()):
        own = sorted((g for g in groups if g.row == row), key=lambda g: shots_order(g.shots))
        stats = [(str(g.shots), g.stat(center, metric)) for g in own]
        stats = [(k, s) for k, s in stats if s.mean is not None]
        figure.add_scatter(
            x=[k for k, _ in stats], y=[s.mean for _, s in stats], name=label, line=_line(number),
            mode="lines+markers", error_y={"array": [s.sd or 0 for _, s in stats]},
        )  # fmt: skip
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=shots, title=axes[0])
    figure.update_yaxes(title=axes[1])
    figure.update_layout(height=380, margin={"l": 8, "r": 8, "t": 16, "b": 8})
    return figure


def _positive_scores(centers: Sequence[Predictions], positive: Sequence[str]) -> Any:
    for part in centers:
        columns = [i for i, name in enumerate(part.classnames) if name in positive]
        is_positive = np.isin(part.labels, columns)
        if columns and 0 < is_positive.sum() < len(part):
            yield part, is_positive, part.probs[:, columns].sum(axis=1)


def _unit_square(figure: Figure, axes: Sequence[str]) -> Figure:
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": GREY, "dash": "dot", "width": 1},
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(range=[0, 100], title=axes[0])
    figure.update_yaxes(range=[0, 100], title=axes[1])
    legend = {"orientation": "h", "y": -0.25}
    figure.update_layout(height=400, legend=legend, margin={"l": 8, "r": 8, "t": 16, "b": 8})
    return figure


def _line(number: int) -> dict[str, Any]:
    again, place = divmod(number, len(COLOURS))
    return {"color": COLOURS[place], "dash": DASHES[again % len(DASHES)]}


def _wrapped(text: str, width: int = 24) -> str:
    """A name on several lines, so that narrow screens keep room for the bars."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
