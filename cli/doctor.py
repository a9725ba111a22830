"""`featx doctor`."""

from __future__ import annotations

import click

from featx.text import printable

from .options import (
    batch_size_option,
    cache_dir_option,
    common_options,
    device_option,
    say,
    start_speaking,
)


@click.command()
@cache_dir_option
@device_option
@batch_size_option
@common_options
def doctor(
    cache_dir: str | None,
    device: str,
    batch_size: int | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say what this machine is and what of featx's promises it can keep.

    Looks at versions, the cache folder (space, locks), and whether the engine gives an image the
    same bits wherever it stands in a batch, which byte-for-byte equal files rest on. Exit code 1
    where something is amiss.
    """
    start_speaking(verbose, quiet)
    from featx.doctor import examine

    findings = []
    for found in examine(cache_dir, device=device, batch_size=batch_size):
        findings.append(found)
        if not as_json:
            mark = {None: " ", True: "✓", False: "✗"}[found.good]
            click.echo(printable(f"{mark} {found.name:<10} {found.text}"))
    healthy = all(found.good is not False for found in findings)
    if as_json:
        say(True, {"healthy": healthy, "findings": [f.to_dict() for f in findings]}, "")
    if not healthy:
        click.get_current_context().exit(1)
