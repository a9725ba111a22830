"""Random views of train images, whose features are more rows for heads to learn from."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.data.dataset import Dataset
from featx.decoding.decoders import describe_decoder
from featx.errors import DatasetError, FeatureFileError, ModelError
from featx.extraction.extract import extract_request
from featx.extraction.request import Request
from featx.features.content import Features
from featx.features.file import read_features, read_provenance
from featx.features.provenance import Choice, Provenance
from featx.sources.boxes import Boxes
from featx.sources.groups import choose_grouping
from featx.sources.reading import take_dataset

log = logging.getLogger(__name__)


def view_path(features: Path, view: int) -> Path:
    """Where the features of a view lie, beside the file that they belong to."""
    return features.with_name(f"{features.stem}.view{view}{features.suffix}")


def extract_views(
    data: str | Path | Dataset,
    count: int,
    *,
    split: str | None = None,
    root: str | Path | None = None,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    boxes: str | Path | Boxes | None = None,
    output: Path | None = None,
    **options: Any,
) -> list[Path]:
    """Extract views 1 to `count` of every labelled train image: a feature file for each.

    Parameters
    ----------
    data, split, root, recursive, group, group_pattern, group_time, group_folder
    boxes
        See `featx.read_dataset`.
    count : int
    output : path, optional
        The file that they belong to; None: names of their own in the cache folder.
    **options
        See `featx.extract`.

    Returns
    -------
    list of Path
    """
    grouping = choose_grouping(group, group_pattern, group_time, group_folder)
    dataset = take_dataset(
        data, split, root, grouping, recursive=recursive, boxes=boxes, quiet=True
    )
    chosen = {one.name: options.pop(one.name) for one in fields(Choice) if one.name in options}
    request = Request(data=dataset, output=output, choice=Choice(**chosen), **options)
    return extract_each_view(request, dataset, count)


def extract_each_view(request: Request, dataset: Dataset, count: int) -> list[Path]:
    """See `extract_views`, whose other arguments a request holds."""
    train = dataset.select((dataset.splits == "train") & (dataset.targets >= 0))
    if not len(train):
        raise DatasetError(f"{dataset.root} has no labelled train images to take views of")
    return [
        extract_request(
            replace(
                request,
                data=train,
                choice=replace(request.choice, view=view, decode="pillow"),
                output=request.output and view_path(Path(request.output), view),
            )
        ).features
        for view in range(1, count + 1)
    ]


def read_views(features: Features, count: int) -> list[Features]:
    """The views that lie beside a feature file.

    Raises
    ------
    ModelError
        One is not there, or was made otherwise than the file.
    """
    found: list[Features] = []
    train = features.hashes[features.rows("train")]
    for view in range(1, count + 1):
        one = read_features(_find_view(features, view, count))
        check_view(features, one, view)
        lacking = len(train) - int(np.isin(train, one.hashes).sum())
        if lacking:
            log.warning("%s lacks %d of %d train images", one.path, lacking, len(train))
        found.append(one)
    return found


def _find_view(features: Features, view: int, count: int) -> Path:
    """The file of a view: by its name, or in the same folder by what made it."""
    if features.path is None:
        raise ModelError("features that were not read from a file have no views beside them")
    named = view_path(features.path, view)
    if named.is_file():
        return named
    wanted = make_view_provenance(features.provenance, view)
    for path in sorted(features.path.parent.glob("*.h5")):
        try:
            if read_provenance(path) == wanted and read_features(path).dataset == features.dataset:
                return path
        except FeatureFileError:
            continue  # somebody else's
    raise ModelError(f"{named} is not there: featx extract --views {count} makes it")


def make_view_provenance(provenance: Provenance, view: int) -> Provenance:
    """What the features of a view are made by; a view is always decoded by Pillow."""
    return replace(
        provenance,
        preprocessing={**provenance.preprocessing, "view": view},
        decoder=describe_decoder("pillow"),
    )


def check_view(features: Features, view: Features, number: int) -> None:
    """Raise ModelError where a file is not that view under the features' own provenance."""
    made = view.provenance.to_dict()
    wanted = make_view_provenance(features.provenance, number).to_dict()
    wanted.pop("layers", None)  # what a head reads of both is looked for when it does
    wrong = [name for name in wanted if made[name] != wanted[name]]
    if wrong:
        raise ModelError(
            f"{view.path} is no view {number} of {features.path}: another {', '.join(wrong)}"
        )
