"""What a comparison found, in sentences: the same on the terminal, in the JSON and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from featx.comparison.candidates import Candidate, Pair
from featx.comparison.curves import CurvePoint
from featx.comparison.result import Comparison
from featx.config import CLASSIFIERS, SIGNIFICANT, SPLITS
from featx.heads.kind import find_kind
from featx.text import format_score, format_seconds, printable
from featx.training.metrics import smallest_difference

_ENOUGH = 0.01  # of accuracy, by which more labels must have helped to be asked for


def say_head(comparison: Comparison) -> str:
    """What was compared on: dataset, counts, weights, machine."""
    features = comparison.features
    counts = ", ".join(f"{(features.splits == s).sum()} {s}" for s in SPLITS)
    skipped = f", {len(features.skipped)} skipped" if features.skipped else ""
    made = features.provenance
    return (
        f"{printable(features.dataset)}: {len(features.classes)} classes, {counts} images{skipped} "
        f"(split {features.split_rule}); "
        f"{made.backbone} {printable(made.weights)}, {made.engine} {made.precision}; "
        f"{comparison.machine}"
    )


def say_pair(pair: Pair, total: int) -> str:
    """One sentence about two candidates on the same test images."""
    differ = pair.only_a + pair.only_b
    if not differ:
        return f"{pair.a} and {pair.b} are right and wrong on the same {total} test images."
    found = "distinguishable" if pair.p_value < SIGNIFICANT else "not distinguishable"
    return (
        f"{pair.a} and {pair.b} differ on {differ} of {total} test images "
        f"({pair.only_a} right with {pair.a} alone, {pair.only_b} with {pair.b}), "
        f"p = {pair.p_value:.2g}: {found}."
    )


def say_verdict(comparison: Comparison) -> list[str]:
    """Which candidate to choose, what it costs, what the best would cost in addition."""
    verdict = comparison.verdict
    named = {candidate.name: candidate for candidate in comparison.candidates}
    chosen, best = named[verdict.choose], named[verdict.best]
    has_val = "val" in chosen.outcome.scores
    said = [f"Choose {chosen.name}: {_say_test(chosen)} of the test images, {_say_cost(chosen)}."]
    if len(named) == 1:
        test = chosen.outcome.scores["test"]
        low, high = chosen.evaluations["test"].mean_per_class_ci95
        return [
            f"{chosen.name}: {_say_test(chosen)} of the test images, {_say_cost(chosen)}.",
            f"Mean per class: {100 * test.mean_per_class:.1f} % ({100 * low:.1f} to "
            f"{100 * high:.1f} %).",
        ]
    if chosen is not best:
        whom = f"The best on val, {best.name}," if has_val else f"Without val, {best.name}"
        role = "" if has_val else " stands for the best: it"
        than = "is not distinguishable from it" if chosen.name in verdict.level else "is no better"
        said.append(f"{whom}{role} has {_say_test(best)} and {than}; {_say_more(chosen, best)}.")
    elif has_val:
        said.append("It is also the best on val.")
    level = [name for name in verdict.level if name != chosen.name]
    if level:
        said.append(f"Not distinguishable from {best.name} on these images: {', '.join(level)}.")
    for names, how, but in (
        (verdict.worse, "worse than", ", and so not chosen"),
        (verdict.better, "better than", " on test" + ", though val did not say so" * has_val),
    ):
        sure = _list_sure(comparison.paired, best.name, names)
        unsure = [name for name in names if name not in sure]
        if sure:
            said.append(f"Distinguishably {how} {best.name}{but}: {', '.join(sure)}.")
        if unsure:
            said.append(
                f"Perhaps {how} {best.name}{but}: {', '.join(unsure)} (p < {SIGNIFICANT} before "
                f"the correction for {len(comparison.paired)} pairs, not after it)."
            )
    said += _say_power(comparison, chosen)
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


def _say_more(chosen: Candidate, best: Candidate) -> str:
    """What the best costs beyond the chosen one."""
    if best.seconds is None or chosen.seconds is None:
        return "what it costs in addition was not measured"
    more = best.seconds - chosen.seconds
    if more <= 0:
        return "it costs no more"
    times = best.seconds / max(chosen.seconds, 1e-9)
    kept = f", {times:.1f} times as much" if times >= 1.1 else ""
    return f"it costs {format_seconds(more)} s more{kept}"


def _say_power(comparison: Comparison, chosen: Candidate) -> list[str]:
    """When the test set is too small to tell."""
    total, least = chosen.outcome.scores["test"].total, smallest_difference()
    if total < least:
        return [
            f"{total} test images cannot tell any two candidates apart: it takes {least} that only "
            "one of them has right."
        ]
    said = [
        f"On {total} test images two candidates that differ on fewer than {least} "
        f"({100 * least / total:.1f} % of them) can never be told apart."
    ]
    val = chosen.outcome.scores.get("val")
    if val is not None and val.total < 100:
        said.append(f"Val chose among candidates with {val.total} images: few to choose by.")
    return said


def list_notes(comparison: Comparison) -> list[str]:
    """What a reader of the table must know."""
    candidates, options = comparison.candidates, comparison.options
    lines = []
    if any("val" in c.outcome.scores for c in candidates):
        lines.append(
            "val chose C, k and epoch, and which candidate is best; test decided none of these. "
            "The verdict compares finished candidates on test, so that the figure of the one it "
            "chooses is a little optimistic."
        )
    else:
        lines.append(
            "No val images: folds of train chose C and k (the default where a class has one "
            "image), the last epoch was kept, and nothing says which candidate is best."
        )
    epochs = max((len(c.outcome.history) for c in candidates), default=0)
    if epochs:
        lines.append(f"Iterative candidates ran {epochs} epochs; an epoch is train, val and test.")
    unfinished = [
        c.name
        for c in candidates
        if "val" in c.outcome.scores
        and c.outcome.history
        and c.outcome.best_epoch == len(c.outcome.history)
    ]
    if unfinished:
        lines.append(
            f"Best in the last epoch, so more epochs may do more: {', '.join(unfinished)}."
        )
    stopped = [c.name for c in candidates if c.outcome.details.get("converged") is False]
    if stopped:
        lines.append(f"Stopped short of the optimum: {', '.join(stopped)}.")
    if shared := comparison.in_train["test"]:
        lines.append(
            f"{shared} test images are in train as well, byte for byte: every accuracy here is too "
            "high."
        )
    if any(c.name == "imagenet" for c in candidates):
        lines.append(
            "imagenet is ImageNet's own last layer, its classes mapped to these on train: what the "
            "network knew before any training."
        )
    if comparison.known:
        pairs = ((printable(ours), theirs) for ours, theirs in comparison.known.items())
        names = ", ".join(a if a.casefold() == b.casefold() else f"{a} ({b})" for a, b in pairs)
        lines.append(
            f"The network was trained on ImageNet's own images of classes of these names: {names}; "
            "others may be in ImageNet under other names."
        )
    if options["protocol"] == "linear-eval":
        lines.append(
            "Protocol linear-eval: short side resized to the crop, bicubic; no augmentation; "
            "logreg by L-BFGS, its L2 weight (1/C) chosen on val and the head then refitted on "
            "train and val; its figure is the mean per class. Val's figures are from before that."
        )
    if options["views"]:
        lines.append(
            f"+{options['views']}view{'s' * (options['views'] != 1)}: the head learned from "
            "as many random crops and flips of each train image, too, whose extraction is in its "
            "cost; val and test were never augmented."
        )
    if options["class_weight"] == "balanced":
        unweighted = [n for n in CLASSIFIERS if n in options["clf"] and not find_kind(n).weighed]
        but = f", but for {', '.join(unweighted)}" if unweighted else ""
        lines.append(f"Classes weigh the same whatever their number of images{but}.")
    tempered = [c.name for c in candidates if c.outcome.details.get("temperature", 1.0) != 1.0]
    if tempered:
        lines.append(
            f"Probabilities of {', '.join(tempered)} have a temperature that was fitted on what "
            "chose, so that their log-loss and ECE on val are optimistic."
        )
    lines.append(
        "Intervals: Wilson's for accuracies, bootstrap within classes for means per class; 95 %. "
        "p-values: exact McNemar, Holm-corrected for all pairs; the verdict asks the uncorrected "
        "one, which is harder to pass as level."
    )
    return lines


def say_costs(candidates: Sequence[Candidate]) -> list[str]:
    """When extraction has paid for itself, for each baseline that was trained where it was made."""
    said = []
    costs = [c.extraction for c in candidates if c.extraction is not None and not c.views]
    for tuned in candidates:
        epoch = tuned.outcome.seconds_per_epoch
        if tuned.kind != "finetuned" or not epoch or not costs:
            continue
        seconds = costs[0].seconds
        if costs[0].machine != tuned.outcome.machine:
            said.append(
                f"Extraction was measured on {costs[0].machine}, {tuned.name} on "
                f"{tuned.outcome.machine}: their seconds cannot be compared."
            )
            continue
        epochs, each = seconds / epoch, f"{format_seconds(epoch)} s an epoch"
        first, *later = (one.seconds for one in tuned.outcome.history)
        if later and tuned.outcome.details.get("prefix_cache"):
            # The first makes the cache and must be paid whole, whatever the mean of all is.
            pace = sum(later) / len(later)
            epochs = seconds / first if seconds < first else 1 + (seconds - first) / pace
            each = (
                f"{format_seconds(first)} s for the first epoch and {format_seconds(pace)} s for "
                "each later one"
            )
        said.append(
            f"Extraction paid for itself after {epochs:.1f} epochs of {tuned.name} "
            f"({format_seconds(seconds)} s against {each})."
        )
    return said


def say_learning(points: Sequence[CurvePoint], name: str, total: int) -> str:
    """Whether more labels would help a candidate.

    All train images are compared with the largest draw of at most half as many.

    Parameters
    ----------
    points : sequence of CurvePoint
    name : str
        One that has points.
    total : int
        Test images.
    """
    own = sorted((p for p in points if p.name == name), key=lambda p: p.images)
    last = own[-1]
    fewer = [point for point in own if 2 * point.images <= last.images]
    if not fewer:
        return f"Too few images per class to say whether more labels would help {name}."
    before = fewer[-1]
    gain = last.mean - before.mean
    if total * _ENOUGH < 1:
        told = f"{total} test images are too few to say whether more labels would help"
    elif gain < _ENOUGH:
        told = "more labels of the same kind would probably bring little"
    elif last.mean > max(before.accuracies):
        told = "more labels would probably help"
    else:
        told = "whether more labels would help cannot be told from this"
    return (
        f"From {before.images} to {last.images} train images {name} went from "
        f"{100 * before.mean:.1f} (mean of {len(before.accuracies)} draws) to "
        f"{100 * last.mean:.1f} % of test: {told}."
    )


def choose_curve(comparison: Comparison) -> str:
    """The candidate whose learning curve answers for the chosen one: itself, or the best head."""
    names = {point.name for point in comparison.learning}
    chosen = next(c for c in comparison.candidates if c.name == comparison.verdict.choose)
    heads = [c for c in comparison.candidates if c.name in names]

    def rank(candidate: Candidate) -> tuple[bool, float]:
        val = candidate.outcome.scores.get("val")
        # The head itself, where the chosen one has learned from views as well.
        return candidate.name == chosen.model.name, val.accuracy if val else 0.0

    return max(heads, key=rank).name
