"""`featx predict`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    device_options,
    finish_skipped,
    max_skipped_option,
    overwrite_option,
    say,
    speech_options,
    start_speaking,
)


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR …", nargs=-1, required=True, type=click.Path())
@click.option(
    "--top", type=click.IntRange(1), default=1, show_default=True, help="Classes to give."
)
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), metavar="F", help="Also write a CSV."
)
@click.option("--weights", metavar="NAME|FILE", help="The network, if MODEL's was a local file.")
@device_options
@max_skipped_option
@overwrite_option
@speech_options
def predict(
    model: Path,
    images: tuple[str, ...],
    top: int,
    table: Path | None,
    weights: str | None,
    device: str,
    num_workers: int | None,
    max_skipped: float,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say what MODEL (of featx fit or featx finetune) takes each image for, and how sure it is."""
    progress = start_speaking(verbose, quiet)
    from featx.files import check_replaceable, write_csv
    from featx.prediction import predict
    from featx.rendering import render_predictions

    columns = ["path", "rank", "class", "probability"]
    if table is not None and not overwrite:
        check_replaceable(table, ",".join(columns))
    done = predict(
        model, images, top=top, weights=weights, device=device, num_workers=num_workers,
        progress=progress,
    )  # fmt: skip
    if table is not None:
        rows = (
            [one.path, rank, label, f"{probability:.6f}"]
            for one in done.predictions
            for rank, (label, probability) in enumerate(one.top, 1)
        )
        write_csv(table, columns, rows)
    say(as_json, done.to_dict(), render_predictions(done.predictions))
    total = len(done.predictions) + len(done.skipped_files)
    finish_skipped(done.skipped_files, total, max_skipped)
