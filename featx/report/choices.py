"""What chose learning rates and layers, and what they brought, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.comparison.candidates import Candidate
from featx.comparison.result import Comparison
from featx.config import LAST_LAYER
from featx.text import format_seconds
from featx.training.model import Model


def say_rates(candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each candidate whose learning rate was chosen, and what that means."""
    chosen = [c for c in candidates if _is_chosen(c)]
    by_val = [c.name for c in chosen if _say_judge(c) == "val"]
    said = [
        f"Of {', '.join(by_val)} val chose the epoch and the learning rate, so that what the table "
        "says of val is what chose them, and a little optimistic."
    ]
    return said * bool(by_val) + [_say_choice(c) for c in chosen]


def _is_chosen(candidate: Candidate) -> bool:
    return len(candidate.outcome.details.get("rates", ())) > 1


def _say_judge(candidate: Candidate) -> str:
    """What chose the learning rate: val, or without one folds of train."""
    return str(candidate.outcome.details["chosen"]["by"])


def _say_choice(candidate: Candidate) -> str:
    details = candidate.outcome.details
    taken, rates = details["chosen"]["value"], details["rates"]
    won = next(one for one in rates if one["learning_rate"] == taken)
    others = [one for one in rates if one is not won]
    stopped = [one for one in others if one["epochs"] < won["epochs"]]
    if not stopped:
        told = ", ".join(f"{one['learning_rate']:g}: {one['loss']:.3f}" for one in others)
        return (
            f"{candidate.name}: learning rate {taken:g}, with a log-loss on "
            f"{_say_judge(candidate)} of {won['loss']:.3f} after the last epoch ({told})."
        )
    told = ", ".join(_say_stopped(one) for one in stopped)
    spent = format_seconds(sum(one["seconds"] for one in stopped))
    return (
        f"{candidate.name}: learning rate {taken:g}, whose lowest log-loss on val is "
        f"{won['lowest_loss']:.3f} ({told}; these took {spent} s, which count)."
    )


def _say_stopped(one: Mapping[str, Any]) -> str:
    return (
        f"{one['learning_rate']:g}: {one['lowest_loss']:.3f}, stopped after epoch {one['epochs']}"
    )


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
