"""`featx audit`."""

from __future__ import annotations

from pathlib import Path

import click

from featx.config import LAST_LAYER

from .head_options import max_memory_option, read_layers_option
from .network_options import num_workers_option
from .options import common_options, labels_option, overwrite_option, seed_option
from .output import say_written, start_speaking
from .places import FILE, TABLE, Table, check_one_output


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the images are.  [default: a folder of the data's name here or beside F.h5]",
)
@read_layers_option(LAST_LAYER, "By which of the layers in F.h5 labels are judged")
@click.option(
    "--csv", "table", type=TABLE, metavar="F.csv", help="Also write a CSV; - writes it to stdout."
)
@click.option(
    "--report",
    type=FILE,
    metavar="F.html",
    help="Also write a page with the pictures side by side, on which labels are reviewed one by "
    "one and corrections.csv is saved.",
)
@click.option(
    "--strangers",
    is_flag=True,
    help="Look for images that are unlike all classes as well, which takes up to forty fits.",
)
@seed_option("Of the folds.")
@labels_option
@num_workers_option
@max_memory_option
@overwrite_option
@common_options
def audit(
    features: Path,
    root: Path | None,
    layers: str,
    table: Table,
    report: Path | None,
    strangers: bool,
    seed: int,
    labels: str | None,
    num_workers: int | None,
    max_memory: int | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say what the features in F.h5 say about the data: copies, leaks, wrong labels, outliers.

    What is found is no failure: the exit code is 0 whatever there is. Nothing is changed.

    \b
    Examples:
      featx audit F.h5
      featx audit F.h5 --root photos --report audit.html --csv audit.csv
      featx audit F.h5 --strangers --report audit.html
      featx audit F.h5 --layers auto
      featx audit F.h5 --labels corrections.csv --report audit.html
    """
    check_one_output(table, json=as_json)
    progress = start_speaking(verbose, quiet)
    from featx.auditing.audit import audit
    from featx.auditing.findings import COLUMNS
    from featx.features.corrections import correct_labels, read_corrections
    from featx.features.file import read_features
    from featx.report.audit import PAGE_START, list_rows, render_audit, write_audit_page
    from featx.storage.files import check_replaceable

    for output, first in ((table, ",".join(COLUMNS)), (report, PAGE_START)):
        if isinstance(output, Path) and not overwrite:
            check_replaceable(output, first)
    corrections = None if labels is None else read_corrections(labels)
    held = read_features(features)
    if corrections is not None:
        held = correct_labels(held, corrections)
    found = audit(
        held, root=root, layers=layers, strangers=strangers, seed=seed, num_workers=num_workers,
        max_memory=max_memory, progress=progress,
    )  # fmt: skip
    if report is not None:
        write_audit_page(found, report, corrections)
    say_written(
        as_json, found.to_dict(), render_audit(found), report, table, COLUMNS, list_rows(found)
    )
