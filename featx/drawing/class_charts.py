"""The charts of test images, as Vega-Lite specifications.

Confusion, accuracy per class and against coverage, map of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from featx.drawing.charts import COLOURS, PALETTE, Chart, Rows, fill_chart, map_names, say_number

_RIGHT, _WRONG = "#0072B2", "#D55E00"
MAP_CLASSES = 10  # beyond, colours are no longer told apart
COUNTED_CLASSES = 30  # beyond, a confusion matrix has no room for numbers
DRAWN_CLASSES = 60  # beyond, it is no longer drawn
LISTED_CLASSES = 40  # of the chart of accuracy per class: the lowest
LISTED_PAIRS = 100  # of the table of confused pairs


def plot_confusion(name: str, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Chart:
    """A heat map, rows the truth; shade is the share of a row. Empty cells are left out."""
    n = len(classes)
    values = []
    for truth, row in zip(classes, confusion, strict=True):
        total = sum(row)
        values += [
            {
                "truth": truth,
                "said": said,
                "count": count,
                "share": count / total,
                "right": truth == said,
            }
            for said, count in zip(classes, row, strict=True)
            if count
        ]
    scale = alt.Scale(domain=list(classes), paddingInner=0.04, paddingOuter=0.02)
    base = alt.Chart().encode(
        x=alt.X(
            "said:N",
            title="predicted",
            scale=scale,
            sort=None,
            axis=alt.Axis(labelAngle=-45, domain=False, ticks=False, grid=True, labelLimit=90),
        ),
        y=alt.Y(
            "truth:N",
            title="truth",
            scale=scale,
            sort=None,
            axis=alt.Axis(domain=False, ticks=False, grid=True, labelLimit=90),
        ),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "right:N", scale=alt.Scale(domain=[True, False], range=[_RIGHT, _WRONG]), legend=None
        ),
        # The root keeps the rare mistakes, which are what one looks for, visible.
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.1, 1]), legend=None
        ),
        tooltip=[
            "truth:N",
            alt.Tooltip("said:N", title="predicted"),
            alt.Tooltip("count:Q", title="images"),
            alt.Tooltip("share:Q", title="of this class", format=".1%"),
        ],
    )
    layers: list[Any] = [cells]
    if n <= COUNTED_CLASSES:
        # White where the cell is dark enough for it on any page.
        ink = alt.condition("datum.share > 0.8", alt.value("white"), alt.value("currentColor"))
        layers.append(
            base.mark_text(fontSize=12 if n <= 12 else 9).encode(text="count:Q", color=ink)
        )
        rows: Sequence[tuple[str, ...]] = [
            (truth, *(str(count) for count in row))
            for truth, row in zip(classes, confusion, strict=True)
        ]
        head = ("truth \\ predicted", *classes)
    else:
        head, rows = list_confused(confusion, classes)
    cell = 44 if n <= 12 else 22 if n <= COUNTED_CLASSES else 12
    label = f"Confusion matrix of {name}: test images by true and predicted class"
    chart = Chart(label, "", {}, head, rows, 120 + cell * n * 2 // 3, 150 + cell * n * 3 // 2)
    return fill_chart(chart, alt.layer(*layers), values, cell * n)


def list_confused(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """The pairs of classes that are confused most often, as a table; at most LISTED_PAIRS."""
    pairs = [
        (count, classes[i], classes[j])
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if count and i != j
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [(truth, said, str(count)) for count, truth, said in pairs[:LISTED_PAIRS]]
    return ("truth", "predicted", "images"), rows


def plot_classes(name: str, per_class: Rows, classes: Sequence[str]) -> Chart:
    """Accuracy of each class with its interval, the lowest first; at most LISTED_CLASSES drawn."""
    values: list[dict[str, Any]] = [
        {
            "name": of,
            "images": f"{one['correct']}/{one['total']}",
            "accuracy": 100 * one["correct"] / one["total"],
            "low": 100 * one["ci95"][0],
            "high": 100 * one["ci95"][1],
        }
        for of, one in zip(classes, per_class, strict=True)
        if one["total"]
    ]
    values.sort(key=lambda value: value["accuracy"])
    rows = [
        (
            v["name"],
            v["images"],
            *(say_number(v[key], 1) for key in ("accuracy", "low", "high")),
        )
        for v in values
    ]
    absent = [of for of, one in zip(classes, per_class, strict=True) if not one["total"]]
    rows += [(of, "0/0", "–", "–", "–") for of in absent]
    drawn = values[:LISTED_CLASSES]
    names = [value["name"] for value in drawn]
    axis = alt.Axis(domain=False, ticks=False, labelPadding=6)
    base = alt.Chart().encode(
        y=alt.Y(
            "name:N", title=None, sort=None, scale=alt.Scale(domain=names, padding=0.3), axis=axis
        ),
        x=alt.X(
            "accuracy:Q",
            title="accuracy (%)",
            scale=alt.Scale(domain=[0, 100]),
            axis=alt.Axis(tickCount=5),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="class"),
            "images:N",
            *(alt.Tooltip(f"{key}:Q", format=".1f") for key in ("accuracy", "low", "high")),
        ],
    )
    layers = alt.layer(
        base.mark_bar(color=COLOURS["test"], opacity=0.4),
        base.mark_rule(color="currentColor", strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, color="currentColor", opacity=1, size=34),
    )
    few = f"the {len(drawn)} lowest of {len(values)} classes" if len(drawn) < len(values) else ""
    label = f"Test accuracy per class of {name}, with 95 % intervals{few and ': ' + few}"
    if absent:
        label += f"; no test images of {', '.join(absent)}"
    head = ("class", "right", "accuracy, %", "low, %", "high, %")
    chart = Chart(label, few, {}, head, rows, most=640)
    return fill_chart(chart, layers, drawn, max(60, 21 * len(drawn)))


def plot_coverage(curves: Rows) -> Chart:
    """Accuracy on the images that are answered against their share, a line for each score."""
    names = [one["by"] for one in curves]
    values = [
        {"by": one["by"], **{key: 100 * point[key] for key in ("coverage", "accuracy")}}
        for one in curves
        for point in one["points"]
    ]
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=1.75)
    lines = (
        alt.Chart()
        .mark_line(strokeWidth=1.75)
        .encode(
            x=alt.X(
                "coverage:Q",
                title="test images that are answered (%)",
                scale=alt.Scale(domain=[0, 100]),
            ),
            y=alt.Y("accuracy:Q", title="of these right (%)", scale=alt.Scale(zero=False)),
            color=alt.Color("by:N", scale=map_names(names, PALETTE), legend=legend),
            strokeDash=alt.StrokeDash(
                "by:N", scale=map_names(names, ([1, 0], [6, 3])), legend=legend
            ),
            tooltip=[
                "by:N",
                *(alt.Tooltip(f"{k}:Q", format=".1f") for k in ("coverage", "accuracy")),
            ],
        )
    )
    rows = [(v["by"], say_number(v["coverage"], 1), say_number(v["accuracy"], 1)) for v in values]
    label = f"Accuracy against coverage, the strangest by {' and by '.join(names)} left out first"
    head = ("refused by", "answered, %", "right, %")
    return fill_chart(Chart(label, "", {}, head, rows, most=620), lines, values, 260)


def plot_map(points: Rows, classes: Sequence[str]) -> Chart:
    """The features in two dimensions; a point may carry a "picture", a data: URI, to show.

    Up to MAP_CLASSES classes have a colour each; with more, colour says right or wrong.
    """
    verdicts = ["right", "wrong"]
    values = [
        {
            "x": p["x"],
            "y": p["y"],
            "file": p["path"],
            "truth": p["truth"],
            "predicted": p["predicted"],
            "answer": verdicts[p["truth"] != p["predicted"]],
            **({"image": p["picture"]} if p.get("picture") else {}),
        }
        for p in points
    ]
    if len(classes) <= MAP_CLASSES:
        there = [name for name in classes if any(p["truth"] == name for p in points)]
        colour = alt.Color("truth:N", scale=map_names(there, PALETTE))
    else:
        there = []
        colour = alt.Color("answer:N", scale=alt.Scale(domain=verdicts, range=[_RIGHT, _WRONG]))
    tip = ["file:N", "truth:N", "predicted:N"]
    axis = alt.Axis(labels=False, ticks=False, domain=False, grid=False, title=None)
    base = (
        alt.Chart()
        .mark_point(filled=True, opacity=0.8)
        .encode(
            x=alt.X("x:Q", scale=alt.Scale(zero=False), axis=axis),
            y=alt.Y("y:Q", scale=alt.Scale(zero=False), axis=axis),
            color=colour,
            shape=alt.Shape(
                "answer:N", scale=alt.Scale(domain=verdicts, range=["circle", "cross"])
            ),
            size=alt.condition("datum.answer == 'wrong'", alt.value(110), alt.value(44)),
            stroke=alt.condition(
                "datum.answer == 'wrong'", alt.value("currentColor"), alt.value(None)
            ),
        )
    )
    # A tooltip's "image" becomes a picture, and a missing one a broken picture: so two layers, but
    # none without a point, of which the library would warn on the browser's console.
    layers = alt.layer(
        *(
            base.transform_filter(f"{'!' * (not pictured)}isValid(datum.image)").encode(
                tooltip=["image:N"] * pictured + tip
            )
            for pictured in sorted({"image" in value for value in values})
        )
    )
    rows = [
        (p["path"], p["truth"], p["predicted"], f"{p['x']:.3g}", f"{p['y']:.3g}") for p in points
    ]
    wrong = sum(value["answer"] == "wrong" for value in values)
    label = f"Map of the features of {len(values)} test images, {wrong} of them predicted wrongly"
    head = ("file", "truth", "predicted", "x", "y")
    return fill_chart(Chart(label, "", {}, head, rows, most=960), layers, values, 460, there)
