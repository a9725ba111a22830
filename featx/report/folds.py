"""What cross-validation found, in sentences and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from featx.comparison.fold_scores import CrossValidation, FoldPair, FoldScores
from featx.config import FEW_IMAGES, SIGNIFICANT
from featx.text import format_interval, format_seconds


def say_cross_validation(
    found: CrossValidation, test: int = 0, left_out: Sequence[str] = ()
) -> list[str]:
    """What was done, what it answers, and what its intervals are.

    Parameters
    ----------
    found : CrossValidation
    test : int
        Images of the test split beside it; 0 where there is none.
    left_out : sequence of str
        Candidates that were not cross-validated.
    """
    spec = found.spec
    learned = found.images * (spec.folds - 1) // spec.folds
    times = "once" if spec.repeats == 1 else f"{spec.repeats} times"
    together = (
        f" Images that belong together were in one fold: {found.groups} groups."
        if found.groups < found.images
        else ""
    )
    beside = (
        f" The test split answers another question: how good these very models are on these {test} "
        "test images."
        if test
        else ""
    )
    said = [
        f"Cross-validation, {spec}: all {found.images} labelled images were dealt into "
        f"{spec.folds} folds, {times}; each fold was held out once, and what each head chooses was "
        f"chosen anew without it.{together}",
        f"It says how good such a head is on data like this when it learns from about {learned} "
        f"images, whichever these are.{beside}",
        "Intervals and p-values are corrected for folds that share their images (Nadeau and "
        f"Bengio 2003), {spec.runs - 1} degrees of freedom, Holm-corrected for all pairs; the "
        "naive interval takes folds for independent and is too narrow.",
    ]
    flat = [one.name for one in found.candidates if len(set(one.accuracies)) == 1]
    if flat:
        said.append(
            f"The same accuracy on every fold: {', '.join(flat)}. Such an interval has no width, "
            "and means that there were too few images, not that the figure is sure."
        )
    if left_out:
        said.append(f"Not cross-validated: {', '.join(left_out)}.")
    return said


def say_fold_pair(pair: FoldPair) -> str:
    """One sentence about two candidates on the same folds."""
    gap, (low, high) = 100 * pair.difference.mean, pair.difference.interval
    if not gap and low == high:
        return f"{pair.a} and {pair.b} are equally good on every fold."
    ahead, behind, sign = (pair.a, pair.b, 1) if gap >= 0 else (pair.b, pair.a, -1)
    low, high = sorted((100 * sign * low, 100 * sign * high))
    told = "distinguishable" if pair.p_value < SIGNIFICANT else "not distinguishable"
    return (
        f"{ahead} is {abs(gap):.1f} points above {behind} ({low:.1f} to {high:.1f}), corrected "
        f"t = {abs(pair.t):.2f}, p = {pair.p_value:.2g}: {told}."
    )


def list_fold_pairs(found: CrossValidation) -> tuple[list[str], list[str]]:
    """Sentences on all pairs: those with the highest mean accuracy, and the others."""
    if not found.candidates:
        return [], []
    best = max(found.candidates, key=lambda one: found.estimate(one)[0].mean).name
    pairs = found.paired
    first = [say_fold_pair(pair) for pair in pairs if best in (pair.a, pair.b)]
    return first, [say_fold_pair(pair) for pair in pairs if best not in (pair.a, pair.b)]


def render_cross_validation(found: CrossValidation) -> str:
    """The table of cross-validated candidates."""
    headers = [
        "candidate", "accuracy", "corrected 95 %", "naive 95 %", "log-loss", "corrected 95 %",
        "chosen", "fit s",
    ]  # fmt: skip
    rows = [_render_row(found, one) for one in found.candidates]
    align = ("left", "right", "left", "left", "right", "left", "left", "right")
    return tabulate(rows, headers, disable_numparse=True, colalign=align if rows else None)


def _render_row(found: CrossValidation, one: FoldScores) -> list[str]:
    accuracy, loss = found.estimate(one)
    low, high = loss.interval
    return [
        one.name,
        f"{100 * accuracy.mean:.1f} %",
        format_interval(accuracy.interval),
        format_interval(accuracy.naive_interval),
        f"{loss.mean:.3f}",
        f"{low:.3f} to {high:.3f}",
        say_chosen(one),
        format_seconds(sum(fold.seconds for fold in one.folds)),
    ]


def say_chosen(one: FoldScores) -> str:
    """The values that the folds chose, from the lowest to the highest; a dash where none were."""
    values = sorted({fold.chosen for fold in one.folds if fold.chosen is not None})
    if not values:
        return "–"
    low, high = values[0], values[-1]
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def say_few(images: int) -> list[str]:
    """That cross-validation would tell more, where there are few labelled images."""
    if images >= FEW_IMAGES:
        return []
    return [
        f"{images} labelled images are few for one split: another one could well have said "
        "something else. --cv 5x5 holds each of them out and tells more."
    ]
