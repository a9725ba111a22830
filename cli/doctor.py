"""`featx doctor`."""

from __future__ import annotations

import click

from featx.text import printable

from .network_options import batch_size_option, cache_dir_option, device_option
from .options import common_options
from .output import say, start_speaking


@click.command()
@cache_dir_option
@device_option
@batch_size_option
@click.option("--quick", is_flag=True, help="Leave out what runs the network.")
@common_options
def doctor(
    cache_dir: str | None,
    device: str,
    batch_size: int | None,
    quick: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say what this machine is, what is missing, and what of featx's promises it can keep.

    Looks at versions, stored weights, extras that are not installed (with the command that gets
    them), the cache folder (space, locks, what is kept), whether each engine gives an image the
    same bits wherever it stands in a batch, which byte-for-byte equal files rest on, and whether
    bf16 is faster. Exit code 1 where something is amiss.

    \b
    Examples:
      featx doctor
      featx doctor --quick --json
    """
    start_speaking(verbose, quiet)
    from featx.doctor import examine

    findings = []
    for found in examine(cache_dir, device=device, batch_size=batch_size, quick=quick):
        findings.append(found)
        if not as_json:
            mark = {None: " ", True: "✓", False: "✗"}[found.good]
            click.echo(printable(f"{mark} {found.name:<10} {found.text}"))
    healthy = all(found.good is not False for found in findings)
    if as_json:
        say(True, {"healthy": healthy, "findings": [f.to_dict() for f in findings]}, "")
    if not healthy:
        click.get_current_context().exit(1)
