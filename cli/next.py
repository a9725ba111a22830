"""`featx next`."""

from __future__ import annotations

from pathlib import Path

import click

from featx.config import NEXT_IMAGES

from .options import common_options, labels_option, overwrite_option, seed_option
from .output import say_written, start_speaking
from .places import FILE, TABLE, Table, check_one_output


@click.command("next")
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.argument("pool", metavar="[POOL.h5]", required=False, type=click.Path(path_type=Path))
@click.option(
    "-n", "--n", "count", type=click.IntRange(1), default=NEXT_IMAGES, show_default=True,
    metavar="N", help="How many images to label next.",
)  # fmt: skip
@click.option(
    "--csv",
    "table",
    type=TABLE,
    metavar="F.csv",
    help="Write a CSV to fill in: path, sha256 and an empty label; - writes it to stdout.",
)
@click.option(
    "--report",
    type=FILE,
    metavar="F.html",
    help="Write one page with the pictures and what more labels would bring.",
)
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the pool's images are: for the page, and for telling copies of labelled ones.  "
    "[default: a folder of the data's name here or beside its features]",
)
@click.option(
    "--no-forecast",
    "forecast",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Do not measure what more labels would bring.",
)
@seed_option("Of clusters, folds and draws.")
@labels_option
@overwrite_option
@common_options
def next_(
    features: Path,
    pool: Path | None,
    count: int,
    table: Table,
    report: Path | None,
    root: Path | None,
    forecast: bool,
    seed: int,
    labels: str | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say which images without a label to label next, and what as many more labels would bring.

    The images are those of F.h5 without a label (of a folder called unlabelled/, or of a
    manifest's lines without one), or those of POOL.h5. While there are no labels, those in the
    middle of the pool's clusters come first, then those that the labels leave in doubt. Copies of
    labelled images are not proposed. Nothing is changed, and no network runs.

    \b
    Examples:
      featx next F.h5
      featx next F.h5 --n 20 --csv next.csv --report next.html
      featx next F.h5 --labels next.csv --csv more.csv
      featx next F.h5 pool.h5 --csv next.csv
      featx next F.h5 pool.h5 --labels next.csv
    """
    check_one_output(table, json=as_json)
    start_speaking(verbose, quiet)
    from featx.labelling.next import find_next
    from featx.report.next import (
        COLUMNS,
        PAGE_START,
        check_unfilled,
        list_rows,
        render_next,
        write_next_page,
    )
    from featx.storage.files import check_replaceable

    if isinstance(table, Path) and not overwrite:
        check_unfilled(table)
    if report is not None and not overwrite:
        check_replaceable(report, PAGE_START)
    found = find_next(
        features, pool, n=count, labels=labels, root=root, forecast=forecast, seed=seed
    )
    if report is not None:
        write_next_page(found, report, root)
    say_written(
        as_json, found.to_dict(), render_next(found), report, table, COLUMNS, list_rows(found)
    )
