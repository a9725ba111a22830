"""What commands do of features with several labels an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.text import printable

from .output import finish_extraction, say
from .settings import is_given

if TYPE_CHECKING:
    from featx.features.content import Features

_OF_SOURCES = {
    "split", "root", "recursive", "group", "group_pattern", "group_time", "group_folder",
}  # fmt: skip
_OF_DATA = _OF_SOURCES | {
    "backbone", "weights", "on_error", "decode", "depth", "sample_range", "channels", "profiles",
    "engine", "precision", "batch_size", "device", "num_workers", "cache_dir", "rehash", "lock",
    "decode_processes",
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
        if is_given(context, name):
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no meaning with several labels an image: leave it "
                "out"
            )
    return _pick(options, taken)


def compare_labels(
    data: str,
    clf: Sequence[str],
    baseline: Sequence[str],
    options: Mapping[str, Any],
    max_skipped: float,
    as_json: bool,
    progress: bool,
) -> None:
    """`featx compare --multi-label`."""
    from featx.extraction.extract import extract
    from featx.finetuning.recipe import TuneOptions
    from featx.multilabel.baseline import BASELINE, LabelsTuner
    from featx.multilabel.compare import check_judged, compare_multilabel
    from featx.multilabel.fit import check_clf
    from featx.report.multilabel import (
        list_written,
        render_labels_comparison,
        write_labels_report,
    )
    from featx.sources.manifest import write_manifest
    from featx.sources.reading import read_dataset

    own = {"margin", "output", "overwrite"}
    if not {*baseline} <= {BASELINE, "none"}:
        raise click.UsageError(
            f"--baseline {', '.join(baseline)}: with several labels an image it is {BASELINE}, or "
            "none"
        )
    for name in clf:
        check_clf(name)  # before the work
    taken = keep_meaningful(options, _OF_DATA | _OF_FITS | own)
    dataset = read_dataset(data, multi_label=True, **_pick(taken, _OF_SOURCES))
    check_judged(dataset.splits, data)  # before the network runs
    done = extract(dataset, progress=progress, **_pick(taken, _OF_DATA - _OF_SOURCES))
    tuner = None
    if baseline != ("none",):
        tuner = LabelsTuner(
            dataset.root,
            done.weights if taken["weights"] == "auto" else taken["weights"],
            TuneOptions(**_pick(taken, ("epochs", "seed", "learning_rate"))),
            taken["device"], taken["num_workers"], taken["decode_processes"], progress,
        )  # fmt: skip
    comparison = compare_multilabel(
        done.features, clf=clf or None, tuner=tuner, **_pick(taken, _OF_FITS | own)
    )
    split = comparison.folder / "split.csv"
    if split.resolve() != Path(data).resolve():
        write_manifest(dataset, split, taken["overwrite"])
    values = write_labels_report(comparison, dataset.root, done.notes)
    written = ", ".join(printable(str(path)) for path in list_written(values, comparison.folder))
    say(as_json, values, f"{render_labels_comparison(comparison)}\n\nwritten: {written}")
    finish_extraction(done, max_skipped)


def _pick(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}
