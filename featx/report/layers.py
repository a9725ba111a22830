"""What heads read beside the last layer, what chose it, and what it brought, in sentences."""

from __future__ import annotations

from featx.comparison.candidates import Candidate
from featx.comparison.result import Comparison
from featx.config import LAST_LAYER
from featx.training.model import Model


def say_layers(comparison: Comparison) -> list[str]:
    """A sentence for each candidate that had other layers to read, and what they cost."""
    found = [c for c in comparison.candidates if c.outcome.details.get("layers_tried")]
    if not found:
        return []
    return [
        "+layers: the head may read what all stages of the network gave in the same pass, so that "
        "its extraction costs what the last layer's does.",
        *(_say_gain(comparison, candidate) for candidate in found),
    ]


def say_read(model: Model) -> str | None:
    """Which layers a head reads, and what chose them; None where it had the last one alone."""
    details = model.outcome.details
    tried = details.get("layers_tried")
    if not tried:
        return None
    taken = next(one for one in tried if one["layers"] == details["layers"])
    said = f"{model.title} reads {taken['layers']}, {taken['columns']:,} columns"
    judged = [one for one in tried if one["log_loss"] is not None]
    if len(judged) < 2:
        return said
    losses = ", ".join(f"{one['layers']} {one['log_loss']:.3f}" for one in judged)
    return f"{said}, by the log-loss of images that were held out ({losses})"


def _say_gain(comparison: Comparison, candidate: Candidate) -> str:
    model, said = candidate.model, say_read(candidate.model)
    names = {model.name, model.title}
    pairs = [pair for pair in comparison.paired if {pair.a, pair.b} == names]
    if not pairs or model.outcome.details["layers"] == LAST_LAYER:
        return f"{said}."
    difference, (low, high) = pairs[0].seen_from(model.title)
    return (
        f"{said}: on test {100 * difference:+.1f} points against {model.name} (95 %: "
        f"{100 * low:+.1f} to {100 * high:+.1f})."
    )
