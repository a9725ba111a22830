"""`featx fit`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    head_options,
    overwrite_option,
    say,
    speech_options,
    start_speaking,
    train_options,
)


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.option(
    "--clf",
    type=click.Choice(["logreg", "linear"]),
    default="logreg",
    show_default=True,
    help="Logistic regression by L-BFGS, or a linear layer trained in epochs.",
)
@head_options
@train_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MODEL",
    help="The model file.  [default: F.CLF.safetensors beside F.h5]",
)
@overwrite_option
@speech_options
def fit(
    features: Path,
    clf: str,
    c: float | str,
    scale: str,
    epochs: int,
    seed: int,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Train a classifier on the features in F.h5. val chooses; test is scored once, at the end."""
    start_speaking(verbose, quiet)
    from featx.heads import fit
    from featx.rendering import render_model

    # The default name is this command's own: only a name that the user chose is protected.
    model = fit(
        features,
        clf,
        C=c,
        scale=scale,
        epochs=epochs,
        seed=seed,
        output=output or features.with_name(f"{features.stem}.{clf}.safetensors"),
        overwrite=overwrite or output is None,
    )
    say(as_json, model.to_dict(), render_model(model))
