"""Heads of several labels an image for people: text for a terminal, results.json, and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tabulate import tabulate

from featx.drawing.charts import FONT
from featx.multilabel.compare import RESULTS, LabelsComparison, LabelsPair
from featx.report.gallery import embed_pictures
from featx.report.page import clean_values, load_environment
from featx.storage.files import write_json, write_text
from featx.text import (
    as_text,
    format_difference,
    format_interval,
    format_points,
    format_seconds,
    printable,
)
from featx.training.model import Model

_MISTAKES = 12  # that are shown
SUMS = {
    "mAP": "mAP",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "subset_accuracy": "whole sets right",
    "hamming_loss": "Hamming loss",
}
_NO_INTERVAL = (
    "no interval of the difference in mAP, since there are too few images, or both are right "
    "everywhere."
)
LEFT_OUT = (
    "With any number of labels an image has no one class: nearest centroid, neighbours, ImageNet's "
    "own layer, baselines that tune more than a last layer, confusion, McNemar's test and the "
    "calibration of a most probable class are left out."
)


def render_labels_model(model: Model) -> str:
    """A model's scores on all labels and on each, and what was chosen."""
    details, outcome = model.outcome.details, model.outcome
    told = details["evaluation"]
    split = "test" if "test" in told else next(iter(told), None)
    facts = [f"{outcome.trainable_parameters:,} parameters", f"{len(model.classes)} labels"]
    facts += ["NOT converged"] * (not details["converged"])
    facts.append(f"{format_seconds(outcome.seconds)} s in all")
    parts = [f"{model.name}: {', '.join(facts)}"]
    rows = [[split, *_list_sums(one)] for split, one in told.items()]
    if rows:
        parts.append(tabulate(rows, ["split", *SUMS.values()], disable_numparse=True))
    if split is not None:
        parts.append(_render_labels(model, split))
    parts += map(printable, details["notes"])
    if details["val_is_test"]:
        parts.append("There is no test: val is the test here, and folds of train chose.")
    return "\n\n".join([*parts, f"model: {printable(str(model.path))}"])


