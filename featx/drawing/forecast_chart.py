"""The chart of what labels brought and would bring, as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import altair as alt

from featx.drawing.charts import COLOURS, Chart, Rows, fill_chart

_WIDTH, _HEIGHT = 560, 260  # pixels


def plot_forecast(
    points: Sequence[tuple[int, float]], now: tuple[int, float], ahead: Rows
) -> Chart:
    """Accuracy against the number of labels: measured, and with a band foretold.

    Its numbers are the page's tables; it is drawn once, as wide as it is.

    Parameters
    ----------
    points : sequence of (int, float)
        Numbers of labels, and the accuracy that was measured with so many; a fraction.
    now : (int, float)
        Where what is foretold begins.
    ahead : sequence of mapping
        "labels", and the accuracy "mean" with its band, "low" and "high".
    """
    start = {"labels": now[0], "mean": now[1], "low": now[1], "high": now[1]}
    told = [
        {name: value if name == "labels" else 100 * value for name, value in one.items()}
        for one in (start, *ahead)
    ]
    measured = [{"labels": labels, "measured": 100 * accuracy} for labels, accuracy in points]
    x = alt.X("labels:Q", title="labels", scale=alt.Scale(nice=False, padding=12, zero=False),
              axis=alt.Axis(format=",d", grid=False, tickCount=6))  # fmt: skip
    base, colour = alt.Chart().encode(x=x), COLOURS["train"]

    def at(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q", title="accuracy (%)", scale=alt.Scale(zero=False))

    layers = alt.layer(
        base.mark_area(opacity=0.18, color=colour).encode(y=at("low"), y2="high:Q"),
        base.mark_line(strokeWidth=1.75, strokeDash=[6, 3], color=colour).encode(y=at("mean")),
        base.mark_line(strokeWidth=1.75, color=colour).encode(y=at("measured")),
        base.mark_point(filled=True, opacity=1, size=50, color=colour).encode(y=at("measured")),
    )
    label = f"Accuracy against labels: measured up to {points[-1][0]:,}"
    if ahead:
        label += f", and with a band what up to {ahead[-1]['labels']:,} would bring"
    chart = fill_chart(Chart(label, "", {}, (), ()), layers, [*measured, *told], _HEIGHT)
    return replace(chart, spec={**chart.spec, "width": _WIDTH})
