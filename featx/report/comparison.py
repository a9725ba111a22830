"""A comparison for people: text for a terminal, results.json, and one page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from featx.comparison.candidates import Candidate
from featx.comparison.result import Comparison
from featx.errors import OutputExistsError
from featx.explaining.shortcuts import Evidence
from featx.report.card import CARD, make_card, write_card
from featx.report.explain import map_exhibits
from featx.report.folds import describe_folds, render_folds
from featx.report.gallery import embed_pictures, map_test, show_predictions
from featx.report.page import render_page
from featx.report.ranks import say_ranks
from featx.report.rerun import SETTINGS_NAME, format_settings, say_command
from featx.report.sentences import (
    choose_curve,
    list_notes,
    say_classes,
    say_costs,
    say_head,
    say_learning,
)
from featx.report.strangers import say_strangers
from featx.report.verdict import say_pair, say_verdict
from featx.sources.folders import describe_left_out
from featx.storage.files import write_json, write_text
from featx.text import (
    as_text,
    format_bytes,
    format_duration,
    format_interval,
    format_score,
    format_seconds,
    printable,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What `write_report` wrote, and what it says.

    Attributes
    ----------
    results, page : Path
    settings : Path or None
        What repeats the comparison; None where a path is no UTF-8, which TOML cannot write.
    values : dict
        What `results` holds.
    evidence : Evidence or None
        Where the chosen candidate finds its evidence in the test images, where that was asked.
    card : Path or None
        The chosen candidate's model card; None where a README.md of another's is there.
    """

    results: Path
    page: Path
    settings: Path | None
    values: dict[str, Any]
    evidence: Evidence | None = None
    card: Path | None = None


def write_report(comparison: Comparison, *, maps: bool = True, shortcuts: bool = False) -> Report:
    """Write results.json, report.html, featx.toml and README.md into the comparison's folder.

    README.md is the model card of the candidate that is chosen; see `featx.render_card`.

    Parameters
    ----------
    comparison : Comparison
        Of `featx.compare`.
    maps : bool
        Draw where the scores of mistakes, and of one right image a class, come from, where the
        chosen candidate has a map and its network is here: some seconds.
    shortcuts : bool
        With `maps`: see where the evidence lies in all test images, and which classes a place at
        the edge decides. All of them go through the network once more.

    Returns
    -------
    Report

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    if not maps:
        comparison = replace(comparison, options={**comparison.options, "maps": False})
    if shortcuts:
        comparison = replace(comparison, options={**comparison.options, "shortcuts": True})
    page = comparison.folder / "report.html"
    settings = _write_settings(comparison)
    values = {
        **make_results(comparison),
        "report": str(page),
        "config": settings and str(settings),
    }
    exhibits, drawn = values["exhibits"], values["map"]
    chosen = next(c for c in comparison.candidates if c.name == exhibits["candidate"])
    mapped: dict[str, str] = {}
    evidence = None
    if maps:
        values["exhibits"], mapped, evidence = map_exhibits(
            comparison.root, chosen.model, exhibits, _label_test(comparison) if shortcuts else None
        )
    if shortcuts and evidence is None:
        log.warning(
            "where %s finds its evidence cannot be said: it has no map, its network or the "
            "pictures are not here, or it sees fewer than 4 x 4 places", chosen.name,
        )  # fmt: skip
    values["evidence"] = None if evidence is None else evidence.to_dict()
    pictures = embed_pictures(
        comparison.root,
        large=[one["path"] for part in ("examples", "mistakes") for one in exhibits[part]],
        small=[
            *(near["path"] for one in exhibits["mistakes"] for near in one["nearest"]),
            *(point["path"] for point in (drawn["points"] if drawn else [])),
        ],
        colours=comparison.features.provenance.colours,
    )
    write_text(page, as_text(render_page(values, pictures, mapped)))  # a path may be no UTF-8
    card = _write_card(comparison, chosen, values)
    values["card"] = card and str(card)
    results = comparison.folder / "results.json"
    write_json(results, values)
    return Report(results, page, settings, values, evidence, card)


def _label_test(comparison: Comparison) -> dict[str, str]:
    """The test images' classes, by path."""
    features, rows = comparison.features, comparison.features.rows("test")
    names = [features.classes[k] for k in features.targets[rows]]
    return dict(zip(features.paths[rows].tolist(), names, strict=True))


def _write_card(comparison: Comparison, chosen: Candidate, values: dict[str, Any]) -> Path | None:
    path = comparison.folder / CARD
    try:
        write_card(path, make_card(chosen.model, values))
    except OutputExistsError:
        log.warning("%s: not written, since another file of this name is there", path)
        return None
    return path


def _write_settings(comparison: Comparison) -> Path | None:
    path = comparison.folder / SETTINGS_NAME
    try:
        text = format_settings(comparison)
    except UnicodeEncodeError:
        log.warning("%s: not written, since a path is no UTF-8", path)
        path.unlink(missing_ok=True)  # it would repeat another comparison
        return None
    write_text(path, text)
    return path


