"""One result as text for a terminal: extractions, models, predictions, files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from featx.text import (
    format_bytes,
    format_interval,
    format_score,
    format_seconds,
    printable,
)

if TYPE_CHECKING:  # most of them take seconds to import
    from featx.comparison.fold_scores import CrossValidation
    from featx.deployment.predict import Prediction
    from featx.deployment.similar import Similar
    from featx.explaining.shortcuts import Evidence
    from featx.extraction.result import Extraction
    from featx.features.content import FeatureFile
    from featx.features.housekeeping import Entry
    from featx.novelty.shift import Drift
    from featx.training.model import Model

_SIZED = 64  # predictions that decide a table's widths


def describe_extraction(done: Extraction) -> str:
    """What an extraction did, in a line."""
    speed = f", {done.images_per_second:.1f} images/s" if done.images_per_second else ""
    return (
        f"{done.features}: {done.images} images, {done.extracted} extracted, {done.reused} reused, "
        f"{done.removed} removed, {len(done.skipped_files)} skipped ({done.seconds:.3g} s{speed}; "
        f"{done.weights}, {done.engine} {done.precision} on {done.device})"
    )


def render_model(
    model: Model, labelled: int | None = None, crossed: CrossValidation | None = None
) -> str:
    """A trained model's scores, what its training chose, and what cross-validation says.

    `labelled` is the number of labelled images, where cross-validation could be told of.
    """
    outcome = model.outcome
    rows = [
        [split, format_score(score.correct, score.total), format_interval(score.interval)]
        for split, score in outcome.scores.items()
    ]
    by_groups = any(score.method != "wilson" for score in outcome.scores.values())
    interval = "95 % interval" + ", by groups" * by_groups
    table = tabulate(rows, ["split", "accuracy", interval], disable_numparse=True)
    facts = [f"{outcome.trainable_parameters:,} parameters"]
    chosen = outcome.details.get("chosen", {})
    if chosen.get("name"):
        facts.append(f"{chosen['name']} = {chosen['value']:g} ({chosen['by']})")
    if outcome.details.get("temperature", 1.0) != 1.0:
        facts.append(f"temperature {outcome.details['temperature']:.3g}")
    if outcome.details.get("converged") is False:
        facts.append("NOT converged")
    if outcome.best_epoch is not None:
        facts.append(f"epoch {outcome.best_epoch} of {len(outcome.history)}")
        facts.append(f"{format_seconds(outcome.seconds_per_epoch)} s/epoch")
    stages = (
        f" ({format_seconds(outcome.decode)} waiting for images, "
        f"{format_seconds(outcome.network)} in the network)"
        if outcome.network is not None
        else ""
    )
    facts.append(f"{format_seconds(outcome.seconds)} s in all{stages}")
    parts = [f"{model.name}: {', '.join(facts)}", table]
    if outcome.details.get("layers_tried"):
        from featx.report.verdict import say_read

        parts.append(f"{say_read(model)}.")
    if outcome.details.get("labels"):
        parts.append(outcome.details["labels"]["notes"][0])
    if outcome.details.get("strangers"):
        from featx.report.strangers import say_learned

        parts.append(say_learned(outcome.details["strangers"]))
    if outcome.details.get("ranks"):
        from featx.report.ranks import say_kept

        parts += say_kept(outcome.details["ranks"])
    if outcome.details.get("val_is_test"):
        parts.append("There is no test: val is the test here, and folds of train chose.")
    if crossed is not None:
        from featx.report.folds import render_folds

        test = outcome.scores.get("test")
        parts.append(render_folds(crossed, 0 if test is None else test.total))
    elif labelled is not None:
        from featx.report.folds import say_few

        parts += say_few(labelled)
    return "\n\n".join([*parts, f"model: {printable(str(model.path))}"])


def render_predictions(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Lines of a table of images with their most probable classes, as they come.

    Columns are as wide as the first `_SIZED` predictions need; a longer name stands out.
    """
    rest = iter(predictions)
    first = list(itertools.islice(rest, _SIZED))
    rows = [row for one in first for row in _prediction_rows(one)]
    several = bool(first) and first[0].labels is not None
    header = ["image", "label" if several else "class", "probability"]
    if first and first[0].doubt.unknown is not None:
        header.append("p-value")
    if first and first[0].doubt.classes is not None:
        header.append("set")
    if first and first[0].doubt.answer is not None:
        header.append("answer")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def align(row: Sequence[str]) -> str:
        cells = [
            f"{cell:>{width}}" if name in ("probability", "p-value") else f"{cell:<{width}}"
            for name, cell, width in zip(header, row, widths, strict=True)
        ]
        return "  ".join(cells).rstrip()

    yield align(header)
    yield align(["-" * width for width in widths])
    yield from map(align, rows)
    for one in rest:
        yield from map(align, _prediction_rows(one))


