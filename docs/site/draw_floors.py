"""The picture of the rooms in architecture.md, drawn from what tests/test_layers.py enforces.

    python docs/site/draw_floors.py

writes docs/images/floors.svg. A test holds the two together.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "floors.svg"

WIDTH, LEFT, RIGHT = 1000, 44, 990
TOP, STEP = 66, 84  # of the highest floor, and from one floor to the next
ROOM, BOX = 172, 46  # a room's box
# Where a room's middle is, from left to right, and what it is about in a few words.
PLACES = {
    "report": (560, "one page, charts, text"),
    "drawing": (250, "charts, maps over pictures"),
    "explaining": (850, "maps of a score, shortcuts"),
    "scale": (140, "plan, shards, merge"),
    "auditing": (340, "copies, leaks, labels"),
    "comparison": (560, "same images, paired tests"),
    "labelling": (700, "what to label next"),
    "deployment": (850, "predict, ONNX, OpenVINO"),
    "multilabel": (310, "several labels an image"),
    "extraction": (250, "images through the network"),
    "heads": (560, "logreg, svm, ridge, knn …"),
    "finetuning": (765, "the network in every epoch"),
    "doctor": (925, "this machine"),
    "features": (560, "the feature store: HDF5"),
    "novelty": (895, "strangers, sets of classes"),
    "sources": (150, "folders, archives, boxes"),
    "data": (150, "which images, which pixels"),
    "network": (350, "weights, ResNet50, engines"),
    "training": (890, "epochs, metrics, models"),
    "decoding": (150, "bytes to a picture"),
    "storage": (500, "files, locks, rows, blocks, sealed HDF5"),
    "timing": (790, "stages, bars, lines of a log"),
}
NARROW = {"doctor": 96, "labelling": 108}
WIDE = {"storage": 300}
# What becomes of a photograph.
WAYS = (
    ("data", "sources"),
    ("sources", "extraction"),
    ("network", "extraction"),
    ("extraction", "features"),
    ("features", "heads"),
    ("network", "finetuning"),
    ("heads", "comparison"),
    ("finetuning", "comparison"),
    ("comparison", "report"),
)
FLOW = {room for way in WAYS for room in way}
INK, FAINT, PAPER, BAND, MARK, LINE = (
    "#1f2937", "#6b7280", "#ffffff", "#f3f4f6", "#3f51b5", "#cbd5e1"
)  # fmt: skip
MIDDLE, END, BOLD = ' text-anchor="middle"', ' text-anchor="end"', ' font-weight="bold"'


def write_text(
    x: float, y: float, text: str, colour: str = INK, size: int = 12, rest: str = ""
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size}"{rest}>{escape(text)}</text>'
    )


def measure_room(room: str) -> tuple[float, float]:
    """The left edge and the width of a room's box."""
    wide = NARROW.get(room) or WIDE.get(room) or ROOM
    return PLACES[room][0] - wide / 2, wide


def draw_room(room: str, top: float) -> list[str]:
    """A box with the room's name and what it is about."""
    left, wide = measure_room(room)
    flows = room in FLOW
    ground, edge, name, about = (
        (MARK, MARK, PAPER, "#dbe1ff") if flows else (PAPER, LINE, INK, FAINT)
    )
    middle = left + wide / 2
    return [
        f'<rect x="{left:g}" y="{top:g}" width="{wide:g}" height="{BOX}" rx="6" fill="{ground}" '
        f'stroke="{edge}"/>',
        write_text(middle, top + 19, room, name, 14, MIDDLE + BOLD),
        write_text(middle, top + 36, PLACES[room][1], about, 11, MIDDLE),
    ]


def draw_way(start: str, end: str, tops: Mapping[str, float]) -> str:
    """An arrow: up by the shortest way, down into the side, around what lies between."""
    x, to = PLACES[start][0], PLACES[end][0]
    begin, stop = tops[start], tops[end] + BOX + 5
    if tops[start] < tops[end]:  # down
        side, middle = measure_room(end)[0] - 5, tops[end] + BOX / 2
        path = f"M{x + 50:g} {begin + BOX:g}Q{x + 50:g} {middle:g} {side:g} {middle:g}"
    elif begin - stop > STEP and abs(to - x) > 2 * ROOM:  # past another room
        side, middle = sum(measure_room(start)), begin + BOX / 2
        path = f"M{side:g} {middle:g}H{to - 20:g}Q{to:g} {middle:g} {to:g} {middle - 20:g}V{stop:g}"
    else:
        bend = (begin - stop) / 2
        path = f"M{x:g} {begin:g}C{x:g} {begin - bend:g} {to:g} {stop + bend:g} {to:g} {stop:g}"
    return f'<path d="{path}" fill="none" stroke="{MARK}" stroke-width="2" marker-end="url(#tip)"/>'


def draw_floors(floors: Sequence[set[str]]) -> str:
    """Return the picture as SVG."""
    parts: list[str] = []
    tops: dict[str, float] = {}
    for number, floor in enumerate(floors):
        y = TOP + (len(floors) - 1 - number) * STEP
        parts += [
            f'<rect x="{LEFT}" y="{y}" width="{RIGHT - LEFT}" height="{STEP - 10}" rx="6" '
            f'fill="{BAND}"/>',
            write_text(LEFT - 10, y + STEP / 2, str(number), FAINT, 13, END),
        ]
        if number == 0:
            names = " · ".join(sorted(floor))
            middle = (LEFT + RIGHT) / 2
            parts.append(write_text(middle, y + STEP / 2, names, INK, 13, MIDDLE))
        else:
            tops |= dict.fromkeys(sorted(floor), y + (STEP - 10 - BOX) / 2)
    parts += [draw_way(start, end, tops) for start, end in WAYS]
    for room, top in tops.items():
        parts += draw_room(room, top)
    height = TOP + len(floors) * STEP
    head = [
        write_text(
            LEFT, 24, "Imports point down. Blue: what becomes of a photograph", INK, 17, BOLD
        ),
        f'<rect x="{LEFT}" y="34" width="{RIGHT - LEFT}" height="24" rx="6" fill="{INK}"/>',
        write_text(
            (LEFT + RIGHT) / 2, 50,
            "featx.cli: a command parses, calls one function of a floor below, prints",
            PAPER, 12, MIDDLE,
        ),
    ]  # fmt: skip
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
