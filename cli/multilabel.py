"""What commands do of features with several labels an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from tabulate import tabulate

from featx.text import format_interval, format_seconds, printable

from .output import say

if TYPE_CHECKING:
    from featx.features.content import Features
    from featx.training.model import Model

SUMS = {
    "mAP": "mAP",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "subset_accuracy": "whole sets right",
    "hamming_loss": "Hamming loss",
}
_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
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


def render_labels_model(model: Model) -> str:
    """A model's scores on all labels and on each, and what was chosen."""
    details, outcome = model.outcome.details, model.outcome
    told = details["evaluation"]
    split = "test" if "test" in told else next(iter(told), None)
    facts = [f"{outcome.trainable_parameters:,} parameters", f"{len(model.classes)} labels"]
    facts += ["NOT converged"] * (not details["converged"])
    facts.append(f"{format_seconds(outcome.seconds)} s in all")
    parts = [f"{model.name}: {', '.join(facts)}"]
    rows = [
        [split, *(f"{format_value(one[name])} {format_range(one['ci95'][name])}" for name in SUMS)]
        for split, one in told.items()
    ]
    if rows:
        parts.append(tabulate(rows, ["split", *SUMS.values()], disable_numparse=True))
    if split is not None:
        parts.append(render_labels(describe_labels(model, split), split))
    parts += details["notes"]
    if details["val_is_test"]:
        parts.append("There is no test: val is the test here, and folds of train chose.")
    return "\n\n".join([*map(printable_lines, parts), f"model: {printable(str(model.path))}"])


def printable_lines(text: str) -> str:
    """Text whose lines stay, and whose other control characters do not command a terminal."""
    return printable(text, keep="\n")


def describe_labels(model: Model, split: str) -> list[dict[str, Any]]:
    """Each label on a split: what was chosen for it, and how well it is told."""
    details = model.outcome.details
    scores = details["evaluation"][split]["labels"]
    return [{**one, **score} for one, score in zip(details["labels"], scores, strict=True)]


def render_labels(labels: Sequence[Mapping[str, Any]], split: str) -> str:
    """A table of labels."""
    rows = [
        [
            printable(one["name"]), f"{one['positives']:,}", f"{one['predicted']:,}",
            format_value(one["ap"]), format_range(one["ap_ci95"]),
            format_value(one["f1"]), format_range(one["f1_ci95"]),
            f"{one['threshold']:.3f}",
        ]
        for one in labels
    ]  # fmt: skip
    head = [f"label, on {split}", "images", "said of", "AP", "95 %", "F1", "95 %", "threshold"]
    align = ("left", *7 * ("right",))
    return tabulate(rows, head, disable_numparse=True, colalign=align if rows else None)


def format_value(value: float | None) -> str:
    """A fraction in per cent; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def format_range(interval: Sequence[float] | None) -> str:
    """Its interval, in brackets; nothing for None."""
    return "" if interval is None else f"({format_interval((interval[0], interval[1]))})"
