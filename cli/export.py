"""`featx export`."""

from __future__ import annotations

from pathlib import Path

import click

from featx.text import format_bytes, printable

from .options import overwrite_option, say, speech_options, start_speaking


@click.command()
@click.argument("source", metavar="F.h5", type=click.Path(path_type=Path))
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.parquet",
    help="One table of paths, labels, splits, hashes and features, for Spark, DuckDB, Ray, pandas.",
)
@click.option(
    "--npy",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.npy",
    help="The matrix alone, for numpy and faiss; beside it OUT.csv, its rows, and OUT.json.",
)
@overwrite_option
@speech_options
def export(
    source: Path,
    parquet: Path | None,
    npy: Path | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write the features in F.h5, of any number of images, in formats that other engines read."""
    if parquet is None and npy is None:
        raise click.UsageError("Name an output: --parquet OUT.parquet, --npy OUT.npy, or both.")
    progress = start_speaking(verbose, quiet)
    from featx.export import export_features

    done = export_features(source, parquet=parquet, npy=npy, overwrite=overwrite, progress=progress)
    written = [f"{printable(str(one.path))} ({format_bytes(one.bytes)})" for one in done.written]
    text = (
        f"{printable(str(source))}: {done.images} images; {done.skipped} skipped ones are no rows "
        f"({done.seconds:.3g} s)\nwritten: {', '.join(written)}"
    )
    say(as_json, done.to_dict(), text)
