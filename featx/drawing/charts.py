"""The charts of a comparison's page, as Vega-Lite specifications. Nothing is drawn here.

Every chart stands alone and takes the width of its place, so that a page may set as many side by
side as its reader's window holds. Text and rules are drawn in CSS's `currentColor`: one
specification serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from featx.config import SPLITS

# Okabe and Ito's palette: told apart by colour-blind readers too. Shapes and dashes say it again.
COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
_SHAPES = {"train": "circle", "val": "square", "test": "triangle-up"}
_DASHES = {"train": [1, 0], "val": [6, 3], "test": [2, 2]}
# The palette without its black, which a dark page swallows; then three that show on both.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#8C8C8C",
    "#8B6BD9", "#F0E442",
)  # fmt: skip
_EPOCHS_HEIGHT = 190  # pixels
_MANY_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_MANY_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4])

FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
# One for all charts of a page.
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    # The page names each chart and gives its numbers as a table; 1000 marks read aloud help nobody.
    "aria": False,
    "axis": {
        "domainColor": "currentColor",
        "domainOpacity": 0.45,
        "gridColor": "currentColor",
        "gridOpacity": 0.1,
        "labelColor": "currentColor",
        "labelFontSize": 11,
        "labelLimit": 130,
        "tickColor": "currentColor",
        "tickOpacity": 0.45,
        "titleColor": "currentColor",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "legend": {
        "columnPadding": 16,
        "labelColor": "currentColor",
        "labelFontSize": 12,
        "labelLimit": 150,
        "layout": {"top": {"direction": "vertical", "anchor": "start"}},
        "orient": "top",
        "symbolBaseFillColor": "currentColor",
        "symbolOpacity": 1,
        "symbolSize": 60,
        "symbolStrokeWidth": 0,
        "title": None,
    },
    "text": {"color": "currentColor"},
    "view": {"stroke": None},
}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """One chart and its numbers.

    Parameters
    ----------
    label : str
        What it shows, in words: its accessible name.
    title : str
        Above it, where several stand together.
    spec : dict
        Vega-Lite, without the configuration that all share.
    head, rows : tuple of str, sequence of tuples of str
        The same numbers as a table.
    least, most : int
        Width in CSS pixels; 0 stands for none.
    """

    label: str
    title: str
    spec: dict[str, Any]
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    least: int = 0
    most: int = 0


def plot_epochs(candidates: Rows, measure: str) -> list[Chart]:
    """Loss or accuracy ("loss", "accuracy") over the epochs, a chart per candidate with a history.

    All have one vertical scale, so that they can be compared by eye.
    """
    scale = 100 if measure == "accuracy" else 1
    charts = []
    found: list[float] = []
    for candidate in (c for c in candidates if c.get("history")):
        values = [
            {"epoch": epoch["epoch"], "split": split, "value": scale * epoch[measure][split]}
            for epoch in candidate["history"]
            for split in SPLITS
            if epoch[measure].get(split) is not None
        ]
        found += [value["value"] for value in values]
        charts.append((candidate, values))
    low, high = min(found, default=0), max(found, default=1)
    domain = [0, high] if measure == "loss" else [max(0, low - 0.1 * (high - low) - 1), 100]
    return [_plot_history(c, measure, values, domain) for c, values in charts if values]


def _plot_history(
    candidate: Mapping[str, Any], measure: str, values: Rows, domain: list[float]
) -> Chart:
    what = "loss (nats)" if measure == "loss" else "accuracy (%)"
    splits = [s for s in SPLITS if any(v["split"] == s for v in values)]
    # No more ticks than epochs: between two of them it would count one twice.
    ticks = max(1, min(6, len({v["epoch"] for v in values}) - 1))
    base = alt.Chart().encode(
        x=alt.X(
            "epoch:Q",
            title="epoch",
            scale=alt.Scale(zero=False, nice=False, padding=8),
            axis=alt.Axis(tickCount=ticks, format="d", grid=False),
        ),
        y=alt.Y(
            "value:Q", title=what, scale=alt.Scale(domain=domain, zero=False), axis=_few_ticks()
        ),
        color=alt.Color("split:N", scale=map_names(splits, COLOURS)),
        tooltip=["split:N", "epoch:Q", alt.Tooltip("value:Q", title=what, format=".4~g")],
    )
    dash = alt.StrokeDash("split:N", scale=map_names(splits, _DASHES))
    layers: list[Any] = [
        base.mark_line(strokeWidth=1.75).encode(strokeDash=dash),
        base.mark_point(filled=True, opacity=1, size=34).encode(
            shape=alt.Shape("split:N", scale=map_names(splits, _SHAPES))
        ),
    ]
    kept = candidate.get("best_epoch")
    if kept is not None:
        at = alt.Chart(alt.InlineData([{"epoch": kept}])).encode(x="epoch:Q")
        layers.insert(0, at.mark_rule(color="currentColor", opacity=0.5, strokeDash=[2, 3]))
        layers.append(
            at.mark_text(text="kept", align="right", dx=-4, fontSize=11).encode(
                # Where the curves are not: they fall, or rise.
                y=alt.value(8 if measure == "loss" else _EPOCHS_HEIGHT - 8)
            )
        )
    by_epoch: dict[int, dict[str, float]] = {}
    for value in values:
        by_epoch.setdefault(value["epoch"], {})[value["split"]] = value["value"]
    digits = 4 if measure == "loss" else 1
    rows = [
        (str(epoch), *(say_number(there.get(split), digits) for split in splits))
        for epoch, there in by_epoch.items()
    ]
    said = f"; epoch {kept} was kept" if kept is not None else ""
    name = candidate["name"]
    label = f"{name}: {what} of {', '.join(splits)} over {len(rows)} epochs{said}"
    chart = Chart(label, name, {}, ("epoch", *splits), rows)
    return fill_chart(chart, alt.layer(*layers), values, _EPOCHS_HEIGHT)


def plot_learning(points: Rows) -> Chart:
    """Accuracy against images per class: mean and band of each candidate."""
    values = [
        {
            "name": p["name"],
            "images": p["per_class"],
            **{key: 100 * p[key] for key in ("mean", "low", "high")},
        }
        for p in points
    ]
    names = _unique(p["name"] for p in points)
    images = sorted({p["per_class"] for p in points})
    x = alt.X(
        "images:Q",
        title="training images per class (logarithmic)",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(values=images, format="d", grid=False, labelOverlap=True),
    )
    y = alt.Y("mean:Q", title="test accuracy (%)", scale=alt.Scale(zero=False))
    base = alt.Chart().encode(x=x, color=alt.Color("name:N", scale=map_names(names, PALETTE)))
    tip = [
        alt.Tooltip("name:N", title="candidate"),
        alt.Tooltip("images:Q", title="images per class"),
        *(alt.Tooltip(f"{key}:Q", format=".1f") for key in ("mean", "low", "high")),
    ]
    layers = alt.layer(
        base.mark_area(opacity=0.14).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.75).encode(
            y=y,
            strokeDash=alt.StrokeDash("name:N", scale=map_names(names, _MANY_DASHES)),
        ),
        base.mark_point(filled=True, opacity=1, size=50).encode(
            y=y, shape=alt.Shape("name:N", scale=map_names(names, _MANY_SHAPES)), tooltip=tip
        ),
    )
    rows = [
        (
            p["name"],
            f"{p['per_class']}{' (all)' if p.get('all') else ''}",
            f"{p['images']:,}",
            *(say_number(v[key], 1) for key in ("mean", "low", "high")),
        )
        for p, v in zip(points, values, strict=True)
    ]
    head = ("candidate", "per class", "images", "mean, %", "low, %", "high, %")
    label = f"Test accuracy of {', '.join(names)} against training images per class"
    return fill_chart(Chart(label, "", {}, head, rows, most=820), layers, values, 320, names)


def plot_reliability(candidate: Mapping[str, Any]) -> Chart | None:
    """Accuracy against confidence, on val and test; None without bins."""
    evaluation = candidate.get("evaluation") or {}
    splits = [s for s in SPLITS if (evaluation.get(s) or {}).get("bins")]
    bins = [(split, one) for split in splits for one in evaluation[split]["bins"]]
    if not bins:
        return None
    has_ci = all("ci95" in one for _, one in bins)  # older results have none
    values = [
        {
            "split": split,
            "confidence": 100 * one["confidence"],
            "accuracy": 100 * one["accuracy"],
            "images": one["count"],
            # Older results have none.
            **dict(
                zip(("low", "high"), (100 * end for end in one.get("ci95") or ()), strict=False)
            ),
        }
        for split, one in bins
    ]
    whole = alt.Scale(domain=[0, 100])
    base = alt.Chart().encode(
        x=alt.X("confidence:Q", title="confidence (%)", scale=whole, axis=_few_ticks()),
        y=alt.Y("accuracy:Q", title="accuracy (%)", scale=whole, axis=_few_ticks()),
        color=alt.Color("split:N", scale=map_names(splits, COLOURS)),
    )
    ideal = alt.InlineData([{"confidence": at, "accuracy": at} for at in (0, 100)])
    layers = alt.layer(
        alt.Chart(ideal)
        .mark_line(color="currentColor", opacity=0.5, strokeWidth=1, strokeDash=[2, 3])
        .encode(x="confidence:Q", y="accuracy:Q"),
        base.mark_line(strokeWidth=1.25, opacity=0.7).encode(
            strokeDash=alt.StrokeDash("split:N", scale=map_names(splits, _DASHES))
        ),
        *([base.mark_rule(opacity=0.6).encode(y="low:Q", y2="high:Q")] if has_ci else []),
        base.mark_point(filled=True, opacity=0.9).encode(
            shape=alt.Shape("split:N", scale=map_names(splits, _SHAPES)),
            size=alt.Size("images:Q", scale=alt.Scale(range=[12, 90], zero=True), legend=None),
            tooltip=[
                "split:N",
                *(
                    alt.Tooltip(f"{key}:Q", format=".1f")
                    for key in ("confidence", "accuracy", "low", "high")
                ),
                "images:Q",
            ],
        ),
    )
    rows = [
        (
            split,
            f"{100 * one['low']:.1f} to {100 * one['high']:.1f}",
            str(one["count"]),
            say_number(100 * one["confidence"], 1),
            say_number(100 * one["accuracy"], 1),
            *(say_number(value.get(key), 1) for key in ("low", "high")),
        )
        for (split, one), value in zip(bins, values, strict=True)
    ]
    head = ("split", "bin, %", "images", "confidence, %", "accuracy, %", "low, %", "high, %")
    name = candidate["name"]
    chart = Chart(f"{name}: accuracy against confidence", name, {}, head, rows, most=340)
    return fill_chart(chart, layers, values, 230)


def plot_seconds(candidates: Rows) -> Chart | None:
    """Seconds of each candidate, stacked from their parts; None where none are known.

    What is split is the extraction, or the fit of a fine-tuned network, which has none.
    """
    parts = {
        "decode": "#56B4E9", "network": "#0072B2", "rest": "#999999", "extract": "#0072B2",
        "fit": "#E69F00",
    }  # fmt: skip
    values: list[dict[str, Any]] = []
    for candidate in candidates:
        seconds = candidate.get("seconds") or {}
        if seconds.get("decode") is not None or seconds.get("network") is not None:
            whole = "fit" if candidate.get("kind") == "finetuned" else "extract"
            known = (seconds.get("decode") or 0.0) + (seconds.get("network") or 0.0)
            rest = max(0.0, (seconds.get(whole) or 0.0) - known)
            seconds = {**seconds, whole: None, "rest": rest}
        values += [
            {"name": candidate["name"], "part": part, "seconds": seconds[part]}
            for part in parts
            if seconds.get(part)
        ]
    if not values:
        return None
    names = _unique(value["name"] for value in values)
    shown = [part for part in parts if any(value["part"] == part for value in values)]
    for value in values:
        value["order"] = shown.index(value["part"])
    y = alt.Y(
        "name:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=names, padding=0.3),
        axis=alt.Axis(domain=False, ticks=False, labelPadding=6),
    )
    bars = (
        alt.Chart()
        .mark_bar()
        .encode(
            y=y,
            x=alt.X("seconds:Q", title="seconds", axis=alt.Axis(tickCount=6)),
            color=alt.Color("part:N", scale=map_names(shown, parts)),
            order="order:Q",
            tooltip=[
                alt.Tooltip("name:N", title="candidate"),
                "part:N",
                alt.Tooltip("seconds:Q", format=".3~g"),
            ],
        )
    )
    totals = (
        alt.Chart()
        .mark_text(align="left", dx=5, fontSize=11)
        .encode(y=y, x="sum(seconds):Q", text=alt.Text("sum(seconds):Q", format=".3~g"))
    )
    known = {(value["name"], value["part"]): value["seconds"] for value in values}
    rows = [(name, *(say_number(known.get((name, part)), 2) for part in shown)) for name in names]
    label = f"Seconds of {', '.join(names)}, by part: {', '.join(shown)}"
    chart = Chart(label, "", {}, ("candidate", *shown), rows, most=820)
    return fill_chart(chart, alt.layer(bars, totals), values, max(60, 30 * len(names)))


def fill_chart(
    chart: Chart, drawn: Any, values: Rows, height: int, legend: Sequence[str] = ()
) -> Chart:
    """The chart with its specification: `drawn`, as wide as its place, over `values`.

    `legend` holds names of the user's; they take as many columns as there is room for.
    """
    spec = drawn.properties(
        data=alt.NamedData("values"), width="container", height=height, description=chart.label
    ).to_dict()
    # The schema's address would be checked against the library's version; the page brings both.
    del spec["$schema"], spec["config"]
    spec["datasets"] = {**spec.get("datasets", {}), "values": list(values)}
    if legend:
        wide = 40 + min(CONFIG["legend"]["labelLimit"], 8 * max(map(len, legend)))
        spec["config"] = {"legend": {"columns": {"expr": f"max(1, floor(width / {wide}))"}}}
    return replace(chart, spec=spec)


def map_names(names: Sequence[str], of: Mapping[str, Any] | Sequence[Any]) -> alt.Scale:
    """Names onto colours, shapes or dashes: their own, or those in turn."""
    if isinstance(of, Mapping):
        return alt.Scale(domain=list(names), range=[of[name] for name in names])
    return alt.Scale(domain=list(names), range=[of[i % len(of)] for i in range(len(names))])


def say_number(value: float | None, digits: int) -> str:
    """A number with so many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def _few_ticks() -> alt.Axis:
    return alt.Axis(tickCount=5)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
