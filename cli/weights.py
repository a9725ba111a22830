"""`featx weights list|fetch|path`."""

from __future__ import annotations

import click

from featx.config import BACKBONES

from .completion import complete_weights
from .options import common_options
from .output import say, start_speaking


@click.group()
def weights() -> None:
    """The network's parameters: what is stored, fetching more, where they lie."""


@weights.command("list")
@common_options
def list_(as_json: bool, verbose: bool, quiet: bool) -> None:
    """List the known weights and any others that are stored.

    \b
    Examples:
      featx weights list
    """
    start_speaking(verbose, quiet)
    from featx.network.catalogue import describe_weights, find_weights_dir

    from .rendering import render_weights

    known = describe_weights()
    folder = str(find_weights_dir())
    say(as_json, {"folder": folder, "weights": known}, render_weights(known, folder))


@weights.command()
@click.argument("name", default="auto", shell_complete=complete_weights)
@click.option(
    "--backbone",
    type=click.Choice(list(BACKBONES)),
    metavar="NAME",
    help="The network that auto or a short name is about.  [default: resnet50]",
)
@common_options
def fetch(name: str, backbone: str | None, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Fetch the weights NAME, unless they are stored: auto, or what featx weights list shows.

    \b
    Examples:
      featx weights fetch
      featx weights fetch imagenet1k-v2
      featx weights fetch auto --backbone resnet18
    """
    progress = start_speaking(verbose, quiet)
    from featx.network.fetch import resolve_weights

    had = resolve_weights(name, progress=progress, backbone=backbone)
    values = {"name": had.name, "path": str(had.path), "sha256": had.sha256, "source": had.source}
    say(as_json, values, f"{had.name}: {had.path} (sha256 {had.sha256})")


@weights.command()
@click.argument("name", shell_complete=complete_weights)
@common_options
def path(name: str, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Print where the stored weights NAME lie.

    \b
    Examples:
      featx weights path keras-imagenet
    """
    start_speaking(verbose, quiet)
    from featx.network.catalogue import find_stored

    found = str(find_stored(name))
    say(as_json, {"name": name, "path": found}, found)
