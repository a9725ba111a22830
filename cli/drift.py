"""`featx drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.config import DRIFT_RATE, UNUSUAL

from .network_options import model_network_options
from .numbers import NumberRange
from .options import common_options, null_option
from .output import describe_skipped, finish_skipped, say, split_names, start_speaking


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR|- …", nargs=-1, required=True, type=click.Path())
@click.option(
    "--rate",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    default=DRIFT_RATE,
    show_default=True,
    metavar="RATE",
    help="Which share of folders of images like the known ones is called drift.",
)
@click.option(
    "--unusual",
    type=click.IntRange(1),
    default=UNUSUAL,
    show_default=True,
    metavar="N",
    help="How many of the strangest images to name.",
)
@null_option
@model_network_options
@common_options
def drift(
    model: Path,
    images: tuple[str, ...],
    null: bool,
    max_skipped: float,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say whether images together look like those that MODEL knows, for a nightly job.

    MODEL is a head fitted with --strangers, or a fine-tuned network that had val. A test asks
    whether the images are stranger than held-out ones that are taken for the same classes. Exit
    code 3 where they are, or where too many could not be read.

    \b
    Examples:
      featx drift model.safetensors new
      featx drift model.safetensors new --rate 0.05 --json
    """
    named, listed = split_names(images, null)
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import Leftovers
    from featx.deployment.drift import detect_drift

    from .rendering import render_drift

    left_out = Leftovers()
    found = detect_drift(
        model,
        named,
        listed=listed,
        left_out=left_out,
        progress=progress,
        **options,
    )
    skipped = found.skipped_files
    values = {**found.to_dict(), **describe_skipped(skipped, left_out)}
    say(as_json, values, render_drift(found))
    finish_skipped(skipped, found.images + len(skipped), max_skipped)
    if found.found:
        click.get_current_context().exit(3)
