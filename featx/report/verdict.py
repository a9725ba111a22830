"""Which candidate to choose, how two of them differ, and what chose their settings: sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.comparison.candidates import Candidate, Pair
from featx.comparison.result import Comparison
from featx.config import LAST_LAYER, MARGIN, POWER, SIGNIFICANT
from featx.text import (
    format_difference,
    format_points,
    format_score,
    format_seconds,
    list_some,
    printable,
)
from featx.training.model import Model

_FEW_VAL = 100  # images, below which val is said to be small


def say_pair(pair: Pair, total: int, margin: float = MARGIN) -> str:
    """One sentence about two candidates on the same test images."""
    differ = pair.only_a + pair.only_b
    if differ:
        found = "distinguishable" if pair.p_value < SIGNIFICANT else "not distinguishable"
        said = (
            f"{pair.a} and {pair.b} differ on {differ} of {total} test images "
            f"({pair.only_a} right with {pair.a} alone, {pair.only_b} with {pair.b}), "
            f"p = {pair.p_value:.2g}: {found}"
        )
    else:
        said = f"{pair.a} and {pair.b} are right and wrong on the same {total} test images"
    return f"{said}; {say_difference(pair, margin)}."


def say_difference(pair: Pair, margin: float = MARGIN) -> str:
    """How large the difference may be, and what that means: "a minus b: ... points, ..."."""
    alone = " by itself" if pair.p_value >= SIGNIFICANT else ""
    said = {
        "equal": f"equal within {format_points(margin)}",
        "better": f"{pair.a} is better{alone}",
        "worse": f"{pair.a} is worse{alone}",
        "unknown": f"too few images to tell within {format_points(margin)}",
    }
    difference = format_difference(pair.difference, pair.ci95)
    return f"{pair.a} minus {pair.b}: {difference}, {said[pair.judgement]}"


def say_relabelled(comparison: Comparison) -> list[str]:
    """What corrections of labels did: to the labels, and to each head."""
    corrected = comparison.features.corrected
    if corrected is None:
        return []
    named = {candidate.name: candidate for candidate in comparison.candidates}
    lines = [
        printable(f"{note[0].upper()}{note[1:]}.").replace("..", ".") for note in corrected.notes
    ]
    for pair in comparison.relabelled:
        test = named[pair.a].outcome.scores["test"]
        before = test.correct - pair.only_a + pair.only_b
        lines.append(
            f"On the corrected test labels {pair.a} is right on "
            f"{format_score(test.correct, test.total)}, and {pair.b} on "
            f"{format_score(before, test.total)}: {say_pair(pair, test.total)}"
        )
    paired = {pair.a for pair in comparison.relabelled}
    alone = [c.name for c in comparison.candidates if c.kind == "finetuned"]
    if alone := [name for name in alone if name not in paired]:
        lines.append(
            f"On the labels as they were there is no run of {list_some(alone)} here: compare "
            "without --labels first, into the same folder, and these are paired, too."
        )
    return lines


def say_verdict(comparison: Comparison) -> list[str]:
    """Which candidate to choose, what it costs, what the dearer would cost in addition."""
    verdict = comparison.verdict
    named = {candidate.name: candidate for candidate in comparison.candidates}
    chosen = named[verdict.choose]
    warned: list[str] = []
    if alike := comparison.features.alike:
        warned = [f"{alike[0].upper()}{alike[1:]}."]
        if all(candidate.kind == "frozen" and not candidate.views for candidate in named.values()):
            nothing = "Each head takes all images for one class: there is nothing to choose."
            return [*warned, nothing]
    whole = f"{_say_test(chosen)} of the test images, {_say_cost(chosen)}"
    if len(named) == 1:
        test = chosen.outcome.scores["test"]
        low, high = chosen.evaluations["test"].mean_per_class_ci95
        return [
            *warned,
            f"{chosen.name}: {whole}.",
            f"Mean per class: {100 * test.mean_per_class:.1f} % ({100 * low:.1f} to "
            f"{100 * high:.1f} %).",
        ]
    if verdict.decided:
        said = [f"Choose {chosen.name}: {whole}.", *_say_why(comparison, named)]
    else:
        said = _say_undecided(comparison, named)
    return [*warned, *said, *_say_groups(comparison), *_say_power(comparison, chosen)]


def _say_why(comparison: Comparison, named: dict[str, Candidate]) -> list[str]:
    """Why the chosen one of several tiers is chosen."""
    verdict = comparison.verdict
    chosen, tiers = named[verdict.choose], list(verdict.tiers.values())
    place = tiers.index(chosen.name) if chosen.name in tiers else 0
    superior = [_find_superior(comparison, i) for i in range(place)]
    said = [
        f"The cheaper {cheap} is worse: {_say_less(comparison, cheap, dear)}."
        for cheap, dear in zip(tiers[:place], superior, strict=True)
    ]
    said += [
        f"It loses no more than {format_points(verdict.margin)} to {dear} "
        f"({_say_less(comparison, chosen.name, dear)}); {dear} {_say_more(chosen, named[dear])}."
        for dear in tiers[place + 1 :]
    ]
    if chosen.name == verdict.best and "val" in chosen.outcome.scores:
        said.append("It is the best on val.")
    return said


def _say_undecided(comparison: Comparison, named: dict[str, Candidate]) -> list[str]:
    """Who could be chosen, how much that could lose, and what the dearer would cost."""
    verdict = comparison.verdict
    better = named[verdict.choose]
    cheap, *dearer = verdict.contenders
    said = [
        f"Too few images to tell whether {cheap} loses more than {format_points(verdict.margin)}: "
        + "; ".join(_say_less(comparison, cheap, name) for name in dearer)
        + "."
    ]
    whom = f"{better.name}, {_say_test(better)} of the test images, {_say_cost(better)}"
    if "val" not in better.outcome.scores:
        said.append(f"Without val nothing says which is better; {whom}, stands for it.")
    elif better.name == cheap:
        said.append(f"The better on val is the cheaper: {whom}.")
    else:
        said.append(f"The better on val is {whom}; it {_say_more(named[cheap], better)}.")
    return said


def _find_superior(comparison: Comparison, place: int) -> str:
    """Of those that stand for dearer tiers, the one that the test images tell best from this."""
    tiers = list(comparison.verdict.tiers.values())

    def see_most(dear: str) -> float:
        return _find_pair(comparison.paired, tiers[place], dear).seen_from(tiers[place])[1][1]

    return min(tiers[place + 1 :], key=see_most)


def _find_pair(pairs: Sequence[Pair], a: str, b: str) -> Pair:
    return next(pair for pair in pairs if {pair.a, pair.b} == {a, b})


def _say_less(comparison: Comparison, a: str, b: str) -> str:
    """The difference of two, as "a minus b: ..."."""
    found = _find_pair(comparison.paired, a, b).seen_from(a)
    return f"{a} minus {b}: {format_difference(*found)}"


def _say_groups(comparison: Comparison) -> list[str]:
    """Who is told from the best on val, and who is not."""
    verdict = comparison.verdict
    best = verdict.best
    has_val = any("val" in c.outcome.scores for c in comparison.candidates)
    said = []
    if verdict.level:
        said.append(f"Not distinguishable from {best} on these images: {', '.join(verdict.level)}.")
    for names, how in (
        (verdict.worse, f"worse than {best}"),
        (verdict.better, f"better than {best} on test{', though val did not say so' * has_val}"),
    ):
        sure = _list_sure(comparison.paired, best, names)
        unsure = [name for name in names if name not in sure]
        if sure:
            said.append(f"Distinguishably {how}: {', '.join(sure)}.")
        if unsure:
            said.append(
                f"Perhaps {how}: {', '.join(unsure)} (p < {SIGNIFICANT} before the correction for "
                f"{len(comparison.paired)} pairs, not after it)."
            )
    return said


def _list_sure(pairs: Sequence[Pair], best: str, names: Sequence[str]) -> list[str]:
    """Those of some names that Holm's p, too, tells from the best."""
    told = [pair for pair in pairs if best in (pair.a, pair.b) and pair.p_value < SIGNIFICANT]
    return [name for name in names if any(name in (pair.a, pair.b) for pair in told)]


