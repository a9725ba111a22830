"""A comparison as one HTML page that needs no network, no server and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import altair
import vl_convert
from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from featx.drawing.charts import (
    CONFIG,
    FONT,
    Chart,
    plot_epochs,
    plot_learning,
    plot_reliability,
    plot_seconds,
    say_number,
)
from featx.drawing.class_charts import (
    DRAWN_CLASSES,
    MAP_CLASSES,
    list_confused,
    plot_classes,
    plot_confusion,
    plot_coverage,
    plot_map,
)
from featx.report.ranks import list_tables
from featx.report.strangers import list_refusals, list_sets
from featx.text import format_bytes, format_seconds, printable

_TEMPLATES = Path(__file__).parent / "templates"
_PICTURE = re.compile(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/]+={0,2}")

# Not <noscript>: a viewer may refuse scripts that its parser believes in.
_FIRST = 'document.documentElement.classList.add("scripted");'


def render_page(
    results: Mapping[str, Any], pictures: Mapping[str, str], maps: Mapping[str, str] | None = None
) -> str:
    """A comparison as one HTML text.

    Parameters
    ----------
    results : mapping
        What results.json holds. What is absent or null is left out of the page.
    pictures : mapping of str to str
        Path of an image, as `results` has it, to a data: URI of a small JPEG, PNG or WebP. Of an
        image that is not there the page shows the name.
    maps : mapping of str to str, optional
        The same of drawings of where an image's score comes from.

    Raises
    ------
    ValueError
        If a picture is no such URI.
    """
    maps = maps or {}
    for path, picture in [*pictures.items(), *maps.items()]:
        if not _PICTURE.fullmatch(picture):
            raise ValueError(f"the picture of {path!r} is no data: URI of an image")
    facts = clean_values(_add_pictures(results, pictures, maps))
    library = load_library()
    script = load_script("report.js")
    template = load_environment().get_template("report.html")
    page = template.render(
        results=facts,
        charts=_plot(facts),
        pairs=_sort_pairs(facts),
        chosen=_choose(facts),
        config=CONFIG,
        font=FONT,
        provenance=_list_provenance(facts),
        epochs=_list_epochs(facts),
        refusals=list_refusals((facts.get("strangers") or {}).get("refused") or ()),
        sets=list_sets((facts.get("strangers") or {}).get("sets") or ()),
        rank_tables=list_tables(facts.get("ranks")),
        map_by_class=len(facts["classes"]) <= MAP_CLASSES,
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {' '.join(map(hash_script, (_FIRST, library, script)))}; "
        "base-uri 'none'; form-action 'none'",
        first=_FIRST,
        library=library,
        script=script,
    )
    return page.lstrip()


def draw_svg(chart: Chart) -> str:
    """A chart of a fixed width as an SVG element: what a page without scripts shows."""
    svg: str = vl_convert.vegalite_to_svg({**chart.spec, "config": CONFIG}, _find_grammar())
    return svg


@cache
def load_library() -> str:
    """Vega, Vega-Lite and vega-embed as one script that fits into an HTML page.

    Raises
    ------
    ValueError
        If the library would end its own script element.
    """
    snippet = "window.vegaEmbed = vegaEmbed;"
    library = vl_convert.javascript_bundle(snippet, _find_grammar()).replace("\r\n", "\n")
    if re.search(r"</script|<!--|\r", library, re.IGNORECASE):
        raise ValueError("Vega's script cannot stand in a page")
    return library


def _find_grammar() -> str:
    """The version of Vega-Lite that charts are written in."""
    return ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def load_script(name: str) -> str:
    """A script of the pages' own."""
    return (_TEMPLATES / name).read_text("utf-8")


def hash_script(text: str) -> str:
    """A script as a Content-Security-Policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _plot(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every chart of the page; a section whose charts are none or empty is left out."""
    candidates, classes = facts["candidates"], facts["classes"]
    learning, places = facts.get("learning") or {}, facts.get("map") or {}
    curves = (facts.get("strangers") or {}).get("coverage")
    cost = plot_seconds(candidates)
    return {
        "loss": plot_epochs(candidates, "loss"),
        "accuracy": plot_epochs(candidates, "accuracy"),
        "learning": [plot_learning(learning["points"])] if learning.get("points") else [],
        "panels": [
            panel for panel in (_plot_panel(one, classes) for one in candidates) if panel["has"]
        ],
        "reliability": [chart for chart in map(plot_reliability, candidates) if chart],
        "coverage": [plot_coverage(curves)] if curves else [],
        "map": [plot_map(places["points"], classes)] if places.get("points") else [],
        "cost": [cost] if cost else [],
    }


