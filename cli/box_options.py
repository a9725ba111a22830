"""Options that say which parts of pictures are images."""

from __future__ import annotations

import functools
from typing import Any, cast

import click

from featx.config import BOX_COLUMNS, DETECTION_CATEGORY, DETECTION_CONFIDENCE

from .numbers import NumberRange
from .options import F, stack

# Of `Boxes`, beside its file, with what they are where nobody says it.
_DETAILS = {"pad": 0.0, "min_confidence": None, "category": None}

_box_options = stack(
    click.option(
        "--boxes",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Make an image of each box in the pictures: a CSV file with the columns "
        f"{','.join(BOX_COLUMNS)}[,label] in pixels, a MegaDetector's JSON, or COCO.",
    ),
    click.option(
        "--pad",
        type=NumberRange(0),
        default=_DETAILS["pad"],
        show_default=True,
        metavar="SHARE",
        help="Widen boxes by such a share of their sides at each edge, as far as the picture goes.",
    ),
    click.option(
        "--min-confidence",
        type=NumberRange(0, 1),
        metavar="P",
        help="Take detections of at least P.  [default: what the file calls typical, else "
        f"{DETECTION_CONFIDENCE:g}]",
    ),
    click.option(
        "--category",
        metavar="NAME|N|all",
        help="Take boxes of this category, by name or number.  [default: "
        f"{DETECTION_CATEGORY} of detections, all of COCO]",
    ),
)


def boxes_options(function: F) -> F:
    """Give a command all of them; it is given what they say as one, `boxes`."""

    @functools.wraps(function)
    def call(*words: Any, boxes: str | None, **options: Any) -> Any:
        details = {name: options.pop(name) for name in _DETAILS}
        if boxes is not None:
            from featx.sources.boxes import Boxes

            return function(*words, boxes=Boxes(boxes, **details), **options)
        if given := [name for name, usual in _DETAILS.items() if details[name] != usual]:
            raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --boxes.")
        return function(*words, boxes=None, **options)

    return _box_options(cast(F, call))
