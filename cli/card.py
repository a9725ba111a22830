"""`featx card`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import common_options, overwrite_option
from .output import say, start_speaking
from .places import TABLE, Table


@click.command()
@click.argument("model", metavar="MODEL|DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=TABLE,
    metavar="README.md",
    help="Where the card is written.  [default: it is printed]",
)
@overwrite_option
@common_options
def card(
    model: Path, output: Table, overwrite: bool, as_json: bool, verbose: bool, quiet: bool
) -> None:
    """Say what is known of MODEL as a model card: a README.md for the Hugging Face Hub.

    Of a comparison's model it has what the comparison found; of a comparison's folder DIR it is
    the candidate that is chosen. What is not known is said to be not known.

    \b
    Examples:
      featx card model.safetensors -o README.md
      featx card results/photos
    """
    start_speaking(verbose, quiet)
    from featx.report.card import render_card, write_card

    text = render_card(model)
    written = output if isinstance(output, Path) else None
    if written is not None:
        write_card(written, text, overwrite)
    values = {"card": written and str(written), "text": text}
    say(as_json, values, text.rstrip("\n") if written is None else f"written: {written}")