def _plot_panel(candidate: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """One candidate's confusion and accuracy per class, on test."""
    test = (candidate.get("evaluation") or {}).get("test") or {}
    confusion, per_class = test.get("confusion") or [], test.get("per_class")
    drawn = confusion and len(classes) <= DRAWN_CLASSES
    return {
        "name": candidate["name"],
        "has": bool(confusion or per_class),
        "confusion": [plot_confusion(candidate["name"], confusion, classes)] if drawn else [],
        "confused": list_confused(confusion, classes) if confusion and not drawn else None,
        "classes": [plot_classes(candidate["name"], per_class, classes)] if per_class else [],
    }


def _choose(facts: Mapping[str, Any]) -> str | None:
    """The candidate to choose; where none is said, the best."""
    verdict = facts.get("verdict") or {}
    return verdict.get("choose") or facts.get("best")


def _sort_pairs(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """The sentences on pairs: those about the best (or, without one, a few), and the rest."""
    pairs, best = facts.get("paired") or [], facts.get("best")
    first = [pair["text"] for pair in pairs if best in (pair["a"], pair["b"])]
    rest = [pair["text"] for pair in pairs if best not in (pair["a"], pair["b"])]
    return {"first": first, "rest": rest} if first else {"first": rest[:5], "rest": rest[5:]}


def _list_epochs(facts: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """Seconds of every epoch and what they went into, as rows, of whom that is known."""
    tables = {}
    for candidate in facts["candidates"]:
        rows = []
        for epoch in candidate.get("history") or []:
            seconds, decode, network = (epoch.get(k) for k in ("seconds", "decode", "network"))
            if seconds is not None and decode is not None and network is not None:
                parts = (decode, network, max(0.0, seconds - decode - network), seconds)
                rows.append((str(epoch["epoch"]), *(say_number(part, 2) for part in parts)))
        if rows:
            tables[candidate["name"]] = rows
    return tables


def _list_provenance(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What decides the numbers, as rows of a table."""
    dataset = facts["dataset"]
    rows = [(key, _say(dataset[key])) for key in ("root", "split", "fingerprint") if key in dataset]
    for key, value in (facts.get("features") or {}).items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        rows += [(f"{key} {name}".replace("_", " ").strip(), _say(one)) for name, one in inner]
    return rows


def _add_pictures(
    results: Mapping[str, Any], pictures: Mapping[str, str], maps: Mapping[str, str]
) -> dict[str, Any]:
    """The results with a "picture" and a "drawn" map beside each path; None where there is none.

    So with the train images that are nearest to a mistake.
    """

    def look_up(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                **one,
                "picture": pictures.get(one["path"]),
                "drawn": maps.get(one["path"]),
                **({"nearest": look_up(one["nearest"])} if one.get("nearest") else {}),
            }
            for one in shown
        ]

    added = dict(results)
    for section, keys in (("exhibits", ("examples", "mistakes")), ("map", ("points",))):
        if results.get(section):
            found = {key: look_up(results[section].get(key) or []) for key in keys}
            added[section] = {**results[section], **found}
    return added


def clean_values(value: Any) -> Any:
    """JSON fit to be shown: names printable, no infinity and no NaN, which JSON does not have."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {printable(str(key)): clean_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [clean_values(one) for one in value]
    return value


@cache
def load_environment() -> Environment:
    """Templates that escape what they are given, with the filters that pages have in common."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=ChainableUndefined,  # much may be absent, at any depth
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "percent": lambda x: f"{100 * x:.1f} %" if _is_number(x) else "–",
        "fixed": _format_fixed,
        "count": lambda x: f"{x:,}" if _is_number(x) else "–",
        "seconds": lambda x: format_seconds(x if _is_number(x) else None),
        "bytes": lambda x: format_bytes(x) if _is_number(x) else "–",
        "interval": lambda x: f"{100 * x[0]:.1f} to {100 * x[1]:.1f}" if x else "",
        "rows": lambda x: [(key, _say(value)) for key, value in x.items()],
    }
    return environment


def _format_fixed(value: Any, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if _is_number(value) else "–"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(value: Any) -> str:
    """A JSON value for people: text and numbers as they are, structures as JSON."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
