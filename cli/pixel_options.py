"""Options that say what decodes, and how pixels are read where their type alone does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from featx.config import DECODES, DEPTHS, PROFILES

from .options import stack


def _check_with(parser: str) -> Callable[..., Any]:
    """A callback that reads a value as a function of the library does."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        from featx.decoding import pixel_format
        from featx.errors import DatasetError

        try:
            return None if value is None else getattr(pixel_format, parser)(value)
        except DatasetError as error:
            raise click.BadParameter(str(error)) from error

    return check


pixel_options = stack(
    click.option(
        "--decode",
        type=click.Choice(DECODES),
        default="exact",
        show_default=True,
        help="fast decodes JPEGs of more than twice the size needed at reduced scale. Both it and "
        "exact go on with features that are there as they were made, else have libjpeg-turbo and "
        "torch decode; the others have Pillow alone.",
    ),
    click.option(
        "--depth",
        type=click.Choice(DEPTHS),
        default="auto",
        show_default=True,
        help="Of samples of 16 bits: full scales them by their type, used by the highest bit in "
        "the data; auto is full, and says where that leaves images dark.",
    ),
    click.option(
        "--range",
        "sample_range",
        metavar="LOW,HIGH",
        callback=_check_with("parse_range"),
        help="Black and white of samples of more than 8 bits; signed, 32-bit and floating-point "
        "ones are read with it alone.",
    ),
    click.option(
        "--channels",
        metavar="R,G,B",
        callback=_check_with("parse_channels"),
        help="Of TIFFs of several channels: which to take, from 0; or one, as grey.",
    ),
    click.option(
        "--profiles",
        type=click.Choice(PROFILES),
        default="auto",
        show_default=True,
        help="Convert colours to sRGB by an image's ICC profile, or not; auto goes on with "
        "features that are there as they were made, else converts.",
    ),
)
