"""Rendering a comparison for people: text, table, figures. Nothing is computed here."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ImageOps
from tabulate import tabulate

from featx.comparison import Candidate, Comparison, Pair, write_results
from featx.config import SPLITS
from featx.files import write_text, write_whole
from featx.images import open_rgb
from featx.rendering import format_interval, format_score, format_seconds
from featx.text import printable

# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
_MARKERS = {"train": "o", "val": "s", "test": "^"}
_EXAMPLES = 12
_MISTAKES = 4


@dataclass(frozen=True)
class Report:
    """The files that `write_report` wrote; `curves` is None where no candidate has epochs."""

    results: Path
    page: Path
    curves: Path | None
    examples: Path


def render_table(comparison: Comparison, style: str = "simple") -> str:
    """The table of candidates; `style` is one of tabulate's ("simple", "github")."""
    rows = [_render_row(candidate) for candidate in comparison.candidates]
    headers = [
        "candidate", "val", "val 95 %", "test", "test 95 %", "per class", "extract s", "fit s",
        "s/epoch", "parameters",
    ]  # fmt: skip
    align = ("left",) * 5 + ("right",) * 5
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)


def render_pair(pair: Pair, total: int) -> str:
    """One sentence about two candidates on the same test images."""
    differ = pair.only_a + pair.only_b
    if not differ:
        return f"{pair.a} and {pair.b} are right and wrong on the same {total} test images."
    verdict = "distinguishable" if pair.p_value < 0.05 else "not distinguishable"
    return (
        f"{pair.a} and {pair.b}: {differ} of {total} test images are right with one of them alone "
        f"({pair.only_a} with {pair.a}, {pair.only_b} with {pair.b}), "
        f"p = {pair.p_value:.2g}: {verdict}."
    )


def render_text(comparison: Comparison) -> str:
    """All that a terminal shows of a comparison, without the files."""
    total = len(comparison.features.split("test")[1])
    pairs = [render_pair(pair, total) for pair in comparison.paired]
    return "\n".join(
        [render_head(comparison), "", render_table(comparison), "", *_notes(comparison), *pairs]
    )


def render_head(comparison: Comparison) -> str:
    """What was compared on: dataset, counts, weights, machine."""
    features = comparison.features
    counts = ", ".join(f"{(features.splits == s).sum()} {s}" for s in SPLITS)
    skipped = f", {len(features.skipped)} skipped" if features.skipped else ""
    made = features.provenance
    return (
        f"{printable(features.dataset)}: {len(features.classes)} classes, {counts} images{skipped} "
        f"(split {features.split_rule}); "
        f"{made.backbone} {made.weights}, {made.engine} {made.precision}; {comparison.machine}"
    )


def write_report(comparison: Comparison) -> Report:
    """Write results.json, report.md and the figures into the comparison's folder."""
    folder = comparison.folder
    curves = draw_curves(comparison.candidates, folder / "curves.png")
    examples = draw_examples(comparison, folder / "examples.png")
    page = folder / "report.md"
    total = len(comparison.features.split("test")[1])
    lines = [
        # Names are other people's: no markup of theirs may reach a page.
        html.escape(f"# {printable(comparison.features.dataset)}", quote=False),
        "",
        html.escape(render_head(comparison), quote=False),
        "",
        render_table(comparison, "github"),
        "",
        *_notes(comparison),
        "",
        *(f"- {render_pair(pair, total)}" for pair in comparison.paired),
        "",
        "![Loss and accuracy over the epochs](curves.png)" if curves else "",
        "",
        "![Example predictions](examples.png)",
        "",
        "Every number of this page is in results.json; which image was in which split is in "
        "split.csv, which can be compared on again:",
        "",
        printable(f"    featx compare {folder / 'split.csv'} --root {comparison.root}"),
        "",
    ]
    write_text(page, "\n".join(lines))
    return Report(write_results(comparison, str(page)), page, curves, examples)


