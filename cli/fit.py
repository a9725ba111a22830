"""`featx fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    HEADS,
    common_options,
    head_options,
    max_memory_option,
    overwrite_option,
    train_options,
)
from .output import say, start_speaking


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.option(
    "--clf",
    type=click.Choice(HEADS),
    default="logreg",
    show_default=True,
    help="Logistic regression, a linear layer trained in epochs, linear support vectors, ridge, "
    "nearest neighbours (cosine), nearest centroid, or ImageNet's own last layer.",
)
@head_options
@click.option(
    "--refit", is_flag=True, help="Once val has chosen, fit again on train and val together."
)
@click.option(
    "--weights",
    metavar="NAME|FILE",
    help="Of --clf imagenet: where the last layer is.  [default: by the features' own name]",
)
@train_options
@max_memory_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MODEL",
    help="The model file.  [default: F.CLF.safetensors beside F.h5]",
)
@overwrite_option
@common_options
def fit(
    features: Path,
    clf: str,
    c: float | str,
    views: int,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a classifier on the features in F.h5. val chooses; test is scored once, at the end.

    \b
    Examples:
      featx fit F.h5 --clf logreg
      featx fit F.h5 --clf svm --scale standard --calibrate -o svm.safetensors
      featx fit F.h5 --clf linear --epochs 30 --max-memory 3GB
    """
    start_speaking(verbose, quiet)
    from featx.extraction.views import read_views
    from featx.features.file import read_features
    from featx.heads.fit import fit

    from .rendering import render_model

    held = read_features(features)

    # The default name is this command's own: only a name that the user chose is protected.
    model = fit(
        held,
        clf,
        C=c,
        views=read_views(held, views),
        output=output or features.with_name(f"{features.stem}.{clf}.safetensors"),
        overwrite=overwrite or output is None,
        **options,
    )
    say(as_json, model.to_dict(), render_model(model))
