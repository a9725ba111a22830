"""Options that say which images there are: their folder or list, splits, groups, boxes, pixels."""

from __future__ import annotations

import click

from featx.config import ON_ERROR

from .box_options import boxes_options
from .network_options import backbone_option, weights_option
from .numbers import NumberRange
from .options import max_skipped_option, stack
from .pixel_options import pixel_options


def _check_split(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from featx.data.splits import parse_split
    from featx.errors import DatasetError

    if value is not None:
        try:
            parse_split(value)
        except DatasetError as error:
            raise click.BadParameter(str(error)) from error
    return value


data_argument = click.argument("data", metavar="DATA", type=click.Path())

# At most one of them.
group_options = stack(
    click.option(
        "--group",
        metavar="COLUMN",
        help="The manifest's column of what images belong to: an animal, patient, site. --split "
        "keeps such groups whole, and intervals and tests count them, not images.",
    ),
    click.option(
        "--group-pattern",
        metavar="REGEX",
        help="Group by what the first parentheses match in the relative path, such as "
        "'(site[0-9]+)'.",
    ),
    click.option(
        "--group-time",
        type=NumberRange(0),
        metavar="SECONDS",
        help="Group bursts: photographs of one camera model, each at most so long after the one "
        "before (EXIF).",
    ),
    click.option(
        "--group-folder", is_flag=True, help="Group by the folder in DIR/<class>/<group>/*."
    ),
)

source_options = stack(
    click.option(
        "--split",
        metavar="SPEC",
        callback=_check_split,
        help="How to split DIR/<class>/*: first:60,10 (per class by file name: 60 train, 10 val, "
        "the rest test) or 0.7,0.1,0.2@SEED (stratified, random).",
    ),
    click.option(
        "--root", metavar="DIR", type=click.Path(), help="What a manifest's paths are relative to."
    ),
    click.option(
        "--recursive",
        is_flag=True,
        help="Take the images in all folders below a class folder for that class, too.",
    ),
    group_options,
    boxes_options,
    backbone_option,
    weights_option,
    click.option(
        "--on-error",
        type=click.Choice(ON_ERROR),
        default="skip",
        show_default=True,
        help="What to do with an image that cannot be decoded.",
    ),
    max_skipped_option,
    pixel_options,
)

data_options = stack(data_argument, source_options)

multi_label_option = click.option(
    "--multi-label",
    is_flag=True,
    help="An image may have any number of labels: the manifest's column label holds them, parted "
    "by | or ; (empty: none of them), or has a column of 0 and 1 for each instead.",
)
