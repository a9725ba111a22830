"""Which learning rates were tried, which was taken, and what the others cost, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.comparison.candidates import Candidate
from featx.text import format_seconds


def say_rates(candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each candidate that val chose a learning rate for, and what that means."""
    chosen = [c for c in candidates if _is_chosen(c)]
    if not chosen:
        return []
    names = ", ".join(c.name for c in chosen)
    return [
        f"Of {names} val chose the epoch and the learning rate, so that what the table says of val "
        "is what chose them, and a little optimistic.",
        *(_say_choice(c) for c in chosen),
    ]


def _is_chosen(candidate: Candidate) -> bool:
    return len(candidate.outcome.details.get("rates", ())) > 1


def _say_choice(candidate: Candidate) -> str:
    details = candidate.outcome.details
    taken, rates = details["chosen"]["value"], details["rates"]
    won = next(one for one in rates if one["learning_rate"] == taken)
    others = [one for one in rates if one is not won]
    stopped = sum(one["seconds"] for one in others if one["epochs"] < won["epochs"])
    cost = f"; those that were stopped took {format_seconds(stopped)} s, which count"
    return (
        f"{candidate.name}: learning rate {taken:g}, with a log-loss on val of {won['loss']:.3f} "
        f"after the last epoch ({', '.join(_say_attempt(one, won) for one in others)}"
        f"{cost if stopped else ''})."
    )


def _say_attempt(one: Mapping[str, Any], won: Mapping[str, Any]) -> str:
    early = f" when stopped after epoch {one['epochs']}" if one["epochs"] < won["epochs"] else ""
    return f"{one['learning_rate']:g}: {one['loss']:.3f}{early}"
