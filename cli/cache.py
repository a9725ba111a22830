"""`featx cache list|prune`."""

from __future__ import annotations

import click

from featx.text import format_bytes, printable

from .network_options import cache_dir_option
from .numbers import NumberRange
from .options import common_options
from .output import say, start_speaking


@click.group()
def cache() -> None:
    """The folder of extracted features: what lies there, and clearing it up."""


@cache.command("list")
@cache_dir_option
@common_options
def list_(cache_dir: str | None, as_json: bool, verbose: bool, quiet: bool) -> None:
    """List feature files, unfinished extractions and what killed processes left.

    \b
    Examples:
      featx cache list
      featx cache list --cache-dir /data/features --json
    """
    start_speaking(verbose, quiet)
    from featx.features.cache import find_cache_dir
    from featx.features.housekeeping import list_cache

    from .rendering import render_cache

    found, folder = list_cache(cache_dir), str(find_cache_dir(cache_dir))
    values = {
        "folder": folder,
        "bytes": sum(one.bytes for one in found),
        "entries": [one.to_dict() for one in found],
    }
    say(as_json, values, render_cache(found, folder))


@cache.command()
@cache_dir_option
@click.option(
    "--older-than",
    type=NumberRange(0),
    metavar="DAYS",
    help="Also what was last written more than DAYS ago, of whatever use it is.",
)
@click.option("--all", "everything", is_flag=True, help="All that featx keeps there.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing.")
@common_options
def prune(
    cache_dir: str | None,
    older_than: float | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Remove what is of no use any more: damaged files, those of another featx, leftovers.

    Shows what goes and asks. Files that are not featx's stay, and so does what an extraction is
    at work on. Features that are removed are computed again when they are asked for.

    \b
    Examples:
      featx cache prune --dry-run
      featx cache prune --older-than 90
      featx cache prune --all --yes
    """
    start_speaking(verbose, quiet)
    from featx.errors import LockedError
    from featx.features.cache import find_cache_dir
    from featx.features.housekeeping import choose_entries, list_cache, remove_entry

    from .rendering import render_cache

    if as_json and not (yes or dry_run):
        raise click.UsageError("--json goes with --yes or --dry-run.")
    folder = str(find_cache_dir(cache_dir))
    chosen = choose_entries(list_cache(cache_dir), older_than, everything)
    if chosen and not yes and not dry_run:
        click.echo(render_cache(chosen, folder), err=True)
        click.confirm("Remove them?", abort=True, err=True)
    removed = []
    for one in chosen:
        if not dry_run:
            try:
                remove_entry(one)
            except LockedError as error:
                click.echo(f"kept: {printable(str(error))}", err=True)
                continue
        removed.append(one)
    freed = sum(one.bytes for one in removed)
    values = {
        "folder": folder,
        "removed": [] if dry_run else [one.to_dict() for one in removed],
        "chosen": [one.to_dict() for one in chosen],
        "bytes": freed,
    }
    count = f"{len(removed)} of {len(chosen)} entries" if chosen else "nothing"
    text = f"{'would remove' if dry_run else 'removed'} {count}, {format_bytes(freed)}"
    if dry_run and chosen:
        text = f"{render_cache(chosen, folder)}\n\n{text}"
    say(as_json, values, text)
