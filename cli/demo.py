"""`featx demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .compare import run_compare
from .network_options import device_options, extract_options, weights_option
from .options import common_options, overwrite_option
from .places import FOLDER

_EPOCHS = 3


@click.command()
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Where digits and results go.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=_EPOCHS,
    show_default=True,
    help="Of the linear head and of the baseline; the paper's are 15.",
)
@weights_option
@extract_options
@device_options
@overwrite_option
@common_options
def demo(output: Path, epochs: int, quiet: bool, **options: Any) -> None:
    """The whole job on 1,109 of scikit-learn's handwritten digits, in a few minutes.

    Writes the images to DIR/digits (60 train and 10 val of each digit, 409 test: the paper's
    counts), then does what featx compare does, with few epochs. The results go to DIR/results.

    \b
    Examples:
      featx demo
      featx demo --epochs 15 -o digits
    """
    from featx.sources.samples import DIGITS_SPLIT, write_digits

    if not quiet:
        click.echo(
            f"digits: {output / 'digits'}; {epochs} epochs for the linear head and the fc baseline "
            "(the paper's 15 take longer: --epochs 15)",
            err=True,
        )
    run_compare(
        data=str(write_digits(output / "digits")),
        output=output / "results",
        split=DIGITS_SPLIT,
        epochs=epochs,
        clf=(),
        baseline=(),
        c="auto",
        max_skipped=0.0,
        quiet=quiet,
        **options,
    )
