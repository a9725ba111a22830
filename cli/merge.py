"""`featx merge`."""

from __future__ import annotations

from pathlib import Path

import click

from .network_options import cache_dir_option, features_output_option, lock_option
from .options import common_options, max_skipped_option, overwrite_option
from .output import finish_extraction, say, start_speaking


@click.command()
@click.argument("plan", metavar="DIR", type=click.Path(file_okay=False))
@features_output_option
@cache_dir_option
@lock_option
@max_skipped_option
@overwrite_option
@common_options
def merge(
    plan: str,
    output: Path | None,
    cache_dir: Path | None,
    lock: bool,
    max_skipped: float,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Check every shard of the plan in DIR and write the one feature file.

    A shard that is missing, damaged or of something else is named, with the command that computes
    it. The file is byte for byte the one that featx extract makes of the same images alone.

    \b
    Examples:
      featx merge plan -o F.h5
    """
    start_speaking(verbose, quiet)
    from featx.scale.merge import merge

    from .rendering import describe_extraction

    done = merge(plan, output, cache_dir=cache_dir, overwrite=overwrite, lock=lock)
    say(as_json, done.to_dict(), describe_extraction(done))
    finish_extraction(done, max_skipped)
