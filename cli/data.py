"""`featx data`: manifests of known datasets."""

from __future__ import annotations

from pathlib import Path

import click

from .options import common_options, overwrite_option
from .output import say, start_speaking
from .places import FILE, FOLDER


@click.group()
def data() -> None:
    """Manifests of datasets with a split of their own."""


@data.command("caltech256-animals")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder 256_ObjectCategories.",
)
@click.option(
    "--download",
    type=FOLDER,
    metavar="DIR",
    is_flag=False,
    flag_value="data",
    help="Have torchvision download Caltech-256 (1.2 GB) to DIR.  [default: data]",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="F.csv",
    help="The manifest.  [default: caltech256-animals.csv beside the images' folder]",
)
@overwrite_option
@common_options
def caltech256_animals(
    root: Path | None,
    download: Path | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Ten animals of Caltech-256 in the split of the paper: 600 train, 100 val, 409 test images.

    Of each class the first 60 files by name are train, the next 10 val, the rest test.

    \b
    Examples:
      featx data caltech256-animals --root 256_ObjectCategories
      featx data caltech256-animals --download data
    """
    start_speaking(verbose, quiet)
    from featx.sources.samples import download_caltech256, write_caltech256_animals

    if (root is None) == (download is None):
        raise click.UsageError("name the folder with --root, or --download it")
    found = root if root is not None else download_caltech256(Path(str(download)))
    path, dataset = write_caltech256_animals(found, output, overwrite)
    hint = "" if dataset.root == path.parent else f" --root {dataset.root}"
    counts = dataset.counts()
    values = {"manifest": str(path), "root": str(dataset.root), "images": counts}
    say(as_json, values, f"{path}: {counts}\nnext: featx compare {path}{hint}")
