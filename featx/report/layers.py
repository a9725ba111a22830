"""What heads read beside the last layer, what chose it, and what it brought, in sentences."""

from __future__ import annotations

from featx.comparison.candidates import Candidate
from featx.comparison.result import Comparison
from featx.config import LAST_LAYER


def say_layers(comparison: Comparison) -> list[str]:
    """A sentence for each candidate that had other layers to read, and what they cost."""
    found = [c for c in comparison.candidates if c.outcome.details.get("layers_tried")]
    if not found:
        return []
    return [
        "+layers: the head may read what all stages of the network gave in the same pass, so that "
        "its extraction costs what the last layer's does.",
        *(_say_choice(comparison, candidate) for candidate in found),
    ]


def _say_choice(comparison: Comparison, candidate: Candidate) -> str:
    details = candidate.outcome.details
    tried = details["layers_tried"]
    taken = next(one for one in tried if one["layers"] == details["layers"])
    said = f"{candidate.name} reads {taken['layers']}, {taken['columns']:,} columns"
    losses = [
        f"{one['layers']} {one['log_loss']:.3f}" for one in tried if one["log_loss"] is not None
    ]
    if len(losses) > 1:
        said += f", by the log-loss of images that were held out ({', '.join(losses)})"
    names = {candidate.model.name, candidate.name}
    pairs = [pair for pair in comparison.paired if {pair.a, pair.b} == names]
    if not pairs or taken["layers"] == LAST_LAYER:
        return f"{said}."
    difference, (low, high) = pairs[0].seen_from(candidate.name)
    return (
        f"{said}: on test {100 * difference:+.1f} points against {candidate.model.name} (95 %: "
        f"{100 * low:+.1f} to {100 * high:+.1f})."
    )
