"""What a comparison found, in sentences: the same on the terminal, in the JSON and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featx.comparison.candidates import Candidate
from featx.comparison.curves import CurvePoint
from featx.comparison.relatives import keeps_groups_whole
from featx.comparison.result import Comparison
from featx.config import CLASSIFIERS, SPLITS
from featx.heads.kind import find_kind
from featx.report.folds import say_few
from featx.report.verdict import say_layers, say_rates, say_relabelled
from featx.text import format_interval, format_score, format_seconds, printable

_LOWEST = 3  # classes that are named
_ENOUGH = 0.01  # of accuracy, by which more labels must have helped to be asked for


def say_head(comparison: Comparison) -> str:
    """What was compared on: dataset, counts, weights, machine."""
    features = comparison.features
    counts = ", ".join(f"{len(features.rows(s))} {s}" for s in SPLITS)
    skipped = f", {len(features.skipped)} skipped" if features.skipped else ""
    made = features.provenance
    return (
        f"{printable(features.dataset)}: {len(features.classes)} classes, {counts} images{skipped} "
        f"(split {features.split_rule}); "
        f"{made.backbone} {printable(made.weights)}, {made.engine} {made.precision}; "
        f"{comparison.machine}"
    )


def say_classes(candidate: Candidate, classes: Sequence[str]) -> str:
    """The classes of which a candidate gets the fewest test images right."""
    counts = candidate.evaluations["test"].per_class
    told = [
        (one.correct / one.total, one.ci95[0],
         f"{printable(name)} {format_score(one.correct, one.total)}, {format_interval(one.ci95)}")
        for name, one in zip(classes, counts, strict=True)
        if one.ci95 is not None
    ]  # fmt: skip
    lowest = sorted(told, key=lambda one: one[:2])[:_LOWEST]
    listed = "; ".join(text for *_, text in lowest)
    by_groups = any(one.ci95_method != "wilson" for one in counts)
    how = " (intervals by groups)" if by_groups else ""
    if all(share == 1 for share, *_ in lowest):
        return f"On test {candidate.name} has no mistake; its least certain classes{how}: {listed}."
    return f"Lowest classes of {candidate.name} on test{how}: {listed}."


def list_notes(comparison: Comparison) -> list[str]:
    """What a reader of the table must know."""
    candidates = comparison.candidates
    return [
        *_say_splits(comparison),
        *_say_training(candidates),
        *_say_known(comparison),
        *say_relabelled(comparison),
        *say_rates(candidates),
        *say_layers(comparison),
        *_say_options(comparison.options),
        *_say_tempered(candidates),
        *_say_tested(comparison),
        *_say_intervals(comparison),
    ]


def _say_splits(comparison: Comparison) -> list[str]:
    """Which images chose, and which said how good it is."""
    candidates = comparison.candidates
    lines = []
    if comparison.val_is_test:
        lines.append(
            "There is no test: val is the test here, so that it could choose nothing. Folds of "
            "train chose for the heads, linear's learning rate, too; what is trained in epochs had "
            "no val to choose by: it kept the last epoch, and a fine-tuned network a fixed rate."
        )
    if any("val" in c.outcome.scores for c in candidates):
        lines += _say_choosing(candidates)
        lines.append(
            "val chose which candidate is best; test decided none of these. The verdict compares "
            "finished candidates on test, so that the figure of the one it chooses is a little "
            "optimistic."
        )
    elif not comparison.val_is_test:
        lines.append(
            "No val images: folds of train chose C and k (the default where a class has one "
            "image), the last epoch was kept, and nothing says which candidate is best."
        )
    if comparison.cv is None:
        lines += say_few(int((comparison.features.targets >= 0).sum()))
    return lines


def _say_training(candidates: Sequence[Candidate]) -> list[str]:
    """How far what is trained in steps has come."""
    lines = []
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
    return lines


def _say_known(comparison: Comparison) -> list[str]:
    """What train and the network know of the images that test is of."""
    lines = []
    if shared := comparison.in_train["test"]:
        lines.append(
            f"{shared} test images are in train as well, byte for byte: every accuracy here is too "
            "high."
        )
    if any(c.name == "imagenet" for c in comparison.candidates):
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
    return lines


def _say_options(options: Mapping[str, Any]) -> list[str]:
    """What the options mean for the figures."""
    lines = []
    if options["protocol"] == "paper":
        lines.append(
            f"Protocol paper: {options['epochs']} epochs at a learning rate of "
            f"{options['learning_rate']:g}, a new last layer alone, no augmentation."
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
    return lines


def _say_tempered(candidates: Sequence[Candidate]) -> list[str]:
    """Whose probabilities have a temperature."""
    lines = []
    tempered = [c.name for c in candidates if c.outcome.details.get("temperature", 1.0) != 1.0]
    if tempered:
        on_val = any("val" in c.outcome.scores for c in candidates)
        lines.append(
            f"Probabilities of {', '.join(tempered)} have a temperature that was fitted on what "
            f"chose{', so that their log-loss and ECE on val are optimistic' * on_val}."
        )
    return lines


def _say_tested(comparison: Comparison) -> list[str]:
    """Of what test says nothing, and what it says of the field."""
    lines = []
    totals = [one.total for one in comparison.candidates[0].evaluations["test"].per_class]
    classes = comparison.features.classes
    if absent := [printable(k) for k, n in zip(classes, totals, strict=True) if not n]:
        lines.append(f"No test images, so that nothing is said of them: {', '.join(absent)}.")
    if comparison.prevalence:
        expected = comparison.prevalence.items()
        shares = ", ".join(f"{printable(name)} {100 * one:.3g} %" for name, one in expected)
        lines.append(f"In the field: what test says where classes have these shares: {shares}.")
    return lines


def _say_intervals(comparison: Comparison) -> list[str]:
    """What the ECE, the intervals and the p-values are."""
    of_ece = (
        "ECE: bins of equal counts, debiased, with a bootstrap interval, which reaches down to 0 "
        "where perfect calibration would often show as much on so few images."
    )
    of_images = (
        "Intervals: Wilson's for accuracies, bootstrap within classes for means per class, Tango's "
        "for differences; 95 %. p-values: McNemar's mid-p, Holm-corrected for all pairs; the "
        "verdict asks the intervals of differences."
    )
    return [of_ece, *(say_groups(comparison) or [of_images])]


def _say_choosing(candidates: Sequence[Candidate]) -> list[str]:
    """What chose each candidate's own values, and so what its figure of val is."""
    of_val: dict[str, list[str]] = {}
    for candidate in candidates:
        of_val.setdefault(str(candidate.outcome.details.get("val")), []).append(candidate.name)
    folded = of_val.get("out of fold", [])
    before = of_val.get("held out, before refitting", [])
    epochs = [c.name for c in candidates if c.outcome.history]
    lines = []
    if folded:
        lines.append(
            f"Folds of train and val together chose C, k and the like of {', '.join(folded)}, "
            "which then learned from both: what the table says of val is out of fold, of images "
            "that the head in question had not seen."
        )
    if before:
        lines.append(
            f"val chose C, k and the like of {', '.join(before)}, which then learned from it, too: "
            "what the table says of val is from before that."
        )
    if epochs:
        lines.append(f"val chose the epoch of {', '.join(epochs)}.")
    return lines


