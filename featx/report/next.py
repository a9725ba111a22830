"""What to label next for people: text for a terminal, a CSV to fill in, and a page of pictures."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from featx.auditing.audit import find_root
from featx.config import FORECAST_GAIN
from featx.drawing.charts import FONT
from featx.drawing.forecast_chart import plot_forecast
from featx.errors import OutputExistsError
from featx.labelling.forecast import Forecast
from featx.labelling.next import WAYS, NextImages
from featx.report.gallery import embed_pictures
from featx.report.page import clean_values, draw_svg, load_environment
from featx.storage.files import check_replaceable, write_text
from featx.text import format_difference, format_points, format_seconds, printable

COLUMNS = ("path", "sha256", "label")  # a manifest that lacks its labels
PAGE_START = "<!-- featx next -->"  # the page's first line: what may be written over
_NAMED = 10  # images in the text


def check_unfilled(path: Path) -> None:
    """Raise OutputExistsError where a CSV of ours would be written over that someone filled in."""
    check_replaceable(path, ",".join(COLUMNS))
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            filled = sum(1 for row in csv.DictReader(file) if (row["label"] or "").strip())
        if filled:
            raise OutputExistsError(path, (f"{filled} labels that someone filled in",))


def list_rows(found: NextImages) -> Iterator[list[str]]:
    """Rows of the CSV, in the order of `COLUMNS`: the labels are for a person to fill in."""
    for one in found.images:
        yield [one.path, one.sha256, ""]


def render_next(found: NextImages) -> str:
    """All that a terminal shows of what to label next."""
    rows = [
        [printable(one.path), printable(one.guess), _say_share(one.probability)]
        for one in found.images[:_NAMED]
    ]
    head = f"{printable(found.pool.dataset)}: {say_head(found)}"
    lines = [
        f"{head} ({format_seconds(found.seconds)} s)", "",
        tabulate(rows, ["image", "perhaps", "probability"], disable_numparse=True),
    ]  # fmt: skip
    if len(found.images) > _NAMED:
        lines.append(
            f"… and {len(found.images) - _NAMED} more: --csv, --report and --json have all."
        )
    return "\n".join([*lines, "", *say_forecast(found), *map(printable, found.notes)]).rstrip()


def say_head(found: NextImages) -> str:
    """What was chosen, from what and how, in a line."""
    return (
        f"{found.labelled:,} labels, {found.unlabelled - found.copies:,} images without one; to "
        f"label next: {len(found.images):,}, {WAYS[found.by]}"
    )


def say_forecast(found: NextImages) -> list[str]:
    """What more labels would bring, in sentences; [] where nothing was measured."""
    told = found.forecast
    if told is None:
        return []
    measured = ", ".join(f"{100 * accuracy:.1f} % of {n:,}" for n, accuracy in told.points)
    lines = [f"Accuracy of logreg by number of labels, on {found.held_out}: {measured}."]
    return [*lines, _say_gain(told), *_say_enough(told)]


def _say_gain(told: Forecast) -> str:
    if not told.rounds:
        return (
            f"Nothing is said of {told.more:,} more labels: that is more than {told.reach:,} in "
            "all, four times what was measured."
        )
    return (
        f"Another {told.more:,} would bring "
        f"{format_difference(told.rounds[0].gain, told.rounds[0].interval)}, as a power law "
        f"through these has it; in brackets what {_say_level(told)} of single draws of "
        f"{told.more:,} would bring."
    )


def _say_level(told: Forecast) -> str:
    return f"{100 * told.level:.0f} %"


def _say_enough(told: Forecast) -> list[str]:
    least = format_points(100 * FORECAST_GAIN)
    if not told.rounds:
        return []
    if told.rounds[0].interval[1] < FORECAST_GAIN:
        return [f"More labels would not pay: even a lucky draw brings less than {least}."]
    if told.enough is None:
        return [f"Up to {told.reach:,} labels, {told.more:,} more bring {least} or more."]
    if told.enough <= told.labels:
        return [
            f"More labels would probably not pay: {told.more:,} bring less than {least} on average."
        ]
    return [f"From about {told.enough:,} labels on {told.more:,} more bring less than {least}."]


def _say_share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def write_next_page(found: NextImages, path: Path, root: str | Path | None = None) -> Path:
    """Write one HTML page that needs no network and runs no script.

    Parameters
    ----------
    found : NextImages
    path : Path
    root : path, optional
        See `find_root`; where no pictures are found the page shows their names.
    """
    place = find_root(found.pool, root)
    names = [one.path for one in found.images]
    colours = found.pool.provenance.colours
    pictures = {} if place is None else embed_pictures(place, names, (), colours)
    write_text(path, render_next_page(found, pictures))
    return path


def render_next_page(found: NextImages, pictures: dict[str, str]) -> str:
    """The page's text; pictures are data: URIs by path."""
    told = found.forecast
    values = {
        "dataset": found.pool.dataset,
        "lead": [say_head(found), *say_forecast(found)],
        "notes": list(found.notes),
        "points": [] if told is None else [list(point) for point in told.points],
        "labels": found.labelled,
        "rounds": []
        if told is None
        else [[one.labels, format_difference(one.gain, one.interval)] for one in told.rounds],
        "held_out": found.held_out,
        "level": "" if told is None else _say_level(told),
        "images": [
            {**dataclasses.asdict(one), "picture": pictures.get(one.path)} for one in found.images
        ],
    }
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )
    template = load_environment().get_template("next.html")
    chart = _draw_forecast(told)
    page = template.render(policy=policy, font=FONT, chart=chart, **clean_values(values))
    return f"{PAGE_START}\n{page.lstrip()}"


def _draw_forecast(told: Forecast | None) -> dict[str, str] | None:
    """The chart as an SVG element with its name; None where there is nothing to draw."""
    if told is None:
        return None
    ahead = [
        {
            "labels": one.labels,
            "mean": told.now + one.gain,
            **{k: told.now + gain for k, gain in zip(("low", "high"), one.interval, strict=True)},
        }
        for one in told.rounds
    ]
    chart = plot_forecast(told.points, (told.labels, told.now), ahead)
    return {"label": chart.label, "svg": draw_svg(chart)}
