"""`featx verify`."""

from __future__ import annotations

from pathlib import Path

import click

from featx.text import printable

from .options import common_options
from .output import say, start_speaking


@click.command()
@click.argument(
    "features", metavar="F.h5 …", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@common_options
def verify(features: tuple[Path, ...], as_json: bool, verbose: bool, quiet: bool) -> None:
    """Read every byte of feature files and say whether they are as they were written.

    A flipped bit or a cut anywhere is found, and so are parts that do not fit each other. Exit
    code 1 where a file is damaged.

    \b
    Examples:
      featx verify F.h5
      featx verify cache/*.h5 --json
    """
    start_speaking(verbose, quiet)
    from featx.errors import FeatureFileError
    from featx.features.file import open_features

    results = []
    for path in features:
        try:
            images, reason = len(open_features(path)), None
        except FeatureFileError as error:
            images, reason = None, error.reason
        results.append({"features": str(path), "images": images, "reason": reason})
    # Line by line, so that a file's name cannot forge one.
    lines = []
    for one in results:
        said = one["reason"] or f"{one['images']} images, whole"
        lines.append(printable(f"{one['features']}: {said}"))
    bad = sum(r["reason"] is not None for r in results)
    say(as_json, {"whole": not bad, "files": results}, "\n".join(lines))
    if bad:
        click.get_current_context().exit(1)
