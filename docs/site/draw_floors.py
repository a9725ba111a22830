"""The picture of the floors in architecture.md, drawn from what tests/test_layers.py enforces.

    python docs/site/draw_floors.py

writes docs/images/floors.svg. A test holds the two together.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "floors.svg"

WIDTH, LEFT, SPLIT, RIGHT = 1000, 50, 330, 985
TOP, LINE, GAP = 86, 26, 12
# What an image becomes on its way up, and the modules that make it so.
FLOW = ("images", "dataset", "backbone", "engine", "store", "heads", "finetuning")
FLOW = (*FLOW, "comparison", "report")
WAYS = (
    ("images", "engine"),
    ("dataset", "engine"),
    ("backbone", "engine"),
    ("engine", "store"),
    ("store", "heads"),
    ("backbone", "finetuning"),
    ("heads", "comparison"),
    ("finetuning", "comparison"),
    ("comparison", "report"),
)
# What a step hands on, beside its box.
GIVES = {"engine": "2048 numbers each", "store": "one HDF5 file", "report": "one page"}
CHARACTER = 6.7  # of 12 px, as browsers' sans serif has it on average
INK, FAINT, PAPER, BAND, MARK = "#1f2937", "#6b7280", "#ffffff", "#f3f4f6", "#3f51b5"

END, MIDDLE = ' text-anchor="end"', ' text-anchor="middle"'


def write_text(
    x: float, y: float, text: str, colour: str = INK, size: int = 12, rest: str = ""
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size}"{rest}>{escape(text)}</text>'
    )


def break_names(names: Sequence[str], width: float) -> list[str]:
    """Lines of names that fit."""
    lines = [""]
    for name in names:
        longer = f"{lines[-1]} · {name}" if lines[-1] else name
        if len(longer) * CHARACTER > width:
            lines.append(name)
        else:
            lines[-1] = longer
    return lines


def draw_floors(floors: Sequence[set[str]]) -> str:
    """Return the picture as SVG."""
    parts: list[str] = []
    places: dict[str, tuple[float, float, float]] = {}  # middle, top, bottom
    y = float(TOP)
    for number in reversed(range(len(floors))):
        marked = [name for name in FLOW if name in floors[number]]
        lines = break_names(sorted(floors[number] - set(marked)), RIGHT - SPLIT - 24)
        if lines == [""]:
            lines = []
        height = max(len(lines) * 18 + 14, LINE + 14 if marked else 0)
        parts.append(
            f'<rect x="{LEFT}" y="{y:g}" width="{RIGHT - LEFT}" height="{height:g}" rx="5" '
            f'fill="{BAND}"/>'
        )
        parts.append(write_text(LEFT - 8, y + height / 2 + 4, str(number), FAINT, 12, END))
        room = (SPLIT - LEFT - 20) / max(len(marked), 1)
        for k, name in enumerate(marked):
            middle = LEFT + 10 + room * (k + 0.5)
            wide = len(name) * CHARACTER + 16
            top = y + (height - LINE) / 2
            places[name] = (middle, top, top + LINE)
            parts.append(
                f'<rect x="{middle - wide / 2:g}" y="{top:g}" width="{wide:g}" '
                f'height="{LINE}" rx="4" fill="{MARK}"/>'
            )
            parts.append(write_text(middle, top + 17, name, PAPER, 12, MIDDLE))
            if name in GIVES:
                at = middle - wide / 2 - 6
                parts.append(write_text(at, top + 16, GIVES[name], FAINT, 11, END))
        first = y + height / 2 - (len(lines) - 1) * 9 + 4
        parts += [write_text(SPLIT + 12, first + 18 * i, line) for i, line in enumerate(lines)]
        y += height + GAP / 2
    ground = y
    middle = (LEFT + SPLIT) / 2
    for start, end in WAYS:
        (x, top, _), (to, _, below) = places[start], places[end]
        bend = (top - below) / 2 if end != "finetuning" else 60
        parts.append(
            f'<path d="M{x:g} {top:g}C{x:g} {top - bend:g} {to:g} {below + bend:g} '
            f'{to:g} {below + 4:g}" fill="none" stroke="{MARK}" stroke-width="1.6" '
            'marker-end="url(#tip)"/>'
        )
    head = [
        write_text(LEFT, 26, "Imports point down; data moves up", INK, 17, ' font-weight="bold"'),
        write_text(
            LEFT, 46,
            "A module imports from floors below its own alone. Blue: what becomes of a photograph.",
            FAINT, 13,
        ),
        f'<rect x="{LEFT}" y="56" width="{RIGHT - LEFT}" height="24" rx="5" fill="{INK}"/>',
        write_text(
            (LEFT + RIGHT) / 2, 72,
            "featx.cli: a command parses, calls one function of a floor below, prints",
            PAPER, 12, MIDDLE,
        ),
        write_text(middle, ground + 14, "photographs and weights, on disk", FAINT, 13, MIDDLE),
    ]  # fmt: skip
    height = ground + 24
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
            f'width="{WIDTH}" height="{height:g}" font-family="Helvetica, Arial, sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{MARK}"/></marker>',
            "</defs>",
            f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER}"/>',
            *head,
            *parts,
            "</svg>\n",
        ]
    )


def load_floors() -> Sequence[set[str]]:
    """The floors that the tests enforce."""
    path = ROOT / "tests" / "test_layers.py"
    spec = importlib.util.spec_from_file_location("test_layers", path)
    assert spec is not None
    assert spec.loader is not None
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    floors: Sequence[set[str]] = tests.FLOORS
    return floors


if __name__ == "__main__":
    PICTURE.write_text(draw_floors(load_floors()), "utf-8")
