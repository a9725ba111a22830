"""`featx compare`."""

from __future__ import annotations

from typing import Any

import click

from featx.text import printable

from .options import (
    data_options,
    device_options,
    extract_options,
    finish_skipped,
    head_options,
    overwrite_option,
    prefix_cache_option,
    say,
    speech_options,
    start_speaking,
    train_options,
)


@click.command()
@data_options
@click.option(
    "--clf",
    type=click.Choice(["logreg", "linear"]),
    multiple=True,
    help="Heads on frozen features; may be repeated.  [default: logreg, linear]",
)
@click.option(
    "--baseline",
    type=click.Choice(["fc", "layer4", "last3", "all", "none"]),
    multiple=True,
    help="Fine-tuned networks; may be repeated; none leaves them out.  [default: fc]",
)
@head_options
@train_options
@click.option("--augment", is_flag=True, help="Augment the baselines' train images.")
@prefix_cache_option
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="The comparison's folder.  [default: results/NAME]",
)
@extract_options
@device_options
@overwrite_option
@speech_options
def compare(**options: Any) -> None:
    """Extract, fit and fine-tune what is missing, reuse the rest, and compare on the same images.

    DIR (default results/NAME) gets results.json, report.md, split.csv, the figures and the models.
    """
    run_compare(**options)


def run_compare(
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    max_skipped: float,
    data: str,
    c: float | str,
    clf: tuple[str, ...],
    baseline: tuple[str, ...],
    **options: Any,
) -> None:
    """What `featx compare` and `featx demo` do once their options are known."""
    progress = start_speaking(verbose, quiet)
    from featx.comparison import compare
    from featx.report import render_text, write_report

    comparison = compare(
        data,
        clf=clf or ("logreg", "linear"),
        baseline=tuple(name for name in baseline or ("fc",) if name != "none"),
        C=c,
        progress=progress,
        **options,
    )
    report = write_report(comparison)
    files = [report.results, report.page, report.curves, report.examples]
    text = (
        render_text(comparison) + "\n\nwritten: " + ", ".join(printable(str(f)) for f in files if f)
    )
    say(as_json, {**comparison.to_dict(), "report": str(report.page)}, text)
    skipped = comparison.extraction.skipped_files
    finish_skipped(skipped, comparison.extraction.images + len(skipped), max_skipped)