def _say_test(candidate: Candidate) -> str:
    test = candidate.outcome.scores["test"]
    return format_score(test.correct, test.total)


def _say_cost(candidate: Candidate) -> str:
    if candidate.kind == "finetuned":
        return f"after {format_seconds(candidate.seconds)} s of fine-tuning"
    fitted = f"{format_seconds(candidate.outcome.seconds)} s of fitting"
    if candidate.extraction is None:
        return f"after {fitted} on features whose cost was not measured"
    return f"after {format_seconds(candidate.extraction.seconds)} s of extraction and {fitted}"


def _say_more(cheap: Candidate, dear: Candidate) -> str:
    """What one costs beyond another."""
    if dear.seconds is None or cheap.seconds is None:
        return "costs more, and how much was not measured"
    more = dear.seconds - cheap.seconds
    if more <= 0:
        return "costs no more"
    times = dear.seconds / max(cheap.seconds, 1e-9)
    kept = f", {times:.1f} times as much" if times >= 1.1 else ""
    return f"costs {format_seconds(more)} s more{kept}"


def _say_power(comparison: Comparison, chosen: Candidate) -> list[str]:
    """How large a difference has to be for the test set to show it."""
    total = chosen.outcome.scores["test"].total
    found = comparison.verdict.detectable
    if found is None:
        return [f"{total} test images are too few to tell any two candidates apart."]
    best = comparison.verdict.best
    low, high = (f"{100 * one:.1f}" for one in found)
    worth = [pair.worth for pair in comparison.paired if best in (pair.a, pair.b) and pair.worth]
    few = f", which by their groups count as {min(worth):.0f} at the least," if worth else ""
    said = [
        f"On {total} test images{few} a true difference of {low}{f' to {high}' * (low != high)} "
        f"points to {best} is found {100 * POWER:.0f} times in 100, a smaller one less often."
    ]
    val = chosen.outcome.scores.get("val")
    if val is not None and val.total < _FEW_VAL:
        said.append(f"Val chose among candidates with {val.total} images: few to choose by.")
    return said


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
