"""`featx explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.config import PARTS

from .network_options import model_network_options
from .options import common_options, overwrite_option
from .output import describe_skipped, finish_skipped, say, start_speaking
from .places import FOLDER


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE|DIR|F.h5 …", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    metavar="DIR",
    help="A new folder for the pictures and index.html.  [default: nothing is drawn]",
)
@click.option(
    "--part",
    type=click.Choice(PARTS),
    help="Of F.h5: the split whose images are explained.  [default: test]",
)
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Of F.h5: where its images are.  [default: a folder of the data's name here or beside it]",
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
@model_network_options
@overwrite_option
@common_options
def explain(
    model: Path,
    images: tuple[str, ...],
    output: Path | None,
    part: str | None,
    root: Path | None,
    max_skipped: float,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw where in each image MODEL's score comes from: exactly, for every linear head.

    The map's mean over its places and a constant of the class are the class's logit. A folder is
    taken with all below it; of a feature file F.h5 it is the images of a split. Of images of known
    classes, by F.h5 or by folders that bear classes' names, it also says where in the picture the
    evidence lies, and which classes a place at the edge decides. Pictures that cannot be read are
    named and skipped.

    \b
    Examples:
      featx explain model.safetensors new/*.jpg -o maps
      featx explain model.safetensors new -o maps --class wolf --against husky
      featx explain model.safetensors F.h5 --part test
    """
    progress = start_speaking(verbose, quiet)
    from featx.data.dataset import Leftovers, Skipped
    from featx.explaining.explain import explain
    from featx.explaining.shortcuts import EvidenceTally
    from featx.explaining.split_images import locate_images
    from featx.report.explain import PAGE, check_map_folder, record_explanations
    from featx.text import as_text

    from .rendering import render_evidence, render_explanations

    labels = None
    if Path(images[0]).suffix == ".h5":
        if len(images) > 1:
            raise click.UsageError("F.h5 goes alone.")
        labels = locate_images(images[0], part or "test", root)
        images = ()
    elif part or root:
        raise click.UsageError("--part and --root go with F.h5.")
    if output is not None:
        check_map_folder(output, overwrite)
    left_out = Leftovers()
    found = explain(
        model, images, listed=labels or (), left_out=left_out, progress=progress, **options
    )
    tally = EvidenceTally(labels)
    told: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    if output is None:
        drawn = tally.watch(found)
    else:
        drawn = record_explanations(found, output, model.name, tally)
    for one in drawn:
        if isinstance(one, Skipped):
            skipped.append(one)
        else:
            told.append(one.to_dict())
    evidence = tally.sum_up()
    values = {
        "explanations": told,
        "evidence": evidence.to_dict() if evidence else None,
        **describe_skipped(skipped, left_out),
        "page": None if output is None else as_text(str(output / PAGE)),
    }
    text = [render_explanations(told), *(render_evidence(evidence) if evidence else ())]
    text += [] if output is None else [f"written: {output / PAGE}"]
    say(as_json, values, "\n\n".join(text))
    finish_skipped(skipped, len(told) + len(skipped), max_skipped)
