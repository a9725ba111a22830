"""What is told at the ranks of a taxonomy, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.novelty.detector import find_floor
from featx.novelty.rank_scores import RankScores
from featx.report.strangers import format_share
from featx.text import format_interval, format_score, printable


def say_kept(told: Mapping[str, Any]) -> list[str]:
    """From which probability on each rank answers, as a model's details tell it.

    Parameters
    ----------
    told : mapping
        "ranks" of them.
    """
    begun = (
        f"ranks: an answer at a rank is to be right in {100 * told['precision']:g} % of cases or "
        f"more, as {told['images']} out-of-fold images say"
    )
    said = [_say_kept(one, told["precision"]) for one in told["kept"]]
    return [f"{begun}: {'; '.join(said)}; {_say_rest(told)}"]


def _say_kept(one: Mapping[str, Any], precision: float) -> str:
    rank, left = printable(one["rank"]), one["left"]
    if one["threshold"] is not None:
        return (
            f"{rank} answers {one['answered']} of {left} ({one['right']} right), from a "
            f"probability of {one['threshold']:.3f} on"
        )
    if not left:
        return f"no image is left to {rank}"
    if left < (floor := find_floor(1 - precision)):
        return f"{rank} answers nothing, as it needs {floor} images and is left {left}"
    return f"{rank} never keeps it, and answers none of {left}"


def _say_rest(told: Mapping[str, Any]) -> str:
    last = told["kept"][-1]
    rest = last["left"] - last["answered"]
    return f"{rest} {'is' if rest == 1 else 'are'} not answered"


def say_ranks(found: RankScores) -> list[str]:
    """What a comparison found at the ranks of a taxonomy."""
    chosen = next(one for one in found.every if one.candidate == found.candidate)
    told = [
        f"{printable(rank)} {format_score(one.correct, one.total)}, {format_interval(one.interval)}"
        for rank, one in zip(found.ranks, chosen.accuracies, strict=True)
        if one is not None
    ]
    said = [f"{found.candidate} by ranks, and 95 %: {'; '.join(told)}."]
    if total := sum(chosen.mistakes):
        where = [f"{n} at {rank}" for rank, n in _list_meetings(found.ranks, chosen.mistakes) if n]
        said.append(
            f"Of its {total} mistake{'s' * (total != 1)} on test the class said and the true one "
            f"first agree: {', '.join(where)}."
        )
    if found.lacking:
        return [*said, f"{found.candidate} does not answer by ranks: {printable(found.lacking)}."]
    return said + _say_answers(found)


def _list_meetings(ranks: Sequence[str], mistakes: Sequence[int]) -> list[tuple[str, int]]:
    """Where mistakes agree, but for the classes' own rank, where they do not."""
    places = [*map(printable, ranks), "no rank"]
    return list(zip(places, mistakes, strict=True))[1:]


def _say_answers(found: RankScores) -> list[str]:
    """How many test images each rank answers, how many rightly, and which ranks answer nothing."""
    given, never = [], []
    for one in found.answers:
        if one.answered is not None and one.right is not None:
            given.append(
                f"{printable(one.kept.rank)} answers "
                f"{format_score(one.answered.correct, one.answered.total)} of the test images, "
                f"{format_score(one.right.correct, one.right.total)} of them rightly "
                f"({format_interval(one.right.interval)})"
            )
        if one.kept.threshold is None:
            never.append(f"{_say_kept(one.kept.to_dict(), found.precision)}.")
    asked = f"--precision-at-least {found.precision:g}"
    said = [f"{asked}: {'; '.join(given)}." if given else f"{asked}: no test image is answered."]
    return [*said, *(f"Out of fold, {sentence}" for sentence in never)]


Table = tuple[tuple[str, ...], list[tuple[str, ...]], str]  # head, rows, caption


def list_tables(told: Mapping[str, Any] | None) -> list[Table]:
    """Tables of the page, from "ranks" of results.json; none of None."""
    if not told:
        return []
    ranks, every = told["ranks"], told["candidates"]
    counted = [f"{rank} ({n:,})" for rank, n in zip(ranks, told["names"], strict=True)]
    accuracies = [(one["candidate"], *map(format_share, one["accuracy"])) for one in every]
    mistakes = [(one["candidate"], *(f"{n:,}" for n in one["mistakes"][1:])) for one in every]
    answers: list[tuple[str, ...]] = [
        (
            one["rank"], "never" if one["threshold"] is None else f"{one['threshold']:.3f}",
            f"{one['held']['answered']:,} of {one['held']['left']:,}",
            format_share(one["answered"]), format_share(one["right"]),
        )
        for one in told["answers"]
    ]  # fmt: skip
    tables: list[Table] = [
        (
            ("candidate", *counted), accuracies,
            "Test images whose name at a rank is told, by the sum of its classes' probabilities; "
            "of images that have one, with the 95 % interval. How many names a rank has stands "
            "beside it",
        ),
        (
            ("candidate", *ranks[1:], "no rank"), mistakes,
            "Mistakes on test, by the first rank at which the class said and the true one agree",
        ),
    ]  # fmt: skip
    if answers:
        tables.append(
            (
                (
                    "rank", "from a probability of", "out-of-fold images answered",
                    "test images answered, and 95 %", "of these right, and 95 %",
                ),
                answers,
                f"Answers of {told['candidate']} at the deepest rank that keeps a precision of "
                f"{100 * told['precision']:g} %; a rank is given what no deeper one answers",
            )
        )  # fmt: skip
    return tables
