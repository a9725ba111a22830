"""`featx similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.config import NEAREST_SHOWN

from .network_options import batch_size_option, device_options, network_option
from .options import common_options, max_skipped_option
from .output import describe_skipped, finish_skipped, say, start_speaking


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR …", nargs=-1, required=True, type=click.Path())
@click.option(
    "-k",
    type=click.IntRange(1),
    default=NEAREST_SHOWN,
    show_default=True,
    metavar="K",
    help="How many rows to name.",
)
@network_option
@batch_size_option
@device_options
@max_skipped_option
@common_options
def similar(
    features: Path,
    images: tuple[str, ...],
    max_skipped: float,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Find the images of F.h5 that are nearest to each IMAGE in the features.

    Nearest is of the highest cosine, and every row is looked at. The network runs once over the
    images, as it did for F.h5.

    \b
    Examples:
      featx similar F.h5 photo.jpg
      featx similar F.h5 new -k 10 --json
    """
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import Leftovers
    from featx.deployment.similar import Similar, find_similar

    from .rendering import render_similar

    left_out = Leftovers()
    every = list(find_similar(features, images, left_out=left_out, progress=progress, **options))
    found = [one for one in every if isinstance(one, Similar)]
    skipped = [one for one in every if not isinstance(one, Similar)]
    values = {
        "similar": [one.to_dict() for one in found],
        **describe_skipped(skipped, left_out),
    }
    say(as_json, values, render_similar(found))
    finish_skipped(skipped, len(every), max_skipped)
