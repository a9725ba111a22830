"""Which learning rates were tried, which was taken, and what the others cost, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.comparison.candidates import Candidate
from featx.text import format_seconds


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
