"""`featx explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    batch_size_option,
    common_options,
    device_options,
    engine_options,
    max_skipped_option,
    network_option,
    overwrite_option,
)
from .output import finish_skipped, say, start_speaking


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR …", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="A new folder for the pictures and index.html.",
)
@click.option(
    "--class",
    "shown",
    metavar="NAME",
    help="The class whose map is drawn.  [default: of each image the most probable]",
)
@click.option(
    "--against",
    metavar="NAME",
    help="Draw what speaks for the one class rather than for this one.",
)
@network_option
@engine_options
@batch_size_option
@device_options
@max_skipped_option
@overwrite_option
@common_options
def explain(
    model: Path,
    images: tuple[str, ...],
    output: Path,
    max_skipped: float,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw where in each image MODEL's score comes from: exactly, for every linear head.

    The map's mean over its places and a constant of the class are the class's logit. A folder is
    taken with all below it. Of images in folders that bear classes' names it also says where in
    the picture the evidence lies, and which classes a place at the edge decides. Pictures that
    cannot be read are named and skipped.

    \b
    Examples:
      featx explain model.safetensors new/*.jpg -o maps
      featx explain model.safetensors new -o maps --class wolf --against husky
    """
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import Leftovers, Skipped
    from featx.explaining.explain import explain
    from featx.explaining.shortcuts import EvidenceTally
    from featx.report.explain import PAGE, check_map_folder, record_explanations
    from featx.text import as_text

    from .rendering import render_evidence, render_explanations

    check_map_folder(output, overwrite)
    left_out = Leftovers()
    found = explain(model, images, left_out=left_out, progress=progress, **options)
    tally = EvidenceTally()
    told: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for one in record_explanations(found, output, model.name, tally):
        if isinstance(one, Skipped):
            skipped.append(one)
        else:
            told.append(one.to_dict())
    page, evidence = output / PAGE, tally.sum_up()
    values = {
        "explanations": told,
        "evidence": evidence.to_dict() if evidence else None,
        "skipped": len(skipped),
        "skipped_files": [one.to_dict() for one in skipped],
        "left_out": [one.to_dict() for one in left_out.list()],
        "page": as_text(str(page)),
    }
    text = [render_explanations(told), *(render_evidence(evidence) if evidence else ())]
    say(as_json, values, "\n\n".join([*text, f"written: {page}"]))
    finish_skipped(skipped, len(told) + len(skipped), max_skipped)
