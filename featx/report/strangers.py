"""What a model knows of what it does not know, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.config import SAID_COVERAGE, SAID_RATE
from featx.novelty.detector import find_floor
from featx.novelty.measures import NoveltyScores, Refusals, SetScores
from featx.text import format_interval, format_score, printable
from featx.training.metrics import Score


def say_learned(told: Mapping[str, Any]) -> str:
    """Which score tells strangers, how well it told classes that were left out, and the others.

    Parameters
    ----------
    told : mapping
        "strangers" of a head's details.
    """
    begun = f"strangers: {told['score']}"
    if told["auroc"]:
        areas = {name: f"{100 * area:.1f} %" for name, area in told["auroc"].items()}
        interval = told["auroc_ci95"]
        within = "" if interval is None else f", 95 % over classes {format_interval(interval)}"
        others = ", ".join(f"{n} {area}" for n, area in areas.items() if n != told["score"])
        begun += (
            f" tells a class that was left out with an AUROC of {areas[told['score']]} (mean of "
            f"{told['classes']}{within}; {others})"
        )
    return f"{begun}; calibrated on {told['images']} out-of-fold images"


def say_strangers(found: NoveltyScores) -> list[str]:
    """What a comparison found of the candidate that it chose."""
    if found.lacking:
        return [f"{found.candidate} knows no strangers: {printable(found.lacking)}."]
    said = [_say_areas(found)]
    refused = [_say_refusals(one) for one in found.refusals if one.rate == SAID_RATE]
    sets = [_say_sets(one) for one in found.sets if one.coverage == SAID_COVERAGE]
    said += refused or [_say_few(found, f"--unknown {SAID_RATE:g}", SAID_RATE)]
    return said + (sets or [_say_few(found, f"--sets {SAID_COVERAGE:g}", 1 - SAID_COVERAGE)])


def _say_areas(found: NoveltyScores) -> str:
    told = found.details
    if found.details.get("classes"):
        return f"{found.candidate}, {say_learned(told)}."
    why = "as it leaves no class out" if "auroc" not in told else "as no class could be left out"
    return (
        f"{found.candidate}, strangers: {told['score']}, {why}; calibrated on {told['images']} "
        "images that it was not fitted on."
    )


def _say_few(found: NoveltyScores, asked: str, rate: float) -> str:
    return (
        f"{asked} needs {find_floor(rate)} or more images that {found.candidate} was not fitted "
        f"on, and it was calibrated on {found.details['images']}."
    )


def _say_refusals(one: Refusals) -> str:
    said = f"--unknown {one.rate:g} refuses {_say_share(one.refused, 'of the test images')}"
    if one.answered is not None:
        said += f", and {_say_share(one.answered, 'of the others are right')}"
    return f"{said}; strangers are refused more often."


def _say_sets(one: SetScores) -> str:
    whole = f"all classes share one limit, as none has {one.floor} calibration images"
    some = f"{one.own} classes have a limit of their own, from {one.floor} calibration images on"
    return (
        f"--sets {one.coverage:g}: "
        f"{_say_share(one.covered, 'of the sets hold the true class')}, {one.size:.2f} classes on "
        f"average; {some if one.own else whole}."
    )


def _say_share(score: Score, of: str) -> str:
    """How many of what, with the 95 % interval."""
    count = format_score(score.correct, score.total)
    return f"{count} {of} ({format_interval(score.interval)})"


def list_refusals(refusals: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of the page's table of refusals, from their JSON values."""
    return [
        (f"{one['rate']:g}", format_share(one["refused"]), format_share(one["answered"]))
        for one in refusals
    ]


def list_sets(sets: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of the page's table of sets, from their JSON values."""
    return [
        (
            f"{one['coverage']:g}", format_share(one["covered"]), f"{one['size']:.2f}",
            f"{one['single']:,}", f"{one['empty']:,}", f"{one['own']:,}", f"{one['floor']:,}",
        )
        for one in sets
    ]  # fmt: skip


def format_share(told: Mapping[str, Any] | None) -> str:
    """A count in JSON values with its share and interval; a dash for None."""
    if told is None:
        return "–"
    count = format_score(told["count"], told["total"])
    return f"{count}, {format_interval(told['ci95'])}"
