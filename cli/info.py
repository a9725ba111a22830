"""`featx info`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import common_options
from .output import say, start_speaking


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@common_options
def info(features: Path, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Say what a feature file holds and how its features were made.

    \b
    Examples:
      featx info F.h5
      featx info F.h5 --json
    """
    start_speaking(verbose, quiet)
    from featx.features.file import open_features

    from .rendering import render_features

    held = open_features(features)
    say(as_json, held.to_dict(), render_features(held))