def write_labels_report(
    comparison: LabelsComparison, root: Path | None = None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Write results.json and report.html into the comparison's folder.

    Parameters
    ----------
    comparison : LabelsComparison
    root : Path, optional
        Where the pictures lie; None: the page shows the names of mistakes alone.
    notes : sequence of str
        What one should know of the data besides.

    Returns
    -------
    dict
        What results.json holds.

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    page = comparison.folder / "report.html"
    values = {**make_labels_results(comparison), "report": str(page)}
    values["notes"] += map(printable, notes)
    names = [one["path"] for one in values["mistakes"]]
    colours = comparison.features.provenance.colours
    pictures = {} if root is None else embed_pictures(root, names, (), colours)
    write_text(page, as_text(render_labels_page(values, pictures)))
    write_json(comparison.folder / RESULTS, values)
    return values


def make_labels_results(comparison: LabelsComparison) -> dict[str, Any]:
    """All that the page shows, as JSON values."""
    values = comparison.to_dict()
    for pair, entry in zip(comparison.paired, values["paired"], strict=True):
        entry["text"] = say_labels_pair(pair, comparison.margin)
    values["sentences"] = say_labels(comparison)
    values["paired_sentences"] = say_labels_pairs(comparison)
    values["notes"] = list(
        dict.fromkeys(
            note for model in comparison.models for note in model.outcome.details["notes"]
        )
    )
    values["left_out_of_it"] = LEFT_OUT
    values["mistakes"] = list_mistakes(comparison)
    return values


def list_mistakes(comparison: LabelsComparison) -> list[dict[str, Any]]:
    """The test images that the best head is most wrong about, with their labels and its own."""
    features, best = comparison.features, comparison.best
    rows = np.flatnonzero(features.splits == "test")
    assert features.label_sets is not None
    truth, p = features.label_sets[rows], best.outcome.probabilities["test"]
    said = p >= best.arrays["thresholds"]
    wrong = said != truth
    # How far on the wrong side of their thresholds its answers are, in all.
    far = (wrong * np.abs(p - best.arrays["thresholds"])).sum(axis=1)
    order = np.argsort(-(wrong.sum(axis=1) + far / (1 + far)), kind="stable")[:_MISTAKES]
    names = np.array(features.classes)
    return [
        {
            "path": str(features.paths[rows[i]]),
            "labels": names[truth[i]].tolist(),
            "said": names[said[i]].tolist(),
        }
        for i in order.tolist()
        if wrong[i].any()
    ]


def render_labels_comparison(comparison: LabelsComparison) -> str:
    """All that a terminal shows of a comparison, without the files."""
    values = make_labels_results(comparison)
    rows = [
        [
            one["name"], *_list_sums(one["evaluation"]["test"]),
            format_seconds(one["seconds"]["extract"]), format_seconds(one["seconds"]["fit"]),
        ]
        for one in values["candidates"]
    ]  # fmt: skip
    head = ["candidate, on test", *SUMS.values(), "extract s", "fit s"]
    lines = [
        f"{printable(comparison.features.dataset)}: {len(values['classes'])} labels, "
        + ", ".join(f"{n:,} {split}" for split, n in values["dataset"]["images"].items()),
        tabulate(rows, head, disable_numparse=True),
        "\n".join(map(printable, values["sentences"])),
        _render_labels(comparison.best, "test"),
        "\n".join(values["paired_sentences"]),
        "\n".join([*map(printable, values["notes"]), LEFT_OUT]),
    ]
    return "\n\n".join(line for line in lines if line)


def say_labels(comparison: LabelsComparison) -> list[str]:
    """Which head is best and by what, and which labels are told worst, in sentences."""
    best = comparison.best
    told, held = best.outcome.details["evaluation"]["test"], best.outcome.details["out_of_fold"]
    first = (
        f"{best.name} has the highest mAP out of fold, {format_share(held['mAP'])} on train and val"
        if held["mAP"] is not None
        else f"No fold could judge a label, so that nothing ranks heads; {best.name} stands first"
    )
    said = [
        f"{first}; on {told['images']:,} test images it has {format_share(told['mAP'])}"
        f"{_say_interval(told['ci95']['mAP'])}."
    ]
    near = [
        b if a == best.name else a
        for a, b in ((one.a, one.b) for one in comparison.paired if one.judgement == "equal")
        if best.name in (a, b)
    ]
    if near:
        said.append(
            f"Equal to it within {format_points(comparison.margin)} of mAP: {', '.join(near)}."
        )
    labels = [one for one in _join_labels(best, "test") if one["ap"] is not None]
    short = [one for one in labels if format_share(one["ap"]) != format_share(1.0)]
    worst = sorted(short, key=lambda one: float(one["ap"]))[:3]
    if len(labels) > 1 and worst:
        named = ", ".join(f"{one['name']} (AP {format_share(one['ap'])})" for one in worst)
        said.append(f"The labels that it tells worst: {named}.")
    missing = [one["name"] for one in _join_labels(best, "test") if one["ap"] is None]
    if missing:
        said.append(f"No test image has the labels {', '.join(missing)}: they count for no mean.")
    if comparison.val_is_test:
        said.append("There is no test: val is the test here, and folds of train chose.")
    return said


def say_labels_pairs(comparison: LabelsComparison) -> list[str]:
    """A sentence for each pair of heads, and one for all that have no interval."""
    said = [say_labels_pair(p, comparison.margin) for p in comparison.paired if p.ci95 is not None]
    bare = [f"{pair.a} less {pair.b}" for pair in comparison.paired if pair.ci95 is None]
    return said + [f"{'; '.join(bare)}: {_NO_INTERVAL}" for _ in bare[:1]]


def say_labels_pair(pair: LabelsPair, margin: float) -> str:
    """One sentence about two heads on the same test images."""
    if pair.ci95 is None:
        return f"{pair.a} less {pair.b}: {_NO_INTERVAL}"
    judged = {
        "equal": f"equal within {format_points(margin)}",
        "better": f"{pair.a} is better",
        "worse": f"{pair.b} is better",
        "unknown": "too few images to tell",
    }[pair.judgement]
    return (
        f"{pair.a} less {pair.b}: {format_difference(pair.difference, pair.ci95)} of mAP: {judged}."
    )


def render_labels_page(
    values: Mapping[str, Any], pictures: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A comparison's results.json as one HTML text that needs no network and runs no script.

    `pictures` are data: URIs of mistakes, by path.
    """
    mistakes = [{**one, "picture": pictures.get(one["path"])} for one in values["mistakes"]]
    facts = clean_values({**values, "mistakes": mistakes})
    candidates = [
        {**one, "sums": _list_sums(one["evaluation"]["test"])} for one in facts["candidates"]
    ]
    tables = [
        {"name": one["name"], "rows": _list_labels(one, "test")} for one in facts["candidates"]
    ]
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )
    template = load_environment().get_template("multilabel.html")
    page: str = template.render(
        policy=policy, font=FONT, results=facts, candidates=candidates, sums=list(SUMS.values()),
        tables=tables, label_head=_LABEL_HEAD,
    )  # fmt: skip
    return page.lstrip()


_LABEL_HEAD = ("label", "images", "said of", "AP", "95 %", "F1", "95 %", "threshold")


def _join_labels(model: Model, split: str) -> list[dict[str, Any]]:
    """Each label on a split: what was chosen for it, and how well it is told."""
    details = model.outcome.details
    scores = details["evaluation"][split]["labels"]
    return [{**one, **score} for one, score in zip(details["labels"], scores, strict=True)]


def _list_labels(candidate: Mapping[str, Any], split: str) -> list[list[str]]:
    """Rows of a table of labels, of what JSON has of a candidate."""
    scores = candidate["evaluation"][split]["labels"]
    return [
        [
            printable(one["name"]), f"{score['positives']:,}", f"{score['predicted']:,}",
            format_share(score["ap"]), format_range(score["ap_ci95"]),
            format_share(score["f1"]), format_range(score["f1_ci95"]),
            f"{one['threshold']:.3f}",
        ]
        for one, score in zip(candidate["labels"], scores, strict=True)
    ]  # fmt: skip


def _render_labels(model: Model, split: str) -> str:
    rows = _list_labels(model.outcome.details, split)
    head = [f"{model.name}'s labels, on {split}", *_LABEL_HEAD[1:]]
    align = ("left", *7 * ("right",))
    return tabulate(rows, head, disable_numparse=True, colalign=align if rows else None)


def _list_sums(told: Mapping[str, Any]) -> list[str]:
    """What is measured of all labels together, each with its interval."""
    return [
        " ".join([format_share(told[name]), *_bracket(told["ci95"][name])]).strip() for name in SUMS
    ]


def _bracket(interval: Sequence[float] | None) -> list[str]:
    return [] if interval is None else [f"({format_range(interval)})"]


def _say_interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" (95 %: {format_range(interval)})"


def format_share(value: float | None) -> str:
    """A fraction in per cent; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def format_range(interval: Sequence[float] | None) -> str:
    """Its interval; nothing for None."""
    return "" if interval is None else format_interval((interval[0], interval[1]))


def list_written(values: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files that `write_labels_report` wrote."""
    return [Path(values["report"]), folder / RESULTS]
