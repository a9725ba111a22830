"""What commands do of features with several labels an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.config import AUTO_LAYERS, LAST_LAYER

from .output import say

if TYPE_CHECKING:
    from featx.features.content import Features

# What is not for several labels an image, with what it is where nobody asked.
_PLAIN: dict[str, Any] = {
    "views": 0, "labels": None, "cv": None, "strangers": False, "weights": None,
    "choose_on": "folds", "refit": True, "taxonomy": None, "precision_at_least": None,
}  # fmt: skip


def fit_labels(
    features: Features,
    clf: str,
    options: Mapping[str, Any],
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """`featx fit` of such features."""
    from featx.multilabel.fit import fit_multilabel
    from featx.report.multilabel import render_labels_model

    taken = keep_meaningful(options)
    path = features.path or Path(features.dataset)
    model = fit_multilabel(
        features,
        clf,
        output=output or path.with_name(f"{path.stem}.{clf}.safetensors"),
        overwrite=overwrite or output is None,
        **taken,
    )
    say(as_json, model.to_dict(), render_labels_model(model))


def keep_meaningful(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options but for those that have no meaning with several labels; these must not be asked."""
    for name, plain in _PLAIN.items():
        if options.get(name) not in (plain, None):
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no meaning with several labels an image: leave it "
                "out"
            )
    if options.get("layers", LAST_LAYER) not in (LAST_LAYER, AUTO_LAYERS):
        raise click.UsageError("several labels an image are learned from the last layer alone")
    return {k: v for k, v in options.items() if k not in (*_PLAIN, "layers")}
