"""What cross-validation found, in sentences and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from featx.comparison.fold_scores import CrossValidation, FoldPair, FoldScores
from featx.config import FEW_IMAGES, SIGNIFICANT
from featx.text import format_interval, format_seconds


def describe_folds(
    found: CrossValidation, test: int = 0, left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """`CrossValidation.to_dict` with what it says in words; parameters of `say_folds`."""
    values = found.to_dict()
    values["sentences"] = say_folds(found, test, left_out)
    for pair, entry in zip(found.paired, values["paired"], strict=True):
        entry["text"] = say_fold_pair(pair)
    values["best"] = _find_best(found)
    return values


def render_folds(found: CrossValidation, test: int = 0, left_out: Sequence[str] = ()) -> str:
    """All of it that a terminal shows; parameters of `say_folds`."""
    headers = [
        "cross-validated", "accuracy", "95 %", "naive 95 %", "log-loss", "95 %", "chosen", "fit s",
    ]  # fmt: skip
    align = ("left", "right", "left", "left", "right", "left", "left", "right")
    rows = [_render_row(found, one) for one in found.candidates]
    table = tabulate(rows, headers, disable_numparse=True, colalign=align if rows else None)
    best = _find_best(found)
    pairs = [say_fold_pair(pair) for pair in found.paired if best in (pair.a, pair.b)]
    return "\n".join([table, "", *say_folds(found, test, left_out), *pairs])


def say_folds(found: CrossValidation, test: int = 0, left_out: Sequence[str] = ()) -> list[str]:
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
    times = "" if spec.repeats == 1 else f", {spec.repeats} times over"
    said = [
        f"Cross-validation {spec}: all {found.images} labelled images were dealt into "
        f"{spec.folds} folds{times}. Each fold was held out once, and whatever is chosen was "
        "chosen anew without it."
    ]
    if found.groups < found.images:
        said.append(
            f"Images that belong together, copies or groups, were in one fold: {found.groups} in "
            "all."
        )
    said.append(
        "It answers how good training such a candidate is on data like this, with about "
        f"{learned} images to learn from, whichever these are."
        + (
            f" The test split answers how good these very models are on these {test} test images."
            if test
            else ""
        )
    )
    said.append(
        "Its 95 % intervals and p-values allow for folds that share their images (Nadeau and "
        f"Bengio 2003; {spec.runs - 1} degrees of freedom; p Holm-corrected for all pairs). The "
        "naive interval does not, and is too narrow."
    )
    flat = [one.name for one in found.candidates if len(set(one.accuracies)) == 1]
    if flat:
        said.append(
            f"The same accuracy on every fold: {', '.join(flat)}. An interval without width says "
            "that there were too few images to see it vary, not that it is sure."
        )
    if left_out:
        said.append(f"Not cross-validated: {', '.join(left_out)}.")
    return said


def say_fold_pair(pair: FoldPair) -> str:
    """One sentence about two candidates on the same folds."""
    gap, (low, high) = pair.difference.mean, pair.difference.interval
    if gap == low == high == 0:
        return f"{pair.a} and {pair.b} are equally good on every fold."
    ahead, behind = pair.a, pair.b
    if gap < 0:
        ahead, behind, low, high = behind, ahead, -high, -low
    told = "distinguishable" if pair.p_value < SIGNIFICANT else "not distinguishable"
    return (
        f"{ahead} is {100 * abs(gap):.1f} points above {behind} ({100 * low:.1f} to "
        f"{100 * high:.1f}); corrected t = {abs(pair.t):.2f}, p = {pair.p_value:.2g}: {told}."
    )


def say_few(images: int) -> list[str]:
    """That cross-validation would tell more, where there are few labelled images."""
    if images >= FEW_IMAGES:
        return []
    return [
        f"{images} labelled images are few for one split, and another split could say something "
        "else: --cv 5x5 holds each of them out and tells more."
    ]


def _render_row(found: CrossValidation, one: FoldScores) -> list[str]:
    accuracy, loss = found.estimate(one)
    low, high = loss.interval
    return [
        one.name if one.kind == "frozen" else f"{one.name} (fine-tuned)",
        f"{100 * accuracy.mean:.1f} %",
        format_interval(accuracy.interval),
        format_interval(accuracy.naive_interval),
        f"{loss.mean:.3f}",
        f"{low:.3f} to {high:.3f}",
        _say_chosen(one),
        format_seconds(sum(fold.seconds for fold in one.folds)),
    ]


def _say_chosen(one: FoldScores) -> str:
    """The values that the folds chose, from the lowest to the highest; a dash where none were."""
    values = sorted({fold.chosen for fold in one.folds if fold.chosen is not None})
    if not values:
        return "–"
    low, high = values[0], values[-1]
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _find_best(found: CrossValidation) -> str | None:
    """The candidate with the highest mean accuracy; the first of equals."""
    best = max(found.candidates, key=lambda one: found.estimate(one)[0].mean, default=None)
    return None if best is None else best.name
