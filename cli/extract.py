"""`featx extract`."""

from __future__ import annotations

from typing import Any

import click

from featx.text import printable

from .options import (
    data_options,
    device_options,
    extract_options,
    finish_skipped,
    overwrite_option,
    protocol_option,
    say,
    speech_options,
    start_speaking,
    views_option,
)


@click.command()
@data_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    metavar="F.h5",
    help="The feature file.  [default: a name of its own in the cache folder]",
)
@views_option
@protocol_option
@extract_options
@device_options
@overwrite_option
@speech_options
def extract(
    as_json: bool, verbose: bool, quiet: bool, max_skipped: float, views: int, **options: Any
) -> None:
    """Run the frozen network once over DATA and keep 2048 numbers of each image in an HDF5 file.

    DATA is DIR/{train,val,test}/<class>/*, or DIR/<class>/* with --split, or a CSV file with the
    columns path,label[,split]. A second run computes only what is new or has changed.
    """
    progress = start_speaking(verbose, quiet)
    from featx.extraction import extract
    from featx.views import extract_views

    data = options.pop("data")
    done = extract(data, progress=progress, **options)
    seen: list[str] = []
    if views:
        options |= {"weights": done.weights} if options["weights"] == "auto" else {}
        named = options.pop("output")
        output = None if named is None else done.features
        made = extract_views(data, views, output=output, progress=progress, **options)
        seen = [str(path) for path in made]
    speed = f", {done.images_per_second:.1f} images/s" if done.images_per_second else ""
    text = (
        f"{printable(str(done.features))}: {done.images} images, {done.extracted} extracted, "
        f"{done.reused} reused, "
        f"{done.removed} removed, {len(done.skipped_files)} skipped ({done.seconds:.3g} s{speed}; "
        f"{done.weights}, "
        f"{done.engine} {done.precision} on {done.device})"
    )
    text = "\n".join([text, *(f"{printable(path)}: a view of the train images" for path in seen)])
    say(as_json, {**done.to_dict(), "views": seen}, text)
    finish_skipped(done.skipped_files, done.images + len(done.skipped_files), max_skipped)
