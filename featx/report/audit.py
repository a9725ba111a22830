"""An audit for people: text for a terminal, rows to act on, and one page with the pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

from featx.auditing.audit import Audit
from featx.auditing.findings import COLUMNS, KINDS, Finding
from featx.config import LAST_LAYER
from featx.drawing.charts import FONT
from featx.report.gallery import embed_pictures
from featx.report.page import clean_values, load_environment
from featx.storage.files import write_text
from featx.text import format_interval, format_score, format_seconds, printable

_NAMED = 10  # findings of a kind in the text
_SHOWN = 60  # of a kind with pictures on the page
_PAIRS = ("leak", "divided", "conflict", "copy", "unconfirmed", "relative")
PAGE_START = "<!-- featx audit -->"  # the page's first line: what may be written over


def render_audit(audit: Audit) -> str:
    """All that a terminal shows of an audit."""
    table = tabulate(
        [[kind, n, KINDS[kind]] for kind, n in audit.counts.items()],
        ["kind", "found", "what"], disable_numparse=True, colalign=("left", "right", "left"),
    )  # fmt: skip
    lines = [say_head(audit), "", table, "", *say_leak(audit), *say_classes(audit), *audit.notes]
    for kind, found in _by_kind(audit):
        rows = [
            [
                printable(one.path), printable(one.split), printable(one.label),
                printable(one.other or one.suggested),
                "" if one.score is None else f"{one.score:.3g}", printable(one.detail),
            ]
            for one in found[:_NAMED]
        ]  # fmt: skip
        last = "other" if kind in _PAIRS else "suggested" if kind == "label" else ""
        head = ["image", "split", "label", last, "score", "detail"]
        lines += ["", f"{kind}: {KINDS[kind]}", tabulate(rows, head, disable_numparse=True)]
        if len(found) > _NAMED:
            lines.append(f"… and {len(found) - _NAMED} more: --csv and --json have all.")
    return "\n".join(lines)


def say_head(audit: Audit) -> str:
    """What was audited, in a line."""
    n = len(audit.features.targets)
    how = "" if audit.layers == LAST_LAYER else f" by {audit.layers}"
    return (
        f"{audit.features.dataset}: {n:,} images, {audit.looked:,} pictures looked at, "
        f"{audit.judged:,} labels judged{how} ({format_seconds(audit.seconds)} s)"
    )


def say_leak(audit: Audit) -> list[str]:
    """The accuracy with and without the leaked test images, in sentences."""
    leak = audit.leak
    if leak is None:
        return []
    every = leak.everything
    how = "" if every.method == "wilson" else " by groups"
    interval = format_interval(every.interval)
    whole = f"{format_score(every.correct, every.total)}, 95 % interval{how} {interval}"
    if not leak.leaked:
        return [f"No test image has a copy in train or val. Accuracy of {leak.clf}: {whole}."]
    verb = "image has a copy" if leak.leaked == 1 else "images have copies"
    said = f"{leak.leaked} test {verb} in train or val. Accuracy of {leak.clf} on all: {whole}; "
    if leak.without is None:
        return [said + "without them no test image is left."]
    left = leak.without
    without = f"{format_score(left.correct, left.total)}, {format_interval(left.interval)}"
    return [said + f"without them: {without}."]


def say_classes(audit: Audit) -> list[str]:
    """How unequal the classes are, in a sentence."""
    for split, counts in audit.classes.items():
        if len(counts) > 1:
            few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            said = f"A class of {split or 'no split'} has {counts[few]} images ({few})"
            if counts[few] < counts[many]:
                said += f" to {counts[many]} ({many})"
            else:
                said = f"Every class of {split or 'no split'} has {counts[few]} images"
            rare = f"; rare: {', '.join(audit.rare)}" if audit.rare else ""
            return [f"{said}{rare}."]
    return []


def list_rows(audit: Audit) -> Iterator[list[Any]]:
    """Rows of the CSV, in the order of `COLUMNS`."""
    for one in audit.findings:
        values = dataclasses.asdict(one)
        yield ["" if values[name] is None else values[name] for name in COLUMNS]


def write_audit_page(audit: Audit, path: Path) -> Path:
    """Write the audit as one HTML page that needs no network and runs no script."""
    shown = [one for _, found in _by_kind(audit) for one in found[:_SHOWN]]
    names = [name for one in shown for name in (one.path, one.other) if name]
    pictures = (
        embed_pictures(audit.root, names, (), audit.features.provenance.colours)
        if audit.root
        else {}
    )
    write_text(path, render_audit_page(audit, pictures))
    return path


def render_audit_page(audit: Audit, pictures: dict[str, str]) -> str:
    """The page's text; pictures are data: URIs by path."""

    def show(one: Finding) -> dict[str, Any]:
        found = dataclasses.asdict(one)
        return {
            **found, "picture": pictures.get(one.path), "other_picture": pictures.get(one.other)
        }  # fmt: skip

    made = audit.features.provenance
    values = {
        "dataset": audit.features.dataset,
        "lead": [*say_leak(audit), *say_classes(audit)],
        "notes": list(audit.notes),
        "facts": [
            ("Images", f"{len(audit.features.targets):,}"),
            ("Pictures looked at", f"{audit.looked:,}"),
            ("Labels judged", f"{audit.judged:,}"),
            ("Split", audit.features.split_rule),
            ("Network", f"{made.backbone}, {made.weights}"),
            ("Seconds", format_seconds(audit.seconds)),
        ],
        "kinds": [
            {"kind": kind, "what": what, "found": audit.counts[kind]}
            for kind, what in KINDS.items()
        ],
        "sections": [
            {
                "kind": kind,
                "what": KINDS[kind],
                "pairs": kind in _PAIRS,
                "shown": [show(one) for one in found[:_SHOWN]],
                "total": len(found),
            }
            for kind, found in _by_kind(audit)
        ],
        "classes": [
            [name, *(counts[name] for counts in audit.classes.values())]
            for name in audit.features.classes
        ]
        if audit.classes
        else [],
        "splits": [split or "no split" for split in audit.classes],
    }
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )
    template = load_environment().get_template("audit.html")
    page = template.render(policy=policy, font=FONT, **clean_values(values))
    return f"{PAGE_START}\n{page.lstrip()}"


def _by_kind(audit: Audit) -> list[tuple[str, list[Finding]]]:
    """Kinds that have findings, with them."""
    found = {kind: [one for one in audit.findings if one.kind == kind] for kind in KINDS}
    return [(kind, some) for kind, some in found.items() if some]