def _prediction_rows(one: Prediction) -> list[tuple[str, ...]]:
    said: list[str] = []
    if one.doubt.p_value is not None:
        said.append(f"{one.doubt.p_value:.3f}")
    if one.doubt.classes is not None:
        said.append(", ".join(map(printable, one.doubt.classes)) or "(none)")
    if (answer := one.doubt.answer) is not None:
        named = f"{answer.name} ({answer.rank})" if answer.name is not None else "(none)"
        said.append(printable(named))
    return [
        (
            printable(one.path), printable(name), f"{100 * p:.1f} %",
            *(said if rank == 1 else [""] * len(said)),
        )
        for rank, name, p in one.to_rows()
    ]  # fmt: skip


def say_drift(drift: Drift) -> str:
    """Whether some images look like those that a model knows, in a line."""
    images = f"{drift.distinct:,} image{'s' * (drift.distinct != 1)}"
    if drift.distinct < drift.images:
        images += f" ({drift.images - drift.distinct:,} more are the same)"
    p = f"p = {drift.p_value:.2g}"
    if not drift.enough:
        return (
            f"Too few to tell: {images}, and so few are never called drift at a rate of "
            f"{drift.rate:g} ({p})"
        )
    rate = f"{100 * drift.rate:g} % of folders of known images at most are called so"
    test = drift.clearest
    told = (
        f"by {test.score} an image is stranger than a known one in {100 * test.auroc:.1f} % of "
        f"pairs, {p}"
    )
    if drift.found:
        unusual = ", ".join(printable(one.path) for one in drift.unusual[:3])
        return (
            f"Drift: {images} together do not look like those the model knows ({told}; {rate}). "
            f"The most unusual: {unusual}"
        )
    return f"No drift: {images} together look like those the model knows ({told}; {rate})"


def render_drift(drift: Drift) -> str:
    """The same, and a table of the most unusual images."""
    rows = [
        [printable(one.path), printable(one.label), f"{one.p_value:.3f}", f"{one.score:.3g}"]
        for one in drift.unusual
    ]
    head = ["most unusual", "taken for", "p-value", drift.clearest.score]
    table = tabulate(rows, head, disable_numparse=True, colalign=("left", "left", *2 * ("right",)))
    return f"{say_drift(drift)}\n\n{table}"


def render_similar(found: Iterable[Similar]) -> str:
    """A table of images and the rows that are nearest to each."""
    rows = [
        [
            printable(one.path) if not rank else "", f"{near.cosine:.4f}", printable(near.label),
            near.split, printable(near.path), "the same file" if near.same else "",
        ]
        for one in found
        for rank, near in enumerate(one.nearest)
    ]  # fmt: skip
    head = ["image", "cosine", "class", "split", "nearest", ""]
    return tabulate(rows, head, disable_numparse=True)


