"""`featx fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.config import AUTO_LAYERS, CLASSIFIERS

from .head_options import (
    cv_option,
    head_options,
    max_memory_option,
    read_layers_option,
    taxonomy_options,
    train_options,
)
from .options import common_options, labels_option, overwrite_option
from .output import say, start_speaking
from .places import FILE


@click.command()
@click.argument("features", metavar="F.h5", type=click.Path(path_type=Path))
@click.option(
    "--clf",
    type=click.Choice(CLASSIFIERS),
    default="logreg",
    show_default=True,
    help="Logistic regression, a linear layer trained in epochs, linear support vectors, ridge, "
    "nearest neighbours (cosine), nearest centroid, or ImageNet's own last layer.",
)
@head_options
@read_layers_option(AUTO_LAYERS, "Which of the layers in F.h5 are read")
@click.option(
    "--weights",
    metavar="NAME|FILE",
    help="Of --clf imagenet: where the last layer is.  [default: by the features' own name]",
)
@click.option(
    "--strangers",
    is_flag=True,
    help="Also learn what predict needs for --unknown and --sets: a fit for each class, twenty at "
    "most, and one for each of twenty folds.",
)
@taxonomy_options
@labels_option
@train_options
@cv_option
@max_memory_option
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="MODEL",
    help="The model file.  [default: F.CLF.safetensors beside F.h5]",
)
@overwrite_option
@common_options
def fit(
    features: Path,
    clf: str,
    c: float | str,
    views: int,
    labels: str | None,
    cv: str | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a classifier on the features in F.h5. Test chooses nothing: it is scored at the end.

    Of features with several labels an image (featx extract --multi-label) it is one classifier a
    label, of logreg, linear, svm or ridge.

    \b
    Examples:
      featx fit F.h5 --clf logreg
      featx fit F.h5 --clf svm --scale standard --calibrate -o svm.safetensors
      featx fit F.h5 --clf ridge --cv 5x5
      featx fit F.h5 --layers last
      featx fit F.h5 --strangers
      featx fit F.h5 --taxonomy taxonomy.csv --precision-at-least 0.9
      featx fit F.h5 --labels corrections.csv
      featx fit F.h5 --clf linear --epochs 30 --max-memory 3GB
    """
    progress = start_speaking(verbose, quiet)
    from featx.comparison.cross_validation import check_foldable, cross_validate
    from featx.extraction.views import read_views
    from featx.features.corrections import correct_labels
    from featx.features.file import read_features
    from featx.heads.fit import fit
    from featx.heads.recipe import warn_few
    from featx.report.folds import describe_folds

    from .rendering import render_model

    held = read_features(features)
    if held.label_sets is not None:
        from .multilabel import fit_labels

        asked = {"C": c, "views": views, "labels": labels, "cv": cv, **options}
        fit_labels(held, clf, asked, output, overwrite, as_json)
        return
    if labels is not None:
        held = correct_labels(held, labels)
    if options["choose_on"] == "folds":
        warn_few(held, [clf])
    if cv is not None:
        check_foldable(held, cv, views)  # before a model is written

    # The default name is this command's own: only a name that the user chose is protected.
    model = fit(
        held,
        clf,
        C=c,
        views=read_views(held, views),
        output=output or features.with_name(f"{features.stem}.{clf}.safetensors"),
        overwrite=overwrite or output is None,
        **options,
    )
    crossed = None
    if cv is not None:
        crossed = cross_validate(
            held, [model], cv, seed=options["seed"], weights=options["weights"],
            max_memory=options["max_memory"], progress=progress,
        )  # fmt: skip
    labelled = int((held.targets >= 0).sum())
    values = {**model.to_dict(), "cv": None if crossed is None else describe_folds(crossed)}
    say(as_json, values, render_model(model, labelled, crossed))
