"""`featx export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.text import format_bytes, printable

from .options import common_options, overwrite_option
from .output import say, start_speaking
from .places import FILE


@click.command()
@click.argument("source", metavar="F.h5|MODEL", type=click.Path(path_type=Path))
@click.option(
    "--parquet",
    type=FILE,
    metavar="OUT.parquet",
    help="Of F.h5: one table of paths, labels, splits, hashes and features, for Spark, DuckDB, "
    "Ray, pandas.",
)
@click.option(
    "--npy",
    type=FILE,
    metavar="OUT.npy",
    help="Of F.h5: the matrix alone, for numpy and faiss; beside it OUT.csv, its rows, and "
    "OUT.json.",
)
@click.option(
    "--onnx",
    type=FILE,
    metavar="OUT.onnx",
    help="Of MODEL: one file from pixels to probabilities, for ONNX Runtime and what reads ONNX.",
)
@click.option(
    "--openvino",
    type=FILE,
    metavar="OUT.xml",
    help="Of MODEL: the same for OpenVINO; beside it OUT.bin.",
)
@click.option(
    "--weights", metavar="NAME|FILE", help="Of MODEL: its network, where that is not found."
)
@overwrite_option
@common_options
def export(
    source: Path,
    parquet: Path | None,
    npy: Path | None,
    onnx: Path | None,
    openvino: Path | None,
    weights: str | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write the features in F.h5, or a MODEL with its network, in formats that others read.

    MODEL is of featx fit or featx finetune. What is written of it is checked: it must give featx's
    own probabilities to 1e-4.

    \b
    Examples:
      featx export model.safetensors --onnx model.onnx
      featx export F.h5 --parquet F.parquet
      featx export F.h5 --npy F.npy
    """
    of_features, of_model = bool(parquet or npy), bool(onnx or openvino)
    if of_features == of_model:
        raise click.UsageError(
            "Name an output: --parquet or --npy of a feature file, or --onnx or --openvino of a "
            "model."
        )
    if weights and not of_model:
        raise click.UsageError("--weights goes with --onnx and --openvino.")
    progress = start_speaking(verbose, quiet)
    done: Any
    if of_model:
        from featx.deployment.export import export_model

        done = export_model(
            source, onnx=onnx, openvino=openvino, weights=weights, overwrite=overwrite
        )
        what = (
            f"{done.name}, {len(done.classes)} classes; probabilities differ from featx's by "
            f"{done.difference:.1e} at most on {done.pictures} made-up pictures"
        )
    else:
        from featx.features.export import export_features

        done = export_features(
            source, parquet=parquet, npy=npy, overwrite=overwrite, progress=progress
        )
        what = f"{done.images} images; {done.skipped} skipped ones are no rows"
    written = [f"{printable(str(one.path))} ({format_bytes(one.bytes)})" for one in done.written]
    text = f"{source}: {what} ({done.seconds:.3g} s)\nwritten: {', '.join(written)}"
    say(as_json, done.to_dict(), text)