def render_explanations(told: Sequence[Mapping[str, Any]]) -> str:
    """A table of images: what each is taken for, and the place that its map is highest at."""
    rows = []
    for one in told:
        numbers = one["map"]
        highest = max(max(line) for line in numbers)
        row = next(i for i, line in enumerate(numbers) if highest in line)
        against = f" against {one['against']}" if one["against"] else ""
        rows.append(
            [
                printable(one["path"]), printable(one["class"]),
                f"{100 * one['probability']:.1f} %",
                printable(one["shown"] + against), f"{one['logit']:.2f}",
                f"{row + 1}, {numbers[row].index(highest) + 1} of {len(numbers)}",
            ]
        )  # fmt: skip
    head = ["image", "class", "probability", "map of", "logit", "highest in row, column"]
    return tabulate(rows, head, disable_numparse=True)


def render_evidence(evidence: Evidence) -> Iterator[str]:
    """Where the evidence for images' own classes lies: a table, and the shortcuts."""
    rows = [
        [
            printable(one.label) or "mean of the classes", f"{one.images:,}",
            *(f"{100 * share:.1f} %" for share in (one.corners, one.border, one.centre)),
        ]
        for one in evidence.zones
    ]  # fmt: skip
    head = ["evidence for", "images", "corners", "border", "centre"]
    yield tabulate(rows, head, disable_numparse=True, colalign=("left", *4 * ("right",)))
    yield from (printable(one.text) for one in evidence.shortcuts)
    if not evidence.shortcuts:
        yield evidence.text


def render_features(features: FeatureFile) -> str:
    """What a feature file holds, in a few lines."""
    facts = features.to_dict()
    classes, n_classes = facts["classes"], len(facts["classes"])
    names = ", ".join(printable(name) for name in classes[:10])
    counts = [
        f"{sum(per_class.values())} {split or 'in no split'}"
        for split, per_class in facts["counts"].items()
    ]
    rows = [
        ["dataset", f"{printable(facts['dataset'])} (split {facts['split']})"],
        ["images", f"{facts['images']}: {', '.join(counts)}; {facts['skipped']} skipped"],
        ["classes", f"{n_classes}: {names}{', …' if n_classes > 10 else ''}"],
        *([["groups", f"{facts['groups']:,}"]] if facts["groups"] is not None else []),
        *([["labels", _say_sets(facts)]] if facts["label_sets"] else []),
        ["features", f"{facts['feature_dim']} numbers per image, {facts['storage']}"],
        ["network", f"{facts['backbone']}, {facts['weights']} ({facts['weights_sha256'][:12]})"],
        ["computed", f"{facts['engine']} {facts['precision']}; {facts['decoder']}"],
        ["colours", facts["colours"]],
        ["fingerprint", facts["fingerprint"]],
    ]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _say_sets(facts: Mapping[str, Any]) -> str:
    """How many labels images have that may have several."""
    sets = facts["label_sets"]
    given = sum(sum(counts.values()) for counts in sets["counts"].values())
    return (
        f"several an image: {given:,} in all, {given / max(1, facts['images']):.2f} an image; "
        f"{sum(sets['none'].values()):,} images have none"
    )


def render_weights(known: Sequence[dict[str, Any]], folder: str) -> str:
    """A table of weights."""
    rows = [
        [w["name"], w["backbone"] or "?", "stored" if w["stored"] else "–", w["about"]]
        for w in known
    ]
    return f"{tabulate(rows, ['weights', 'backbone', '', 'what'])}\n\nin {folder}"


def render_cache(entries: Sequence[Entry], folder: str) -> str:
    """A table of what lies in the cache folder."""
    rows = [
        [
            printable(one.path.relative_to(folder).as_posix()),
            one.kind,
            "?" if one.images is None else f"{one.images:,}",
            format_bytes(one.bytes),
            f"{datetime.fromtimestamp(one.written):%Y-%m-%d}",
            printable(f"of no use: {one.useless}" if one.useless else one.made_by),
        ]
        for one in entries
    ]
    headers = ["file", "kind", "images", "size", "written", "what"]
    align = ("left", "left", "right", "right", "left", "left")
    table = tabulate(rows, headers, disable_numparse=True, colalign=align if rows else None)
    total = format_bytes(sum(one.bytes for one in entries))
    return (f"{table}\n\n" if rows else "") + f"{total} in {printable(str(folder))}"