def draw_curves(candidates: Sequence[Candidate], path: Path) -> Path | None:
    """Loss and accuracy of train, val and test over the epochs, a row for each such candidate."""
    shown = [candidate for candidate in candidates if candidate.outcome.history]
    if not shown:
        path.unlink(missing_ok=True)  # of an earlier comparison with such candidates
        return None
    figure = Figure(figsize=(9, 3.1 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 2, squeeze=False)
    for row, candidate in zip(axes, shown, strict=True):
        history = candidate.outcome.history
        epochs = [epoch.epoch for epoch in history]
        for split in [split for split in SPLITS if split in history[0].loss]:
            style = {"color": _COLOURS[split], "marker": _MARKERS[split], "label": split}
            row[0].plot(epochs, [e.loss[split] for e in history], markersize=4, **style)
            accuracy = [100 * e.accuracy[split] for e in history]
            row[1].plot(epochs, accuracy, markersize=4, **style)
        for axis, what in zip(row, ("loss (nats)", "accuracy (%)"), strict=True):
            axis.set(xlabel="epoch", ylabel=what, title=f"{candidate.name}: {what.split()[0]}")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if candidate.outcome.best_epoch is not None:
                axis.axvline(candidate.outcome.best_epoch, color="0.6", ls=":", label="kept epoch")
            axis.grid(alpha=0.3)
            axis.legend(frameon=False, fontsize="small")
        row[0].set_ylim(bottom=0)
    return _save(figure, path)


def draw_examples(comparison: Comparison, path: Path) -> Path:
    """Test images with truth, prediction and probability of the best candidate.

    Up to four of its mistakes, the most confident first, then images it got right, evenly spaced.
    """
    features = comparison.features
    best = next(c for c in comparison.candidates if c.name == comparison.best)
    rows = np.flatnonzero((features.splits == "test") & (features.targets >= 0))
    y = features.targets[rows]
    probabilities = best.outcome.probabilities["test"]
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != y)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    right = np.flatnonzero(predicted == y)
    spaced = np.linspace(0, len(right) - 1, min(_EXAMPLES - len(wrong), len(right)))
    chosen = [*wrong.tolist(), *right[np.unique(spaced.astype(int))].tolist()]
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * lines + 0.4), layout="constrained")
    figure.suptitle(f"{best.name}: its most confident mistakes, then images it got right")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, i in zip(axes, chosen, strict=False):
        image = open_rgb(comparison.root / str(features.paths[rows[i]]))
        axis.imshow(np.asarray(ImageOps.contain(image, (300, 300))))
        truth, said = features.classes[y[i]], features.classes[predicted[i]]
        good = truth == said
        text = f"{said}: {100 * confidence[i]:.0f} %" + ("" if good else f"\ntruth: {truth}")
        # A class name is text, never a formula: "$" would start one.
        axis.set_title(text, fontsize=10, color="black" if good else "#B3261E", parse_math=False)
    return _save(figure, path)


def _render_row(candidate: Candidate) -> list[str]:
    outcome = candidate.outcome
    val, test = outcome.scores.get("val"), outcome.scores["test"]
    return [
        candidate.name if candidate.kind == "frozen" else f"{candidate.name} (fine-tuned)",
        *((format_score(val), format_interval(val)) if val else ("–", "–")),
        format_score(test),
        format_interval(test),
        f"{100 * test.mean_per_class:.1f} %",
        format_seconds(candidate.extract_seconds),
        format_seconds(outcome.seconds),
        format_seconds(outcome.seconds_per_epoch),
        f"{outcome.trainable_parameters:,}",
    ]


def _notes(comparison: Comparison) -> list[str]:
    epochs = max((len(c.outcome.history) for c in comparison.candidates), default=0)
    lines = []
    if any("val" in c.outcome.scores for c in comparison.candidates):
        lines.append(f"Best on val: {comparison.best}. val chose C and epoch; test chose nothing.")
    else:
        lines.append("No val images: C from folds of train, the last epoch kept; none is best.")
    if epochs:
        lines.append(
            f"Iterative candidates ran {epochs} epochs; an epoch is train, val and test. "
            "extract s is paid once for all frozen candidates. "
            "per class: mean of the classes' test accuracies. parameters: those that were trained."
        )
    unfinished = [
        candidate.name
        for candidate in comparison.candidates
        if "val" in candidate.outcome.scores
        and candidate.outcome.history
        and candidate.outcome.best_epoch == len(candidate.outcome.history)
    ]
    if unfinished:
        lines.append(
            f"Best in the last epoch, so more epochs may do more: {', '.join(unfinished)}."
        )
    return lines


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with write_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    return path
