"""What commands do of features with several labels an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from featx.text import printable

from .output import finish_skipped, say

if TYPE_CHECKING:
    from featx.features.content import Features

_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
_OF_DATA = {
    "split", "root", "recursive", "group", "group_pattern", "group_time", "group_folder",
    "backbone", "weights", "on_error", "decode", "depth", "sample_range", "channels", "profiles",
    "engine", "precision", "batch_size", "device", "num_workers", "cache_dir", "rehash", "lock",
}  # fmt: skip
_OF_FITS = {
    "C", "scale", "epochs", "seed", "class_weight", "calibrate", "learning_rate", "max_memory",
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

    taken = keep_meaningful(options, _OF_FITS)
    path = features.path or Path(features.dataset)
    model = fit_multilabel(
        features,
        clf,
        output=output or path.with_name(f"{path.stem}.{clf}.safetensors"),
        overwrite=overwrite or output is None,
        **taken,
    )
    say(as_json, model.to_dict(), render_labels_model(model))


def keep_meaningful(options: Mapping[str, Any], taken: Collection[str]) -> dict[str, Any]:
    """Options that have a meaning with several labels; no other may have been given."""
    context = click.get_current_context()
    for name in options.keys() - set(taken):
        if context.get_parameter_source(name) in _GIVEN:
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no meaning with several labels an image: leave it "
                "out"
            )
    return {name: value for name, value in options.items() if name in taken}


def compare_labels(
    data: str,
    clf: Sequence[str],
    options: Mapping[str, Any],
    max_skipped: float,
    as_json: bool,
    progress: bool,
) -> None:
    """`featx compare --multi-label`."""
    from featx.extraction.extract import extract
    from featx.multilabel.compare import compare_multilabel
    from featx.report.multilabel import (
        list_written,
        render_labels_comparison,
        write_labels_report,
    )

    own = {"margin", "output", "overwrite"}
    taken = keep_meaningful(options, _OF_DATA | _OF_FITS | own)
    done = extract(
        data, multi_label=True, progress=progress,
        **{name: value for name, value in taken.items() if name in _OF_DATA},
    )  # fmt: skip
    comparison = compare_multilabel(
        done.features,
        clf=clf or None,
        **{name: value for name, value in taken.items() if name in _OF_FITS | own},
    )
    values = write_labels_report(comparison)
    written = ", ".join(printable(str(path)) for path in list_written(values, comparison.folder))
    say(as_json, values, f"{render_labels_comparison(comparison)}\n\nwritten: {written}")
    finish_skipped(done.skipped_files, done.images + len(done.skipped_files), max_skipped)