def say_groups(comparison: Comparison) -> list[str]:
    """What groups there are, what they decided, and what a random split would have said."""
    features = comparison.features
    if features.clusters is None:
        return []
    numbers = {s: len(np.unique(features.clusters[features.splits == s])) for s in SPLITS}
    counts = ", ".join(f"{n} {split}" for split, n in numbers.items() if n)
    lines = [
        f"Images come in groups ({counts}), and one observation is a group: 95 % intervals (of "
        "accuracies, means per class, classes, differences, ECE and its bins) are from a cluster "
        "bootstrap over groups, or where every image counted is right, or every one wrong, "
        "Wilson's with each group as one image; p-values are from a sign-flip permutation over "
        "groups, Holm-corrected. The verdict asks the intervals of differences."
    ]
    if not keeps_groups_whole(features):
        lines.append(
            "Some groups are on both sides of the split, so that test does not tell what to expect "
            "of new groups: a --split of fractions keeps them whole."
        )
    for one in comparison.inflation:
        low, high = one.interval
        said = (
            f"{one.name}: random split {100 * one.expected:.1f} %, new groups "
            f"{100 * one.grouped:.1f} %: "
        )
        if one.points <= 0:
            said += "no points came from relatives."
        else:
            said += f"{one.points:.1f} points came from relatives"
            chance = low <= one.expected <= high
            said += ", which these few groups cannot tell from chance." if chance else "."
        lines.append(said)
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

    All that it learned from are compared with the largest draw of at most half as many.

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
        f"From {before.images} to {last.images} images to learn from, {name} went from "
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
        return candidate.name == chosen.model.title, val.accuracy if val else 0.0

    return max(heads, key=rank).name
