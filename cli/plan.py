"""`featx plan`."""

from __future__ import annotations

from typing import Any

import click

from featx.config import PLAN_SHARD_IMAGES

from .data_options import data_options
from .network_options import (
    batch_size_option,
    cache_dir_option,
    device_option,
    engine_options,
    framing_option,
    layers_option,
    rehash_option,
    storage_option,
)
from .options import common_options, overwrite_option
from .output import finish_skipped, say, start_speaking
from .places import FOLDER


@click.command()
@data_options
@click.option(
    "-o",
    "--output",
    "folder",
    type=FOLDER,
    required=True,
    metavar="DIR",
    help="Where the plan goes.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=PLAN_SHARD_IMAGES,
    show_default=True,
    metavar="N",
    help="Images of a shard.",
)
@framing_option
@engine_options
@layers_option
@storage_option
@batch_size_option
@device_option
@cache_dir_option
@rehash_option
@overwrite_option
@common_options
def plan(
    as_json: bool, verbose: bool, quiet: bool, max_skipped: float, folder: str, **options: Any
) -> None:
    """Cut the extraction of DATA into shards that any machine computes, in any order.

    DATA is as for featx extract. The folder has to be in sight of every machine that computes, and
    so have the images. --device cuda plans for GPUs that need not be here.

    \b
    Examples:
      featx plan photos --split 0.7,0.1,0.2 -o plan    # find, hash and list the images
      featx extract --plan plan --shard 7              # compute one shard, anywhere
      featx merge plan -o F.h5                         # check them all and write one file
    """
    progress = start_speaking(verbose, quiet)
    from featx.scale.plan import make_plan

    made = make_plan(options.pop("data"), folder, progress=progress, **options)
    shards = len(made.shards)
    text = (
        f"{folder}: {made.images} images in {shards} shard{'s' * (shards != 1)} of at most "
        f"{made.shard_size} ({made.provenance.weights}, {made.provenance.engine} "
        f"{made.provenance.precision})\n"
        f"next: featx extract --plan {folder} --shard I for I from 0 to {shards - 1}, then "
        f"featx merge {folder} -o F.h5"
    )
    say(as_json, made.to_dict(), text)
    finish_skipped(made.skipped_files, made.images, max_skipped)