def make_results(comparison: Comparison) -> dict[str, Any]:
    """All that the page shows, as JSON values: what ``featx compare --json`` prints."""
    values = comparison.to_dict()
    chosen = next(c for c in comparison.candidates if c.name == comparison.verdict.choose)
    total = len(comparison.features.rows("test"))
    values["verdict"] |= {"sentences": say_verdict(comparison)}
    # The terminal has said before what there is to know of the data.
    found = [*describe_left_out(comparison.extraction.left_out), *comparison.extraction.notes]
    values["notes"] = [*list_notes(comparison), *map(printable, found)]
    values["lowest"] = say_classes(chosen, comparison.features.classes)
    values["cost"] = {"sentences": say_costs(comparison.candidates)}
    for pair, entry in zip(comparison.paired, values["paired"], strict=True):
        entry["text"] = say_pair(pair, total, comparison.verdict.margin)
    if comparison.learning:
        values["learning"]["sentence"] = say_learning(
            comparison.learning, choose_curve(comparison), total
        )
    if comparison.cv is not None:
        values["cv"] = describe_folds(comparison.cv, total, comparison.not_crossed)
    if comparison.strangers is not None:
        values["strangers"]["sentences"] = say_strangers(comparison.strangers)
    if comparison.ranks is not None:
        values["ranks"]["sentences"] = say_ranks(comparison.ranks)
    values["exhibits"] = show_predictions(comparison, chosen)
    values["map"] = map_test(comparison, chosen)
    values["command"] = [say_command(comparison)]
    return values


def render_text(comparison: Comparison) -> str:
    """All that a terminal shows of a comparison, without the files."""
    verdict = comparison.verdict
    total = len(comparison.features.rows("test"))
    chosen = next(c for c in comparison.candidates if c.name == verdict.choose)
    about_best = [p for p in comparison.paired if verdict.best in (p.a, p.b)]
    left = len(comparison.paired) - len(about_best)
    lines = [
        say_head(comparison),
        "",
        render_table(comparison),
        "",
        *say_verdict(comparison),
        say_classes(chosen, comparison.features.classes),
        "",
        *say_costs(comparison.candidates),
        *(
            [say_learning(comparison.learning, choose_curve(comparison), total)]
            if comparison.learning
            else []
        ),
        *(say_strangers(comparison.strangers) if comparison.strangers is not None else []),
        *(say_ranks(comparison.ranks) if comparison.ranks is not None else []),
        *list_notes(comparison),
        "",
        *(say_pair(pair, total, verdict.margin) for pair in about_best),
        *([f"({left} more pairs are in the report.)"] if left else []),
        *(
            ["", render_folds(comparison.cv, total, comparison.not_crossed)]
            if comparison.cv is not None
            else []
        ),
    ]
    return "\n".join(lines)


def render_table(comparison: Comparison) -> str:
    """The table of candidates."""
    return _render_candidates(comparison.candidates)


def render_heads(heads: Sequence[Candidate], seconds: float | None) -> str:
    """What is known before the baselines are trained, and how long they will take.

    Parameters
    ----------
    heads : sequence of Candidate
    seconds : float or None
        About what the baselines will take; None where that cannot be told.
    """
    left = "How long the baselines will take, their first epoch says."
    if seconds is not None:
        left = (
            f"The baselines will take about {format_duration(seconds)}, by the pace of the "
            "extraction; each epoch says what is left."
        )
    return f"Heads on frozen features:\n\n{_render_candidates(heads)}\n\n{left}"


def _render_candidates(candidates: Sequence[Candidate]) -> str:
    rows = [_render_row(candidate) for candidate in candidates]
    field = any(c.evaluations["test"].prevalence for c in candidates)
    weighed = ["in the field", "its log-loss"] if field else []
    by_groups = ", by groups" * any(c.outcome.scores["test"].method != "wilson" for c in candidates)
    headers = [
        "candidate", "val", "test", "test 95 %" + by_groups, "per class", *weighed, "log-loss",
        "debiased ECE", "extract s", "fit s", "s/epoch", "trained", "kept",
    ]  # fmt: skip
    align = ("left",) * 4 + ("right",) * (8 + len(weighed))
    return tabulate(rows, headers, disable_numparse=True, colalign=align)


def _render_row(candidate: Candidate) -> list[str]:
    outcome = candidate.outcome
    val, test, found = (
        outcome.scores.get("val"),
        outcome.scores["test"],
        candidate.evaluations["test"],
    )
    return [
        candidate.name if candidate.kind == "frozen" else f"{candidate.name} (fine-tuned)",
        format_score(val.correct, val.total) if val else "–",
        format_score(test.correct, test.total) + _format_spread(candidate),
        format_interval(test.interval),
        f"{100 * test.mean_per_class:.1f} % ({format_interval(found.mean_per_class_ci95)})",
        *(
            [
                f"{100 * field.accuracy:.1f} % ({format_interval(field.ci95)})",
                f"{field.log_loss:.3f}",
            ]
            if (field := found.prevalence)
            else []
        ),
        f"{found.log_loss:.3f}",
        f"{100 * found.ece_debiased:.1f} % ({format_interval(found.ece_ci95)})",
        format_seconds(candidate.extraction.seconds if candidate.extraction else None),
        format_seconds(outcome.seconds),
        format_seconds(outcome.seconds_per_epoch),
        f"{outcome.trainable_parameters:,}",
        format_bytes(candidate.kept_bytes),
    ]


def _format_spread(candidate: Candidate) -> str:
    """Mean and standard deviation over seeds, where there are several."""
    spread = candidate.spread.get("test")
    if spread is None:
        return ""
    runs = 1 + len(candidate.others)
    return f"; {100 * spread.mean:.1f} ± {100 * spread.sd:.1f}, {runs} seeds"
